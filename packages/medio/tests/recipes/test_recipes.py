"""Folders as people have them: what is paired, what is set aside, and what stops with a reason."""

import csv
from pathlib import Path

import numpy as np
import pytest

from medio import CorruptFileError, GeometryError, Image, MissingFileError, write
from medio.recipes import FilmRecipe, VolumeItem, VolumeRecipe, find_films, find_volumes

AFFINE = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])


def volume(array: np.ndarray, affine: np.ndarray = AFFINE) -> Image:
    return Image(array, affine, (2.0, 1.0, 1.0))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write(volume(rng.integers(-100, 100, (4, 6, 8)).astype(np.int16)), tmp_path / "images" / f"{name}.nii.gz")
        write(volume((rng.random((4, 6, 8)) > 0.5).astype(np.uint8)), tmp_path / "labels" / f"{name}.nii.gz")
    return tmp_path


def item(root: Path, name: str) -> VolumeItem:
    return VolumeItem(name, root / "images" / f"{name}.nii.gz", root / "labels" / f"{name}.nii.gz", name)


def test_images_and_labels_pair_by_name_and_the_rest_is_set_aside_with_a_reason(pairs: Path):
    (pairs / "images" / "notes.txt").write_text("x")
    write(volume(np.zeros((4, 6, 8), dtype=np.int16)), pairs / "images" / "c.nii.gz")
    found = find_volumes(pairs)
    assert [c.case_id for c in found.cases] == ["a", "b"]
    assert {Path(q.item).name: q.reason for q in found.set_aside} == {
        "notes.txt": "is neither NIfTI nor a folder of DICOM files",
        "c.nii.gz": "has no label; expected labels/c.nii.gz",
    }


def test_image_and_mask_turn_together(pairs: Path):
    sample = VolumeRecipe(axes="ILA")(item(pairs, "a"))
    straight = VolumeRecipe()(item(pairs, "a"))
    # S, P, L to I, L, A: the first axis is reversed, the last two change places, and P is reversed to A
    assert np.array_equal(sample.arrays["mask"], straight.arrays["mask"][::-1, ::-1].transpose(0, 2, 1))
    assert np.array_equal(sample.arrays["image"][0], straight.arrays["image"][0][::-1, ::-1].transpose(0, 2, 1))


def test_mask_and_image_come_to_one_grid(pairs: Path):
    sample = VolumeRecipe(spacing_mm=(1.0, 1.0, 1.0))(item(pairs, "a"))
    assert sample.arrays["mask"].shape == sample.arrays["image"].shape[1:] == (8, 6, 8)
    assert set(np.unique(sample.arrays["mask"])) <= {0, 1}


def test_a_mask_on_another_grid_is_refused_by_name(pairs: Path):
    moved = AFFINE.copy()
    moved[0, 3] = 0.5
    write(volume(np.zeros((4, 6, 8), dtype=np.uint8), moved), pairs / "labels" / "a.nii.gz")
    with pytest.raises(GeometryError, match=r"a\.nii\.gz: the mask lies up to 0\.5 mm away"):
        VolumeRecipe()(item(pairs, "a"))


def test_a_class_beyond_the_names_is_refused(pairs: Path):
    write(volume(np.full((4, 6, 8), 3, dtype=np.uint8)), pairs / "labels" / "a.nii.gz")
    with pytest.raises(CorruptFileError, match="holds class 3, the dataset has classes 0 to 1"):
        VolumeRecipe(classes=2)(item(pairs, "a"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is empty"),
        (lambda p: (p / "images").mkdir(parents=True), "has no folder labels/;"),
        (lambda p: [(p / n).mkdir(parents=True) for n in ("images", "labels")], "is empty; put one file a case"),
    ],
)
def test_a_folder_that_holds_no_pairs_is_named_with_the_mend(tmp_path: Path, make, says):
    make(tmp_path / "root")
    with pytest.raises(MissingFileError, match=says):
        find_volumes(tmp_path / "root")


def test_labels_of_other_files_are_told_by_their_names(pairs: Path):
    for name in ("a", "b"):
        (pairs / "labels" / f"{name}.nii.gz").rename(pairs / "labels" / f"other_{name}.nii.gz")
    with pytest.raises(MissingFileError, match=r"labels are for other files: images/ holds a, b, labels/ holds other_a, other_b"):
        find_volumes(pairs)


