import csv
import json

import numpy as np
import pytest

import medio
from med_evaluate.cli import app
from medeval import dice
from medrun.cli import run_typer


def command(*argv) -> int:
    with pytest.raises(SystemExit) as done:
        run_typer(app, name="med-evaluate", errors=("medio.errors.MedioError", "medeval.errors.EvalError"), argv=[str(a) for a in argv])
    return done.value.code or 0


def write_volume(path, array, *, shift=0.0, spacing=(3.0, 1.0, 1.0)):
    path.parent.mkdir(exist_ok=True)
    affine = np.array([[0, 0, spacing[2], shift], [0, spacing[1], 0, 0], [spacing[0], 0, 0, 0], [0, 0, 0, 1.0]])
    medio.write(medio.Image(array, affine, spacing), path)


def boxes(n=3):
    """Boxes, and the same moved by one voxel along x."""
    for i in range(n):
        truth = np.zeros((5, 12, 12), dtype=np.int16)
        truth[1:4, 2:8, 2 : 8 + i % 3] = 1
        truth[2, 3:5, 3:6] = 2
        yield f"case{i}", np.roll(truth, 1, axis=2), truth


@pytest.fixture
def volumes(tmp_path):
    for name, prediction, reference in boxes():
        write_volume(tmp_path / "p" / f"{name}.nii.gz", prediction)
        write_volume(tmp_path / "r" / f"{name}.nii", reference)
    return tmp_path


def segment(folder, *more) -> int:
    return command(
        "segmentation", "--predictions", folder / "p", "--references", folder / "r", "--out", folder / "out", "--samples", 50, *more
    )


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(0)
    truth = [{"id": f"f{i}", "patient": f"p{i // 2}", "mass": int(i % 3 == 0), "view": ["PA", "AP"][i % 2]} for i in range(60)]
    found = [{"id": row["id"], "mass": round(0.3 * row["mass"] + 0.6 * rng.random(), 4)} for row in truth]
    truth[1]["mass"] = ""
    write_csv(tmp_path / "truth.csv", truth)
    write_csv(tmp_path / "found.csv", found[::-1])
    return tmp_path


def classify(folder, *more) -> int:
    return command(
        "classification",
        "--predictions",
        folder / "found.csv",
        "--references",
        folder / "truth.csv",
        "--out",
        folder / "out",
        "--samples",
        50,
        *more,
    )


def test_segmentations_are_paired_by_name_and_scored_in_mm(volumes, capsys):
    assert segment(volumes, "--classes", "background,liver,lesion", "--tolerance-mm", 0.5) == 0
    found = json.loads((volumes / "out" / "evaluation.json").read_text())
    expected = np.mean([np.mean([dice(p == k, r == k) for _, p, r in boxes()]) for k in (1, 2)])
    assert found["estimates"]["dice"]["value"] == pytest.approx(expected)
    assert found["estimates"]["hd95_mm"]["value"] == 1  # moved by one voxel of 1 mm
    assert found["estimates"]["nsd"]["value"] < 1  # beyond the tolerance of 0.5 mm
    assert set(found["estimates"]["dice/lesion"]) == {"value", "low", "high", "n"}
    assert (volumes / "out" / "report.html").stat().st_size > 10_000
    assert f"{expected:.3f}" in capsys.readouterr().out
    assert sorted(p.name for p in (volumes / "out").iterdir()) == ["evaluation.json", "report.html"]


def test_a_mask_stored_with_other_axes_is_compared_where_it_lies(volumes):
    assert segment(volumes) == 0
    before = json.loads((volumes / "out" / "evaluation.json").read_text())["estimates"]
    assert "dice/class 2" in before
    path = volumes / "p" / "case0.nii.gz"
    medio.write(medio.reorient(medio.read(path), "IRA"), path)
    assert segment(volumes) == 0
    assert json.loads((volumes / "out" / "evaluation.json").read_text())["estimates"] == before


