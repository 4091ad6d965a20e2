from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from medio.archive.scan import scan
from medio.derived.rtstruct import Structure
from medio.derived.rtstruct_writer import write_rtstruct
from medio.derived.segment import Segment
from medio.derived.segmentation import write_segmentation
from medio.dicom.series import read_series
from medio.errors import CorruptFileError, MissingFileError, UnsupportedError
from medio.geometry import reorient
from medio.reading import read
from medio.recipes import Prior, SeriesItem, SeriesRecipe, find_masks, find_series, join_table, split_volumes
from medio.shards.build import build_shards
from medio.shards.dataset import ShardDataset

WriteCT = Callable[..., list[Path]]


def test_a_real_series_is_stored_in_its_own_type_and_place(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_multivendor" / "mr_siemens_vida_xa10_enhanced"
    one = tmp_path / "one"
    one.mkdir()
    for path in sorted(source.glob("*.dcm"))[:1]:
        (one / path.name).write_bytes(path.read_bytes())
    (one / "broken.dcm").write_bytes(b"nothing")
    found = find_series(scan(one))
    assert [Path(q.item).name for q in found.set_aside] == ["broken.dcm"]
    build_shards([SeriesItem(s, "train") for s in found.series], SeriesRecipe(axes="SPL"), tmp_path / "shards")
    sample = ShardDataset(tmp_path / "shards", split="train")[0]
    image = read(found.series[0].paths)
    assert sample["key"][2] == found.series[0].series_instance_uid
    assert sample["image"].dtype == image.array.dtype
    assert sample["image"].size == image.array.size
    # turning the axes permutes and flips: the same voxel volume, and the centre stays where it is
    assert image.affine is not None
    centre = [*((np.array(image.spatial_shape) - 1) / 2), 1]
    turned = [*((np.array(sample["image"].shape[1:]) - 1) / 2), 1]
    np.testing.assert_allclose(sample["affine"] @ turned, image.affine @ centre, atol=1e-6)


def test_each_volume_of_a_diffusion_series_becomes_a_sample(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_multivendor" / "mr_uih_umr770_dti"
    (one,) = find_series(scan(source)).series
    split = split_volumes([SeriesItem(one, "train")])
    assert split.set_aside == ()
    volumes = read_series(one.paths)
    assert [item.volume for item in split.items] == list(volumes)
    assert len(split.items) == 17
    first, last = (SeriesRecipe(axes="SPL")(split.items[i]) for i in (0, -1))
    assert (first.sample_id, first.meta["volume"]) == (f"{one.series_instance_uid}/b1", "b1")
    assert last.sample_id != first.sample_id
    for sample in (first, last):
        stored = reorient(volumes[str(sample.meta["volume"])], "SPL")
        np.testing.assert_array_equal(sample.arrays["image"][0], stored.array)


def test_a_series_of_one_volume_stays_as_it_is_and_a_broken_one_is_set_aside(ct: Path) -> None:
    (one,) = find_series(scan(ct), modalities=["CT"]).series
    broken = replace(one, paths=(ct / "ct" / "gone.dcm",))
    split = split_volumes([SeriesItem(one), SeriesItem(broken)])
    assert split.items == (SeriesItem(one),)
    (bad,) = split.set_aside
    assert "gone.dcm" in bad.reason


def test_no_series_of_the_wanted_modality_says_what_there_is(shared_data: Path) -> None:
    table = scan(shared_data / "dicom_multivendor" / "mr_uih_umr770_dti")
    with pytest.raises(MissingFileError, match="no series is of modality PT; the 1 series found are of MR"):
        find_series(table, modalities=["PT"])


@pytest.fixture
def ct(write_ct: WriteCT, tmp_path: Path) -> Path:
    """Ten slices of a ball, in a folder of their own."""
    z, y, x = np.ogrid[:10, :24, :32]
    stored = np.where((z - 5) ** 2 + (y - 10) ** 2 + (x - 20) ** 2 < 16, 1200, 24).astype(np.uint16)
    affine = np.array([[0, 0, 1.5, -20], [0, 1.5, 0, -10], [3.0, 0, 0, 50], [0, 0, 0, 1]])
    write_ct(tmp_path / "archive" / "ct", stored, affine)
    return tmp_path / "archive"


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
def test_masks_drawn_on_a_series_are_found_and_stored_on_its_grid(ct: Path, tmp_path: Path, kind: str) -> None:
    image = read(ct / "ct")
    ball = (image.array > 100).astype(np.uint8)
    if kind == "SEG":
        segment = Segment(number=1, label="ball", code=("39607008", "SCT", "Lung"), algorithm="test", algorithm_version="1")
        write_segmentation(ball, ct / "ct", [segment], ct / "mask.dcm", affine=image.affine)
    else:
        write_rtstruct(ball[None], ct / "ct", [Structure(number=1, name="ball")], ct / "mask.dcm", affine=image.affine)
    table = scan(ct)
    found = find_series(table, modalities=["CT"])
    masks, left = find_masks(table, found.series)
    assert left == ()
    (one,) = found.series
    assert masks == {one.series_instance_uid: ct / "mask.dcm"}
    sample = SeriesRecipe(axes="ILA")(SeriesItem(one, mask=masks[one.series_instance_uid]))
    assert set(np.unique(sample.arrays["mask"])) == {0, 1}
    np.testing.assert_array_equal(sample.arrays["mask"], sample.arrays["image"][0] > 100)
    coarse = SeriesRecipe(spacing_mm=(3.0, 3.0, 3.0))(SeriesItem(one, mask=ct / "mask.dcm"))
    assert coarse.arrays["mask"].shape == coarse.arrays["image"].shape[1:] == (10, 12, 16)


def test_a_mask_of_another_series_is_set_aside_and_a_file_that_is_no_mask_is_refused(ct: Path, write_ct: WriteCT) -> None:
    image = read(ct / "ct")
    segment = Segment(number=1, label="ball", code=("39607008", "SCT", "Lung"), algorithm="test", algorithm_version="1")
    write_segmentation((image.array > 100).astype(np.uint8), ct / "ct", [segment], ct / "mask.dcm", affine=image.affine)
    table = scan(ct)
    masks, left = find_masks(table, [])
    assert masks == {}
    assert [(Path(q.item).name, q.reason) for q in left] == [("mask.dcm", "was drawn on no series that was found")]
    (one,) = find_series(table, modalities=["CT"]).series
    (ct / "text.txt").write_text("no mask")
    with pytest.raises(CorruptFileError, match=r"text\.txt: is no DICOM file"):
        SeriesRecipe()(SeriesItem(one, mask=ct / "text.txt"))
    with pytest.raises(UnsupportedError, match=r"001\.dcm"):
        SeriesRecipe()(SeriesItem(one, mask=ct / "ct" / "001.dcm"))


def test_a_series_carries_its_report_labels_and_prior(ct: Path, tmp_path: Path) -> None:
    (one,) = find_series(scan(ct), modalities=["CT"]).series
    (item,) = join_table(
        [SeriesItem(one)],
        pa.table({"uid": [one.study_instance_uid], "text": ["A ball."], "ball": [1]}),
        by="study",
        column="uid",
        labels=["ball"],
        report="text",
    ).items
    item = item.annotated(replace(item.annotations, prior=Prior(sample_id="before", days=3.0)))
    build_shards([item], SeriesRecipe(), tmp_path / "shards")
    sample = ShardDataset(tmp_path / "shards", with_prior=True)[0]
    assert (sample["report"], sample["label"].tolist()) == ("A ball.", [1.0])
    assert sample["prior"] is None  # it is in no shard
    assert sample["meta"]["days_since_prior"] == 3.0
