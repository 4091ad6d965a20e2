from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medio.loading.collation import collate, lay_out, leaves_of, take_up, write
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset

torch = pytest.importorskip("torch")


def test_a_batch_has_the_types_of_the_contract(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((8, 8, 8)))
    batch = collate([dataset[0], dataset[2]])
    assert (batch["image"].dtype, tuple(batch["image"].shape)) == (torch.int16, (2, 1, 8, 8, 8))
    assert (batch["mask"].dtype, tuple(batch["mask"].shape)) == (torch.int64, (2, 8, 8, 8))
    assert batch["label"].isnan().tolist() == [[False, True], [True, False]]
    assert tuple(batch["affine"].shape) == (2, 4, 4)
    assert batch["affine"].dtype == torch.float64
    assert tuple(batch["spacing"].shape) == (2, 3)
    assert batch["spacing"].dtype == torch.float32
    assert batch["key"] == [(0, 0, "s0", 0), (0, 0, "s2", 0)]
    assert [m["patient"] for m in batch["meta"]] == ["p0", "p2"]
    assert batch["statistics"][0]["min"] == float(dataset.read(0, "image").min())
    floats = collate([{**dataset[0], "image": dataset[0]["image"] / 2.0}])
    assert floats["image"].dtype == torch.float32


def test_samples_that_do_not_fit_together_are_named(root: Path) -> None:
    dataset = ShardDataset(root)
    with pytest.raises(ValueError, match=r"image differs in shape within a batch: s0 \(1, 10, 12, 9\), s1 \(1, 11, 12, 9\)"):
        collate([dataset[0], dataset[1]])
    bare = {k: v for k, v in dataset[0].items() if k != "mask"}
    with pytest.raises(ValueError, match=r"samples \['s0'\] of the batch have no 'mask'"):
        collate([bare, {**dataset[0], "key": (0, 0, "other", 0)}])
    with pytest.raises(ValueError, match="no samples"):
        collate([])


def test_reports_boxes_and_priors_are_collated_as_the_contract_says() -> None:
    first: dict[str, Any] = {"key": (0, 0, "a", 0), "report": "x", "boxes": np.zeros((2, 4)), "prior": {"image": np.zeros((1, 3, 3))}}
    second: dict[str, Any] = {"key": (0, 0, "b", 0), "boxes": np.zeros((0, 4)), "prior": {"image": np.ones((1, 3, 3))}}
    batch = collate([first, second])
    assert batch["report"] == ["x", ""]
    assert [len(b) for b in batch["boxes"]] == [2, 0]
    assert tuple(batch["prior"]["image"].shape) == (2, 1, 3, 3)
    assert collate([{**first, "prior": None}, {**second, "prior": None}])["prior"] is None
    with pytest.raises(ValueError, match=r"\['b'\] of the batch have no prior"):
        collate([first, {**second, "prior": None}])


def test_padding_fills_the_far_end_and_says_what_is_valid() -> None:
    small = {
        "key": (0, 0, "a", 0),
        "image": np.full((1, 2, 3), 5, np.int16),
        "mask": np.ones((2, 3), np.uint8),
        "statistics": {"min": -7.0},
    }
    large = {
        "key": (0, 0, "b", 0),
        "image": np.full((1, 4, 2), 6, np.int16),
        "mask": np.ones((4, 2), np.uint8),
        "statistics": {"min": -8.0},
    }
    batch = collate([small, large], ragged="pad")
    assert tuple(batch["image"].shape) == (2, 1, 4, 3)
    valid = batch["valid"]
    assert valid.dtype == torch.bool
    assert valid[0, :2].all()
    assert valid[1, :, :2].all()
    assert valid.sum() == 6 + 8
    # outside: the whole image's minimum, and background in the mask
    assert batch["image"][0, 0][~valid[0]].unique().tolist() == [-7]
    assert batch["image"][1, 0][~valid[1]].unique().tolist() == [-8]
    assert batch["mask"][~valid].unique().tolist() == [0]
    assert batch["image"][:, 0][valid].unique().tolist() == [5, 6]
    normalised = [{k: v for k, v in s.items() if k != "statistics"} for s in (small, large)]
    assert collate(normalised, ragged="pad")["image"][0, 0, 3, 0] == 5


def test_padding_leaves_arrays_alone_that_are_no_grids_of_the_image() -> None:
    sample = {"key": (0, 0, "a", 0), "image": np.zeros((1, 4, 4)), "embedding": np.zeros(3)}
    other = {"key": (0, 0, "b", 0), "image": np.zeros((1, 5, 4)), "embedding": np.zeros(2)}
    with pytest.raises(ValueError, match=r"embedding differs in shape within a batch: a \(3,\), b \(2,\)"):
        collate([sample, other], ragged="pad")


def test_lists_keep_every_shape() -> None:
    batch = collate([{"image": np.zeros((1, n, 2), np.int16)} for n in (2, 3)], ragged="list")
    assert [tuple(image.shape) for image in batch["image"]] == [(1, 2, 2), (1, 3, 2)]
    assert batch["image"][0].dtype == torch.int16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.bool, torch.complex64])
def test_tensors_of_any_type_lie_in_memory_and_come_back(dtype: Any) -> None:
    tree = {"a": torch.arange(90000).to(dtype).reshape(300, 300).t(), "b": [torch.ones((), dtype=dtype), "text"], "c": (np.zeros((0, 3)),)}
    placed, writes, size = lay_out(leaves_of(tree))
    memory = np.zeros(size, np.uint8)
    write(writes, memory)
    back = take_up(placed, memory)
    assert back["a"].dtype == dtype
    assert torch.equal(back["a"], tree["a"])
    assert torch.equal(back["b"][0], tree["b"][0])
    assert back["b"][1] == "text"
    assert isinstance(back["c"], tuple)
    assert back["c"][0].shape == (0, 3)


def test_big_endian_arrays_become_tensors() -> None:
    assert collate([{"image": np.arange(4, dtype=">i2").reshape(1, 2, 2)}])["image"].tolist() == [[[[0, 1], [2, 3]]]]
