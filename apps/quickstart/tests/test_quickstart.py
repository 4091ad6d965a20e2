"""The main job on a small phantom: what it leaves, that it repeats, that it goes on, and what bad input costs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medio import Image, read, read_segmentation, write

SMALL = ("source.patients=6", "recipe.model=resunet_tiny", "recipe.steps=3", "recipe.pretrain_steps=2", "intervals=100", "tracker=none")
AFFINE = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])


def quickstart(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    run = subprocess.run([sys.executable, "-m", "med_quickstart", *words], capture_output=True, text=True, env=os.environ, check=False)
    assert not check or run.returncode == 0, run.stderr[-3000:]
    return run


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    quickstart(f"out={out}", *SMALL)
    return out


def test_every_figure_has_value_low_high_and_n(small):
    found = summary(small)
    for name in ("dice", "nsd", "hd95_mm", "dice/lung", "dice/heart", "quarantined", "parity_max_difference", "fresh_study_dice"):
        figure = found[name]
        assert set(figure) == {"value", "low", "high", "n"}, name
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert found["quarantined"]["value"] == 0
    assert found["parity_max_difference"]["value"] < 1e-4


def test_the_segmentation_of_the_fresh_study_lies_on_its_ct(small):
    written = small / summary(small)["files"]["study"]
    image = read(next((small / "study" / "study" / "images").iterdir()))
    labels = read_segmentation(written, like=image)
    assert labels.array.shape == image.array.shape
    assert np.allclose(labels.affine, image.affine)


def test_the_fresh_patient_was_not_in_the_training_data(small):
    assert {p.name for p in (small / "study" / "study" / "images").iterdir()}.isdisjoint(
        p.name for p in (small / "source" / "images").iterdir()
    )


def test_the_page_stands_alone_and_says_that_the_patients_are_synthetic(small):
    page = (small / "report.html").read_text()
    assert "SYNTHETIC" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_no_identifier_of_the_source_is_left_in_the_deidentified_files(small):
    import pydicom

    source = pydicom.dcmread(next((small / "source" / "images").rglob("*.dcm")), stop_before_pixels=True)
    planted = [str(source.PatientName), str(source.PatientID), str(source.InstitutionName), str(source.StudyInstanceUID)]
    for file in sorted((small / "deidentified").rglob("*.dcm"))[::40]:
        content = file.read_bytes()
        assert not [p for p in planted if p.encode() in content], file.name


def test_the_same_command_again_does_nothing_anew_and_says_the_same(small):
    before = (small / "summary.json").read_bytes()
    run = quickstart(f"out={small}", *SMALL)
    assert run.stdout.count("done before") == 10
    assert (small / "summary.json").read_bytes() == before


@pytest.mark.slow
def test_a_second_run_with_the_same_seed_gives_identical_figures(small, tmp_path):
    quickstart(f"out={tmp_path / 'again'}", *SMALL)
    assert (tmp_path / "again" / "summary.json").read_bytes() == (small / "summary.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sorce=folder",), "unknown key sorce; did you mean source"),
        (("recipe.step=4",), "did you mean recipe.steps"),
        (("source=folder",), "missing source.path"),
        (("source=folder", "source.path=nowhere"), "nowhere: does not exist"),
        (("recipe=xray_classification",), "needs films: add source=folder"),
        (("source.patients=2",), "must be at least 6"),
        (("tracker=clearml2",), "tracker must be one of"),
    ],
)
def test_a_word_that_makes_no_sense_is_one_line_and_exit_code_2(tmp_path, words, says):
    run = quickstart(f"out={tmp_path / 'out'}", *words, check=False)
    assert run.returncode == 2, run.stderr
    assert says in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "stages").exists() or not list((tmp_path / "out").rglob("*.json"))


def volume_folder(root: Path, count: int = 8) -> Path:
    for n in range(count):
        rng = np.random.default_rng(n)
        mask = np.zeros((16, 20, 18), np.uint8)
        mask[4:10, 6:14, 5 : 10 + n % 3] = 1
        write(
            Image((100 * mask + rng.normal(0, 10, mask.shape)).astype(np.int16), AFFINE, (1.0, 1.0, 1.0)),
            root / "images" / f"case{n}.nii.gz",
        )
        write(Image(mask, AFFINE, (1.0, 1.0, 1.0)), root / "labels" / f"case{n}.nii.gz")
    return root


def strip_affine(path: Path) -> None:
    import nibabel

    image = nibabel.load(path)
    header = image.header.copy()
    array = np.asarray(image.dataobj)
    bare = nibabel.Nifti1Image(array, None, header)
    bare.header.set_qform(None, 0)
    bare.header.set_sform(None, 0)
    nibabel.save(bare, path)


def test_broken_and_unknown_files_are_set_aside_with_their_reason_and_the_run_goes_on(tmp_path):
    root = volume_folder(tmp_path / "data")
    strip_affine(root / "images" / "case0.nii.gz")
    cut = root / "images" / "case1.nii.gz"
    cut.write_bytes(cut.read_bytes()[:200])
    (root / "images" / "notes.txt").write_text("not an image")
    out = tmp_path / "out"
    quickstart(f"out={out}", "source=folder", f"source.path={root}", *SMALL[1:])
    found = summary(out)
    assert found["quarantined"]["value"] == 3
    reasons = {Path(row["item"]).name: row["reason"] for row in found["quarantined_items"]}
    assert set(reasons) == {"case0", "case1", "notes.txt"}
    assert "case0.nii.gz: sform_code and qform_code are both 0" in reasons["case0"]
    assert "case1.nii.gz" in reasons["case1"]
    assert found["run"]["samples"] == 6


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda root: root.mkdir(parents=True), "is empty"),
        (lambda root: (root / "other").mkdir(parents=True), "has no folder images/ and no labels/"),
        (lambda root: [strip_affine(p) for p in sorted(volume_folder(root).glob("images/*"))], "case0.nii.gz"),
        (lambda root: [p.write_bytes(p.read_bytes()[:300]) for p in sorted(volume_folder(root).glob("images/*"))], "case0.nii.gz"),
        (
            lambda root: [p.rename(p.with_name(f"x{p.name}")) for p in sorted(volume_folder(root).glob("labels/*"))],
            "labels are for other files",
        ),
    ],
    ids=["empty", "no images", "no affine", "truncated", "other labels"],
)
def test_a_source_of_which_nothing_can_be_used_is_one_line_and_a_rerun_after_the_mend_works(tmp_path, break_it, says):
    root, out = tmp_path / "data", tmp_path / "out"
    break_it(root)
    run = quickstart(f"out={out}", "source=folder", f"source.path={root}", *SMALL[1:], check=False)
    assert run.returncode == 2, run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith("med-quickstart: error")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in run.stderr
