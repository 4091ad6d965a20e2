"""The page shows what the shards hold, and nothing that they do not."""

import base64
import io
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from med_ingest.page import write_page
from med_ingest.summary import summarise
from medio import ShardDataset, ShardSample, build_shards

AFFINE = np.diag([3.0, 1, 1, 1])[[2, 1, 0, 3]]


def volume(number: int) -> ShardSample:
    if number == 9:
        raise ValueError("broken <b>file</b>")
    image = np.full((1, 6, 20, 30), 40 if number % 2 else 140, np.int16)
    image[0, :, ::2] += 1
    mask = np.zeros((6, 20, 30), np.uint8)
    mask[4, 5:15, 10:20] = 1
    site = "north" if number % 2 else "south"
    return ShardSample(
        sample_id=f"s{number}<&", patient_id=f"p{number}", arrays={"image": image, "mask": mask}, spacing=(3.0, 1.0, 1.0), affine=AFFINE,
        modality="CT", unit="HU", site=site, split="train", labels={"nodule": float(number % 2)},
    )  # fmt: skip


def page_of(tmp_path: Path, pictures: int = 3) -> tuple[str, Path]:
    build_shards(list(range(10)), volume, tmp_path / "shards", per_shard=4)
    dataset = ShardDataset(tmp_path / "shards")
    path = write_page(dataset, summarise(dataset), tmp_path / "out" / "page.html", pictures=pictures)
    return path.read_text(), path


def test_the_page_shows_as_many_pictures_as_asked_and_the_same_ones_each_time(tmp_path: Path) -> None:
    page, path = page_of(tmp_path)
    names = re.findall(r'alt="A slice of (.*?)"', page)
    assert len(names) == len(set(names)) == 3
    dataset = ShardDataset(tmp_path / "shards")
    assert write_page(dataset, summarise(dataset), path, pictures=3).read_text() == page
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_the_slice_with_most_of_the_mask_is_shown_with_its_contour(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, pictures=1)
    picture = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page)[1])
    width, height = struct.unpack(">II", picture[16:24])
    # 30 x 1 mm against 20 x 1 mm
    assert width / height == pytest.approx(1.5, rel=0.02)
    rgb = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    # the contour's orange is the only colour: a slice without mask would be grey
    coloured = np.abs(rgb[..., 0] - rgb[..., 2]) > 100
    rows, columns = np.nonzero(coloured)
    assert rows.min() / height == pytest.approx(5 / 20, abs=0.03)
    assert columns.max() / width == pytest.approx(20 / 30, abs=0.03)


def test_sites_are_told_apart_and_texts_are_escaped(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, pictures=9)
    assert re.findall(r"font-weight:600\">(north|south)</text>", page) == ["north", "south"] * 2
    assert "broken &lt;b&gt;file&lt;/b&gt;" in page
    assert "<b>file" not in page
    # 80 bins over 40 to 141 are 1.26 wide: both values of a site fall into one
    assert "highest bin 100.0% of its group" in page
    assert page.count("<title>s") == 9  # a line for every sample of the index, beside the page's own title


def test_the_page_draws_in_a_browser_and_fetches_nothing(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    page, path = page_of(tmp_path)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    shot = tmp_path / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'chromium'}", "--window-size=900,1600"]
    subprocess.run([browser, *flags, f"--screenshot={shot}", path.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    # the contours and the sites' colours are on it: a page without style or pictures is grey
    assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 120).sum() > 500
