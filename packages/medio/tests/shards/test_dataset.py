import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medio.errors import CorruptFileError, MissingFileError, SampleError
from medio.loading.sampler import Draw
from medio.shards.build import ShardSample, build_shards
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset

SHAPE = (70, 40, 66)  # more than one chunk of 64 along z and x
AFFINE = np.array([[0.0, 0, 2, -5], [0, 3, 0, 7], [4, 0, 0, 11], [0, 0, 0, 1]])  # z runs along world z at 4 mm


def volume(item: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(item)
    image = rng.integers(-1000, 1000, (2, *SHAPE)).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[30:60, 10:12, 5:50] = 1
    mask[66, 38, 64 - item] = 2
    return image, mask


def make(item: int) -> ShardSample:
    image, mask = volume(item)
    return ShardSample(
        sample_id=f"s{item}",
        patient_id=f"p{item}",
        arrays={
            "image": image,
            "mask": mask,
            "points": np.array([[30.0, 10, 5], [0, 0, 0]]),
            "boxes": np.array([[30.0, 10, 5, 60, 12, 50]]),
        },
        spacing=(4, 3, 2),
        affine=AFFINE,
        split="train" if item < 3 else "test",
        site="north",
        labels={"effusion": float(item % 2), "nodule": 1.0} if item else {"effusion": 1.0},
        report=f"Report {item}.",
        meta={"view": "axial"},
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    build_shards(range(4), make, folder, per_shard=3)
    return folder


def test_a_whole_sample_is_what_was_stored(root: Path) -> None:
    sample = ShardDataset(root)[1]
    image, mask = volume(1)
    np.testing.assert_array_equal(sample["image"], image)
    assert sample["image"].dtype == np.int16
    np.testing.assert_array_equal(sample["mask"], mask)
    np.testing.assert_array_equal(sample["affine"], AFFINE)
    np.testing.assert_array_equal(sample["spacing"], [4, 3, 2])
    assert sample["key"] == (0, 0, "s1", 0)
    assert sample["report"] == "Report 1."
    assert sample["meta"]["patient"] == "p1"
    assert sample["meta"]["view"] == "axial"
    assert sample["statistics"]["max"] == image.max()
    assert "boxes" not in sample


def test_splits_labels_and_order(root: Path) -> None:
    dataset = ShardDataset(root, split="train")
    assert (dataset.sample_ids, dataset.patients) == (("s0", "s1", "s2"), ("p0", "p1", "p2"))
    assert dataset.labels == ("effusion", "nodule")
    np.testing.assert_array_equal(dataset[0]["label"], np.array([1, np.nan], np.float32))
    assert ShardDataset(root, labels=["nodule"])[1]["label"].tolist() == [1.0]
    assert len(ShardDataset(root, split=["train", "test"])) == 4
    with pytest.raises(MissingFileError, match=r"no sample is in split \['val'\]; the dataset has \['test', 'train'\]"):
        ShardDataset(root, split="val")
    with pytest.raises(ValueError, match=r"no sample has the labels \['mass'\]"):
        ShardDataset(root, labels=["mass"])


bound = st.one_of(st.none(), st.integers(-80, 80))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(slice, bound, bound), max_size=4), st.integers(0, 3))
def test_reading_a_region_equals_slicing_the_whole_array(root: Path, region: list[slice], index: int) -> None:
    np.testing.assert_array_equal(ShardDataset(root).read(index, "image", region), volume(index)[0][tuple(region)])


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 90), st.integers(1, 60), st.integers(1, 80)), st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_crop_equals_slicing_the_padded_array_and_keeps_its_place_in_the_patient(
    root: Path, size: tuple[int, int, int], seed: int, foreground: float
) -> None:
    dataset = ShardDataset(root, crop=Crop(size, foreground))
    sample = dataset[Draw(2, (seed, 1, "s2", 0))]
    # where the crop lies follows from its affine alone: index 0 of the crop is at this index of the stored volume
    offset = np.rint(np.linalg.solve(AFFINE, sample["affine"] @ [0, 0, 0, 1]))[:3].astype(int)
    image, mask = volume(2)
    margin = 100
    around = [(margin, margin)] * 3
    region = tuple(slice(o + margin, o + margin + s) for o, s in zip(offset, size, strict=True))
    np.testing.assert_array_equal(sample["mask"], np.pad(mask, around)[region])
    np.testing.assert_array_equal(sample["image"], np.pad(image, [(0, 0), *around], constant_values=image.min())[(slice(None), *region)])
    for o, s, n in zip(offset, size, SHAPE, strict=True):
        assert 0 <= o <= n - s if s <= n else o == -((s - n) // 2)


def test_crops_are_drawn_by_key_and_find_rare_classes(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((8, 8, 8), foreground=1.0))
    first, again = dataset[Draw(1, (5, 2, "s1", 0))], dataset[Draw(1, (5, 2, "s1", 0))]
    np.testing.assert_array_equal(first["image"], again["image"])
    samples = [dataset[Draw(1, (seed, 0, "s1", 0))] for seed in range(60)]
    assert all(s["mask"].any() for s in samples)
    # class 2 is one voxel among 2701, yet the classes come evenly: 60 draws give 30 +- 4 sd of 3.9
    assert 14 < sum(bool((s["mask"] == 2).any()) for s in samples) < 46


def test_boxes_and_points_move_with_the_crop(root: Path) -> None:
    dataset = ShardDataset(root, keys=("image", "points", "boxes"), crop=Crop((50, 40, 66), foreground=0.0))
    for seed in range(10):
        sample = dataset[Draw(0, (seed, 0, "s0", 0))]
        z = int(np.rint((sample["affine"][2, 3] - AFFINE[2, 3]) / 4))
        inside = [[30 - z, 10, 5]] + ([[0, 0, 0]] if z == 0 else [])
        assert sample["points"].tolist() == inside
        assert sample["boxes"].tolist() == [[max(30 - z, 0), 10, 5, min(60 - z, 50), 12, 50]]


def test_crops_go_by_class_component_box_point_and_mm(root: Path) -> None:
    def centres(crop: Crop, keys: tuple[str, ...] = ("image", "mask")) -> list[dict[str, Any]]:
        dataset = ShardDataset(root, keys=keys, crop=crop)
        return [dataset[Draw(1, (seed, 0, "s1", 0))] for seed in range(12)]

    rare = centres(Crop((3, 3, 3), foreground=1.0, class_weights={2: 1.0}, lesions="component"))
    assert all((sample["mask"] == 2).any() for sample in rare)  # one voxel among 184800
    in_box = centres(Crop((2, 2, 2), foreground=1.0, around="boxes"), keys=("image", "boxes"))
    assert all(len(sample["boxes"]) == 1 for sample in in_box)
    near = centres(Crop((9, 9, 9), foreground=1.0, around="points", jitter=1.0), keys=("image", "points"))
    assert all(len(sample["points"]) == 1 for sample in near)
    (sized,) = {sample["image"].shape for sample in centres(Crop(size_mm=(40.0, 30.0, 30.0)))}
    assert sized == (2, 10, 10, 15)  # at spacing 4, 3, 2 mm


def test_a_failing_transform_names_the_sample(root: Path) -> None:
    def fail(sample: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("no variance")

    with pytest.raises(SampleError, match="s2: ZeroDivisionError: no variance"):
        ShardDataset(root, transform=fail)[2]


def test_damaged_and_missing_shards_are_named(tmp_path: Path) -> None:
    build_shards([0], make, tmp_path)
    data = tmp_path / "000000.b2z"
    content = data.read_bytes()
    dataset = ShardDataset(tmp_path)
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(SampleError, match=r"s0: CorruptFileError: .*000000.b2z: cannot be opened"):
        dataset[0]
    (tmp_path / "000000.parquet").write_bytes(b"no parquet")
    with pytest.raises(CorruptFileError, match=r"000000.parquet"):
        ShardDataset(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="holds no shard"):
        ShardDataset(tmp_path / "empty")
    with pytest.raises(MissingFileError, match="no such folder"):
        ShardDataset(tmp_path / "absent")


def test_a_dataset_of_quarantined_items_says_the_first_reason(tmp_path: Path) -> None:
    def bad(item: int) -> ShardSample:
        raise ValueError("the header lies")

    build_shards([0], bad, tmp_path)
    with pytest.raises(MissingFileError, match="every item was quarantined, the first because: the header lies"):
        ShardDataset(tmp_path)


def test_empty_boxes_and_films_without_affine_round_trip(tmp_path: Path) -> None:
    def film(item: int) -> ShardSample:
        arrays = {"image": np.full((1, 5, 6), 7, np.uint16), "boxes": np.empty((0, 4))}
        return ShardSample(sample_id="f", patient_id="p", arrays=arrays, spacing=(0.1, 0.2), modality="DX")

    build_shards([0], film, tmp_path)
    sample = ShardDataset(tmp_path, keys=("image", "boxes"), crop=Crop((4, 8)))[0]
    assert sample["boxes"].shape == (0, 4)
    assert sample["image"].shape == (1, 4, 8)
    assert not {"affine", "mask", "label", "report"} & set(sample)


def _checksum(dataset: ShardDataset, queue: Any) -> None:
    queue.put(int(dataset[Draw(1, (3, 0, "s1", 0))]["image"].astype(np.int64).sum()))


def test_a_forked_process_reads_the_same_as_its_parent_that_has_read_before(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((16, 16, 16)))
    here = int(dataset[Draw(1, (3, 0, "s1", 0))]["image"].astype(np.int64).sum())
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_checksum, args=(dataset, queue))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == here


def test_a_pickled_dataset_reads_the_same_in_a_fresh_process(root: Path, tmp_path: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((16, 16, 16)))
    here = int(dataset[Draw(1, (3, 0, "s1", 0))]["image"].astype(np.int64).sum())
    (tmp_path / "dataset.pkl").write_bytes(pickle.dumps(dataset))
    code = (
        "import pickle, sys; from medio.loading.sampler import Draw; d = pickle.load(open(sys.argv[1], 'rb'));"
        "print(d[Draw(1, (3, 0, 's1', 0))]['image'].astype('int64').sum())"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "dataset.pkl")], capture_output=True, text=True, check=True)
    assert int(run.stdout) == here