def test_groups_and_patients_come_from_the_csv_and_pictures_from_the_images(tmp_path):
    for name, prediction, reference in boxes(12):
        write_volume(tmp_path / "p" / f"{name}.nii.gz", prediction)
        write_volume(tmp_path / "r" / f"{name}.nii.gz", reference)
        write_volume(tmp_path / "i" / f"{name}.nii.gz", reference * 100)
    rows = [{"id": f"case{i}", "patient": f"p{i % 6}", "site": "north" if i % 6 < 5 else "south"} for i in range(12)]
    assert segment(tmp_path, "--groups", write_csv(tmp_path / "groups.csv", rows), "--images", tmp_path / "i") == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (found["cases"], found["patients"]) == (12, 6)
    assert list(found["slices"]["site"]) == ["north"]
    assert [a["value"] for a in found["absent"]] == ["south"]
    assert "axial slice" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "p" / "case1.nii.gz").unlink(), "1 without a partner in {f}/p: {f}/r/case1.nii; give"),
        (
            lambda f: (f / "p" / "case1.nii.gz").rename(f / "p" / "other.nii.gz"),
            "{f}/p/other.nii.gz; 1 without a partner in {f}/p: {f}/r/case1.nii",
        ),
        (
            lambda f: write_volume(f / "p" / "case1.nii.gz", np.zeros((5, 12, 11), np.int16)),
            "case1: prediction (5, 12, 11) and reference (5, 12, 12)",
        ),
        (
            lambda f: write_volume(f / "p" / "case1.nii.gz", np.zeros((5, 12, 12), np.int16), shift=2.5),
            "case1: prediction and reference lie 2.50 mm apart",
        ),
        (
            lambda f: write_volume(f / "p" / "case1.nii.gz", np.full((5, 12, 12), 0.4, np.float32)),
            "case1: prediction holds values that are no class ids",
        ),
        (
            lambda f: write_volume(f / "p" / "case1.nii.gz", np.full((5, 12, 12), 3000, np.int16)),
            "holds the value 3000; this looks like an image",
        ),
        (lambda f: (f / "p" / "case1.nii.gz").write_bytes(b"no"), "case1.nii.gz: "),
        (lambda f: [p.unlink() for p in (f / "p").iterdir()], "{f}/p: holds no .nii or .nii.gz file"),
        (lambda f: write_volume(f / "r" / "case1.nii.gz", np.zeros((5, 12, 12), np.int16)), "names the same case as case1.nii"),
    ],
)
def test_bad_folders_end_in_one_line_and_leave_nothing_behind(volumes, capsys, spoil, message):
    spoil(volumes)
    assert segment(volumes) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("med-evaluate: error:")]
    assert len(error) == 1
    assert message.format(f=volumes) in error[0]
    assert not (volumes / "out").exists()


def test_probabilities_are_joined_by_id_and_sliced(tables):
    assert classify(tables, "--group-by", "view") == 0
    found = json.loads((tables / "out" / "evaluation.json").read_text())
    assert found["estimates"]["auroc"]["n"] == 59  # one label is unknown
    assert found["patients"] == 30
    assert set(found["slices"]["view"]) == {"AP", "PA"}
    # joined by id: positives score 0.3 higher on a spread of 0.6, so (1 - 0.5 ** 2 / 2) = 0.875 of pairs are in order
    assert found["estimates"]["auroc"]["value"] == pytest.approx(0.875, abs=0.08)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("found.csv", "f7,", "f8,", "repeats the id f8"),
        ("found.csv", "id,mass", "id,weight", "truth.csv: lacks the column weight; it has id, patient, mass, view"),
        ("found.csv", "\nf7,", "\nf7,x", "found.csv: mass of f7 is 'x0."),
        ("found.csv", "\nf7,0.", "\nf7,1.", "f7: mass is 1."),
        ("found.csv", "\nf7,", "\nf700,", "1 ids are not in truth.csv: f700"),
        ("found.csv", "\nf7,", "\nf7,0,", "cells, the header 2"),
        ("truth.csv", "\nf7,p3", "\nf700,p3", "1 ids are not in truth.csv: f7"),
        ("truth.csv", "patient,", "who,", "lacks the column patient"),
        ("truth.csv", "\nf7,p3,0", "\nf7,p3,2", "f7: mass is 2; a label is 0, 1"),
        ("truth.csv", "id,", "name,", "needs distinct columns with one named id"),
    ],
)
def test_bad_tables_end_in_one_line_naming_the_cell(tables, capsys, name, old, new, message):
    path = tables / name
    text = path.read_text().replace("\r\n", "\n")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert classify(tables) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tables / "out").exists()


def test_ids_without_a_prediction_are_named(tables, capsys):
    path = tables / "found.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("f7,")))
    assert classify(tables) == 2
    assert "has no row for 1 of 60 cases: f7; add them" in capsys.readouterr().err


def test_an_option_that_does_not_exist_is_met_with_the_nearest(capsys):
    assert command("segmentation", "--prediction", "x") == 2
    assert "--predictions" in capsys.readouterr().err
