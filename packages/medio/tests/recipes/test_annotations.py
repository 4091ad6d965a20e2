"""Labels, reports, boxes and points reach the sample that they belong to, at the place that they mark."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medio import CorruptFileError, GeometryError, Image, MissingFileError, ShardDataset, build_shards, reorient, resample, resize, write
from medio.recipes import Annotations, FilmItem, FilmRecipe, Prior, VolumeItem, VolumeRecipe, join_table, link_priors

AFFINE = np.array([[0, 0, -1.5, 40], [0, 2.0, 0, -30], [3.0, 0, 0, 7], [0, 0, 0, 1]])


def blob(shape: tuple[int, int, int], box: tuple[int, ...]) -> np.ndarray:
    array = np.zeros(shape, np.int16)
    array[tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))] = 1000
    return array


def extent(array: np.ndarray) -> list[int]:
    places = np.nonzero(array)
    return [*(int(axis.min()) for axis in places), *(int(axis.max()) + 1 for axis in places)]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=3, max_size=3),
    st.sampled_from(["SPL", "ILA", "RSP", "ASL", "LPI"]),
)
def test_a_box_goes_with_the_voxels_that_it_holds_when_the_volume_is_turned(ranges: list[tuple[int, int]], axes: str) -> None:
    box = (*(start for start, _ in ranges), *(start + length for start, length in ranges))
    source = Image(blob((10, 11, 12), box), AFFINE, (3.0, 2.0, 1.5))
    stored = reorient(source, axes)
    centre = tuple((a + b - 1) / 2 for a, b in zip(box[:3], box[3:], strict=True))
    placed = Annotations(boxes=(box,), points=(centre,)).placed(source, stored)
    assert placed["boxes"].tolist() == [extent(stored.array)]
    middle = np.mean(np.nonzero(stored.array), axis=1)
    np.testing.assert_allclose(placed["points"], [middle], atol=1e-6)


def test_a_box_keeps_its_place_in_the_patient_when_the_volume_is_resampled() -> None:
    source = Image(blob((10, 11, 12), (2, 3, 4, 6, 7, 8)), AFFINE, (3.0, 2.0, 1.5))
    stored = resample(source, spacing=(1.0, 1.0, 1.0))
    (box,) = Annotations(boxes=((2, 3, 4, 6, 7, 8),)).placed(source, stored)["boxes"]
    # the outer corner stays, so borders of voxels scale with the spacing: 3, 2 and 1.5 mm to 1 mm
    np.testing.assert_allclose(box, [6, 6, 6, 18, 14, 12], atol=1e-6)
    np.testing.assert_allclose(box, extent(stored.array > 500), atol=1)


def test_a_point_in_mm_falls_on_the_voxel_at_that_place() -> None:
    source = Image(blob((10, 11, 12), (2, 3, 4, 3, 4, 5)), AFFINE, (3.0, 2.0, 1.5))
    world = tuple(float(v) for v in (AFFINE @ [2, 3, 4, 1])[:3])
    half = np.array([0.75, 1.0, 1.5])  # half a voxel along x, y, z
    box = (*(np.array(world) - half), *(np.array(world) + half))
    placed = Annotations(points=(world,), boxes=(box,), space="lps").placed(source, reorient(source, "SPL"))
    turned = reorient(source, "SPL").array
    np.testing.assert_allclose(placed["points"], np.transpose(np.nonzero(turned)), atol=1e-9)
    np.testing.assert_allclose(placed["boxes"], [extent(turned)], atol=1e-6)


@pytest.mark.parametrize("size", [(20, 10), (40, 60)])
def test_a_box_on_a_film_stretches_with_it(size: tuple[int, int]) -> None:
    film = Image(np.zeros((20, 30), np.uint8), None, (0.5, 0.5))
    placed = Annotations(boxes=((5, 6, 15, 24),), points=((9.5, 14.5),)).placed(film, resize(film, size))
    scale = np.array(size) / [20, 30]
    np.testing.assert_allclose(placed["boxes"], [[5 * scale[0], 6 * scale[1], 15 * scale[0], 24 * scale[1]]])
    np.testing.assert_allclose(placed["points"], [(np.array(size) - 1) / 2])  # the middle stays the middle


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        (Annotations(boxes=((1, 2, 3),)), "boxes must be 4 finite numbers"),
        (Annotations(points=((1.0, float("nan")),)), "points must be 2 finite numbers"),
        (Annotations(points=((1.0, 2.0),), space="lps"), "need an image with a place in the patient"),
    ],
)
def test_places_that_make_no_sense_are_refused_by_the_name_of_the_image(annotations: Annotations, words: str) -> None:
    film = Image(np.zeros((20, 30), np.uint8), None, (0.5, 0.5), "", {"path": "films/a.png"})
    with pytest.raises(GeometryError, match=rf"films/a\.png: .*{words}"):
        annotations.placed(film, film)


def films(root: Path) -> list[FilmItem]:
    rng = np.random.default_rng(0)
    items = []
    for n in range(4):
        path = root / f"film{n}.png"
        write(Image(rng.integers(0, 255, (20, 30)).astype(np.uint8), None, (0.5, 0.5)), path)
        items.append(FilmItem(f"f{n}", path, f"00{n // 2}", (0.5, 0.5), {"Mass": float(n == 0)}))
    return items


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_gives_labels_report_and_boxes_by_file_and_the_dataset_returns_them(tmp_path: Path, suffix: str) -> None:
    items = films(tmp_path)
    rows = [
        {"file": "film0.png", "Nodule": "1", "Edema": "", "text": "One nodule,\nright.", "y0": "2", "x0": "3", "y1": "8", "x1": "9"},
        {"file": "film0.png", "Nodule": "1", "Edema": "", "text": "One nodule,\nright.", "y0": "10", "x0": "3", "y1": "18", "x1": "9"},
        {"file": "film2.png", "Nodule": "0", "Edema": "0.5", "text": "", "y0": "", "x0": "", "y1": "", "x1": ""},
        {"file": "gone.png", "Nodule": "0", "Edema": "", "text": "", "y0": "", "x0": "", "y1": "", "x1": ""},
    ]
    joined = join_table(
        items,
        table(tmp_path / f"table{suffix}", rows),
        by="file",
        column="file",
        labels=["Nodule", "Edema"],
        report="text",
        boxes=["y0", "x0", "y1", "x1"],
    )
    assert joined.without_row == ("f1", "f3")
    assert [q.reason for q in joined.set_aside] == ["names no item"]
    build_shards(joined.items, FilmRecipe(size=10), tmp_path / "shards", codec="films")
    dataset = ShardDataset(tmp_path / "shards", keys=("image", "boxes"))
    assert dataset.labels == ("Edema", "Mass", "Nodule")
    first, second, third = dataset[0], dataset[1], dataset[2]
    np.testing.assert_array_equal(first["label"], np.array([np.nan, 1, 1], np.float32))
    np.testing.assert_array_equal(second["label"], np.array([np.nan, 0, np.nan], np.float32))
    np.testing.assert_array_equal(third["label"], np.array([0.5, 0, 0], np.float32))
    assert first["report"] == "One nodule,\nright."
    assert "report" not in second
    np.testing.assert_allclose(first["boxes"], [[1, 1, 4, 3], [5, 1, 9, 3]])  # half along rows, a third along columns
    assert "boxes" not in second  # not looked for
    assert third["boxes"].shape == (0, 4)  # looked for, none there


def test_ids_are_texts_and_join_by_patient(tmp_path: Path) -> None:
    items = films(tmp_path)
    joined = join_table(items, table(tmp_path / "t.csv", [{"id": "001", "severe": "1"}]), by="patient", column="id", labels=["severe"])
    assert [dict(item.annotations.labels) for item in joined.items] == [{}, {}, {"severe": 1.0}, {"severe": 1.0}]
    assert joined.without_row == ("f0", "f1")


@pytest.mark.parametrize(
    ("rows", "options", "error", "words"),
    [
        ([{"id": "f0", "a": "yes"}], {"labels": ["a"]}, CorruptFileError, r"t\.csv: id f0: a holds 'yes'; a number"),
        ([{"id": "f0", "a": "1"}, {"id": "f0", "a": "0"}], {"labels": ["a"]}, CorruptFileError, "its rows disagree in a"),
        ([{"id": "f0", "a": "1"}], {"labels": ["b"]}, CorruptFileError, "has no column 'b'; it has 'id', 'a'"),
        ([{"id": "f0", "a": "1", "b": ""}], {"points": ["a", "b"]}, CorruptFileError, "fills some of a, b and not others"),
        ([{"id": "x", "a": "1"}], {"labels": ["a"]}, MissingFileError, "names none of the 4 items: id holds x, a sample is f0"),
        ([{"id": "f0"}], {"by": "series"}, ValueError, "the items have no id of a series"),
    ],
)
def test_a_table_that_does_not_fit_says_where(
    tmp_path: Path, rows: list[dict[str, str]], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        join_table(films(tmp_path), table(tmp_path / "t.csv", rows), **{"by": "sample", "column": "id", **options})


def test_a_table_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.csv: no such file"):
        join_table(films(tmp_path), tmp_path / "none.csv", by="sample", column="id")
    (tmp_path / "broken.parquet").write_bytes(b"none")
    with pytest.raises(CorruptFileError, match=r"broken\.parquet: cannot be read as a table"):
        join_table(films(tmp_path), tmp_path / "broken.parquet", by="sample", column="id")


def test_masks_of_films_take_the_class_under_each_pixels_centre_and_native_sizes_stay(tmp_path: Path) -> None:
    (item, *_) = films(tmp_path)
    classes = np.zeros((20, 30), np.uint8)
    classes[:10], classes[:, 15:] = 1, 2
    write(Image(classes, None, (0.5, 0.5)), tmp_path / "mask.png")
    with_mask = FilmItem(item.film_id, item.path, item.patient_id, item.spacing, {}, mask=tmp_path / "mask.png")
    small = FilmRecipe(size=4)(with_mask)
    assert small.arrays["mask"].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]]
    native = FilmRecipe()(with_mask)
    assert native.spacing == (0.5, 0.5)
    np.testing.assert_array_equal(native.arrays["mask"], classes)
    write(Image(classes[:5], None, (0.5, 0.5)), tmp_path / "mask.png")
    with pytest.raises(GeometryError, match=r"mask\.png: the mask has \(5, 30\) pixels, its film \(20, 30\)"):
        FilmRecipe(size=4)(with_mask)


def volume(name: str, patient: str, date: str) -> VolumeItem:
    return VolumeItem(name, Path(f"{name}.nii.gz"), None, patient, study_date=date)


def test_the_prior_is_the_latest_earlier_sample_of_the_same_patient() -> None:
    items = [
        volume("c", "p", "20240301"),
        volume("a", "p", "20240101"),
        volume("b", "p", "20240229"),
        volume("b2", "p", "20240301"),
        volume("other", "q", "20200101"),
        volume("undated", "p", ""),
    ]
    priors = {item.case_id: item.annotations.prior for item in link_priors(items)}
    assert priors == {
        "a": None,
        "b": Prior(sample_id="a", days=59),  # 2024 is a leap year
        "c": Prior(sample_id="b", days=1),
        "b2": Prior(sample_id="b", days=1),
        "other": None,
        "undated": None,
    }
    by_day = link_priors(items[:3], days={"a": 30.0, "b": 10.5, "c": 10.5})
    assert [item.annotations.prior for item in by_day] == [None, Prior(sample_id="b", days=19.5), None]
    with pytest.raises(ValueError, match="sample x: study date 'spring' is none"):
        link_priors([volume("x", "p", "spring")])


def test_priors_of_real_films_come_out_of_the_dataset_as_nested_samples(shared_data: Path, tmp_path: Path) -> None:
    paths = sorted((shared_data / "cxr_nih" / "images_64").glob("*.png"))
    by_patient: dict[str, list[Path]] = {}
    for path in paths:
        by_patient.setdefault(path.name[:8], []).append(path)
    chosen = [path for films in by_patient.values() if len(films) >= 3 for path in films[:3]][:12]
    items = [FilmItem(p.name, p, p.name[:8], (1.0, 1.0), {}) for p in chosen]
    linked = link_priors(items, days={p.name: float(p.stem[9:]) for p in chosen})  # NIH numbers the follow-ups
    build_shards(linked, FilmRecipe(), tmp_path, per_shard=5)
    dataset = ShardDataset(tmp_path, with_prior=True)
    found = {sample["key"][2]: sample for sample in map(dataset.load, range(len(dataset)))}
    for first, second, third in zip(chosen[::3], chosen[1::3], chosen[2::3], strict=True):
        assert found[first.name]["prior"] is None
        for now, before in ((second, first), (third, second)):
            prior = found[now.name]["prior"]
            np.testing.assert_array_equal(prior["image"], found[before.name]["image"])
            assert prior["key"] == (0, 0, before.name, 0)
            assert prior["meta"]["patient"] == found[now.name]["meta"]["patient"]
            assert found[now.name]["meta"]["days_since_prior"] == float(now.stem[9:]) - float(before.stem[9:])
    assert "prior" not in ShardDataset(tmp_path)[0]


def test_a_volume_recipe_stores_boxes_labels_and_report(tmp_path: Path) -> None:
    array = blob((10, 11, 12), (2, 3, 4, 6, 7, 8))
    write(Image(array, AFFINE, (3.0, 2.0, 1.5)), tmp_path / "case.nii.gz")
    said = Annotations(labels={"nodule": 1.0}, report="A nodule.", boxes=((2, 3, 4, 6, 7, 8),))
    item = VolumeItem("case", tmp_path / "case.nii.gz", None, "p").annotated(said)
    # `read` may turn the axes of what `write` stored; boxes are in the index space of what `read` gives, which for this file is that of `write`
    sample = VolumeRecipe(axes="ILA")(item)
    assert sample.arrays["boxes"].tolist() == [extent(sample.arrays["image"][0])]
    assert (dict(sample.labels), sample.report) == ({"nodule": 1.0}, "A nodule.")
