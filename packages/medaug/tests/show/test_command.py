"""`python -m medaug.show` on real and made images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medaug.show.__main__ import main

DATA = Path(__file__).resolve().parents[4].parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real images beside the checkout are absent")


def film() -> Path:
    return sorted((DATA / "cxr_nih/images_512").iterdir())[0]


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@needs_data
def test_a_film_becomes_a_grid_whose_first_panel_is_the_film(capsys, tmp_path):
    out = tmp_path / "grid.png"
    code, said, _ = run(capsys, "xray_classification", film(), "--spacing", "0.7", "--count", 3, "--out", out, "--set", "size=(256, 256)")
    assert code == 0
    assert said == f"{out}: {film().stem} before and 3 times after xray_classification\n"
    grid = np.asarray(Image.open(out).convert("L"), np.float32)
    # panels are 224 pixels wide below a title of 14, 4 apart: 2 columns and 2 rows
    assert grid.shape == (4 + 2 * (224 + 14 + 4), 4 + 2 * (224 + 4))
    before = grid[18:242, 4:228]
    with Image.open(film()) as image:
        expected = np.asarray(image.convert("L").resize((224, 224), Image.Resampling.BILINEAR), np.float32)
    assert np.corrcoef(before.ravel(), expected.ravel())[0, 1] > 0.999
    after = [grid[18:242, 232:456], grid[260:484, 4:228], grid[260:484, 232:456]]
    assert all(panel.std() > 20 for panel in after)
    assert not np.array_equal(after[0], after[1])


@needs_data
def test_a_volume_with_its_mask_shows_three_planes_with_outlines(capsys, tmp_path):
    out = tmp_path / "grid.png"
    image, mask = (DATA / "mr_hippocampus" / folder / "hippocampus_001.nii.gz" for folder in ("images", "labels"))
    code, _, error = run(capsys, "mr_segmentation", image, "--mask", mask, "--count", 1, "--out", out)
    assert (code, error) == (0, "")
    grid = np.asarray(Image.open(out))
    for colour in ((230, 60, 60), (70, 200, 90)):  # anterior, posterior; before and after
        places = np.argwhere((grid == colour).all(-1))
        assert len(places) > 100


@needs_data
def test_a_dicom_series_and_its_single_file_are_read(capsys, tmp_path):
    folder = DATA / "ct_totalseg/example_ct_dicom"
    for source, preset in ((folder, "ct_segmentation"), (sorted(folder.iterdir())[0], "light")):
        out = tmp_path / f"{preset}.png"
        assert run(capsys, preset, source, "--count", 1, "--out", out)[0] == 0
        assert np.asarray(Image.open(out)).std() > 20


@needs_data
def test_multi_crop_presets_show_every_view(capsys, tmp_path):
    out = tmp_path / "grid.png"
    code, said, _ = run(capsys, "xray_dino", film(), "--spacing", "0.7,0.7", "--count", 1, "--out", out)
    assert (code, "8 times after xray_dino" in said) == (0, True)


def test_the_same_seed_draws_the_same_grid(capsys, tmp_path):
    source = tmp_path / "a.npz"
    np.savez(source, image=np.random.default_rng(0).normal(size=(24, 30)), spacing=(1.0, 1.0))
    grids = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        assert run(capsys, "light", source, "--count", 4, "--seed", seed, "--out", tmp_path / f"{name}.png")[0] == 0
        grids.append((tmp_path / f"{name}.png").read_bytes())
    assert grids[0] == grids[1]
    assert grids[0] != grids[2]


def test_presets_are_listed(capsys):
    code, said, _ = run(capsys, "--list")
    assert code == 0
    assert any(line.startswith("xray_dino ") for line in said.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lihgt", "a.npy", "--spacing", "1"], "lihgt: is no preset, did you mean 'light'"),
        (["light", "a.npy"], "a.npy: does not tell its spacing; give it in mm, e.g. --spacing 0.4"),
        (["light", "b.npy", "--spacing", "1"], "b.npy: does not exist; check the path"),
        (["light", "a.npy", "--spacing", "1,1,1"], "a.npy: has 2 axes, --spacing 3 numbers"),
        (["light", "a.npy", "--spacing", "1", "--mask", "m.npy"], "m.npy: holds a mask of shape (3, 3), the image has (8, 9)"),
        (["light", "a.npy", "--spacing", "1", "--out", "grid.jpg"], "grid.jpg: is no PNG"),
        (["light", "a.npy", "--spacing", "1", "--out", "none/grid.png"], "none/grid.png: lies in a folder that does not exist"),
        (["light", "a.npy", "--spacing", "1", "--count", "0"], "--count: must be at least 1, got 0"),
        (["light", "a.npy", "--spacing", "1", "--set", "mirror=(0,)"], "light: has no option 'mirror', did you mean 'mirror_axes'"),
        (["light", "a.npy", "--spacing", "1", "--set", "mirror_axes"], "--set: needs OPTION=VALUE, got 'mirror_axes'"),
    ],
)
def test_what_will_not_do_is_told_in_one_line_with_code_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((8, 9)))
    np.save("m.npy", np.zeros((3, 3)))
    code, said, error = run(capsys, *arguments)
    assert (code, said) == (2, "")
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("**/*.png"))


def test_the_module_runs_as_a_command(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.eye(16), spacing=(1.0, 1.0))
    command = [sys.executable, "-m", "medaug.show", "light", "a.npz", "--count", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "grid.png: a before and 1 times after light\n"
    assert (tmp_path / "grid.png").is_file()


def test_a_command_without_an_image_says_what_it_wants(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["light"])
    assert "give a preset and an image, or --list" in capsys.readouterr().err
