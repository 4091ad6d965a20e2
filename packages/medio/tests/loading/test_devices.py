from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")

from medio.loading.devices import to_device  # noqa: E402


class Pair(NamedTuple):
    first: object
    second: object


def test_every_tensor_moves_and_nothing_else_changes() -> None:
    # the meta device is there without a GPU
    batch = {
        "image": torch.zeros(2, 3),
        "prior": {"image": torch.ones(1), "key": [(0, 0, "a", 0)]},
        "boxes": [torch.zeros(0, 6), torch.zeros(2, 6)],
        "pair": Pair(torch.zeros(1), ("text", torch.zeros(1))),
        "report": ["", "x"],
        "none": None,
    }
    moved = to_device(batch, "meta")
    tensors = [moved["image"], moved["prior"]["image"], *moved["boxes"], moved["pair"].first, moved["pair"].second[1]]
    assert all(t.device.type == "meta" for t in tensors)
    assert [tuple(t.shape) for t in tensors] == [(2, 3), (1,), (0, 6), (2, 6), (1,), (1,)]
    assert isinstance(moved["pair"], Pair)
    assert (moved["report"], moved["none"], moved["prior"]["key"]) == (["", "x"], None, [(0, 0, "a", 0)])
    assert batch["image"].device.type == "cpu"


def test_a_batch_that_is_there_already_is_not_copied() -> None:
    batch = {"image": torch.zeros(2)}
    assert to_device(batch, "cpu")["image"] is batch["image"]