def write_films(root: Path, side: int = 32, rows: list[dict[str, str]] | None = None) -> None:
    rng = np.random.default_rng(1)
    for n in range(3):
        write(Image(rng.integers(0, 255, (side, side + 8)).astype(np.uint8), None, (1.0, 1.0)), root / f"f{side}" / f"{n}.png")
    if rows is None:
        rows = [
            {
                "Image Index": f"{n}.png",
                "Patient ID": str(n // 2),
                "Finding Labels": ["Mass|Nodule", "No Finding", "Mass"][n],
                "View Position": "PA",
            }
            for n in range(3)
        ]
    with (root / f"table_{side}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_films_join_their_table(tmp_path: Path):
    write_films(tmp_path)
    found = find_films(tmp_path, size=32, spacing=(0.5, 0.25))
    assert found.findings == {"Mass": 2, "Nodule": 1}
    assert found.films[1].labels == {"Mass": 0.0, "Nodule": 0.0}
    assert found.films[0].meta == {"view": "PA"}
    sample = FilmRecipe(32)(found.films[0])
    assert sample.arrays["image"].shape == (1, 32, 32)
    assert sample.spacing == pytest.approx((0.5, 0.25 * 40 / 32))


def test_the_table_nearest_in_size_is_taken_without_enlarging(tmp_path: Path):
    for side in (16, 48, 128):
        write_films(tmp_path / str(side), side)
    assert find_films(tmp_path, size=32, spacing=(1, 1)).table.name == "table_48.csv"
    assert find_films(tmp_path, size=32, spacing=(1, 1), table="16/table_16.csv").table.name == "table_16.csv"


def test_of_folders_with_the_same_films_the_one_that_fits_the_size_is_read(tmp_path: Path):
    write_films(tmp_path, 64)
    (tmp_path / "table_64.csv").unlink()
    write_films(tmp_path, 32)
    assert {f.path.parent.name for f in find_films(tmp_path, size=48, spacing=(1, 1)).films} == {"f64"}


def test_rows_without_films_and_films_without_rows_are_set_aside(tmp_path: Path):
    write_films(tmp_path, rows=[{"image": "0.png", "patient": "x", "Mass": "1"}, {"image": "gone.png", "patient": "y", "Mass": "0"}])
    found = find_films(tmp_path, size=32, spacing=(1, 1))
    assert [f.film_id for f in found.films] == ["0.png"]
    reasons = {Path(q.item.split(": ")[-1]).name: q.reason for q in found.set_aside}
    assert reasons["gone.png"].startswith("the film is not in")
    assert reasons["1.png"].startswith("has no row")


def test_pixels_without_a_size_are_an_error(tmp_path: Path):
    write_films(tmp_path)
    with pytest.raises(GeometryError, match=r"table_32\.csv: does not say how large the pixels"):
        find_films(tmp_path, size=32)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"Image Index": "0.png", "Finding Labels": "Mass"}], "no column for the patient"),
        ([{"Image Index": "0.png", "Patient ID": "1", "Note": "text"}], "has no findings"),
        ([{"Image Index": "z.png", "Patient ID": "1", "Mass": "1"}], "labels are for other files"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_is_missing(tmp_path: Path, rows, says):
    write_films(tmp_path, rows=rows)
    with pytest.raises((CorruptFileError, MissingFileError), match=says):
        find_films(tmp_path, size=32, spacing=(1, 1))


def test_real_films_carry_the_spacing_of_the_original_corrected_for_their_size(shared_data: Path):
    found = find_films(shared_data / "cxr_nih", size=64)
    assert found.table.name == "labels_64.csv"
    assert len(found.films) == 946
    assert len({f.patient_id for f in found.films}) == 261
    # 00000001_000.png: 2682 x 2749 pixels of 0.143 mm, reduced to 64 x 64
    first = next(f for f in found.films if f.film_id == "00000001_000.png")
    assert first.spacing == pytest.approx((0.143 * 2749 / 64, 0.143 * 2682 / 64))


def test_real_volumes_keep_voxels_and_labels(shared_data: Path):
    import nibabel

    root = shared_data / "mr_hippocampus"
    case = find_volumes(root).cases[0]
    sample = VolumeRecipe(classes=3)(VolumeItem(case.case_id, case.image, case.label, case.case_id))
    raw = np.asarray(nibabel.load(case.label).dataobj)
    # NIfTI's (x, y, z) running to R, A, S becomes (z, y, x) running to S, P, L
    assert np.array_equal(sample.arrays["mask"], raw.transpose(2, 1, 0)[:, ::-1, ::-1])
