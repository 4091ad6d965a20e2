import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medio.errors import SampleError
from medio.loading.collation import collate
from medio.loading.loader import make_loader
from medio.loading.sampler import Sampler
from medio.shards.build import ShardSample, build_shards
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset

torch = pytest.importorskip("torch")


def make(item: int) -> ShardSample:
    image = np.random.default_rng(item).integers(0, 100, (1, 10 + item, 12, 9)).astype(np.int16)
    return ShardSample(
        sample_id=f"s{item}",
        patient_id=f"p{item}",
        arrays={"image": image, "mask": (image[0] > 50).astype(np.uint8)},
        spacing=(1, 1, 1),
        affine=np.eye(4),
        labels={"a": 1.0} if item % 2 else {"b": 0.0},
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    build_shards(range(5), make, folder, per_shard=2)
    return folder


def test_a_batch_has_the_types_of_the_contract(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((8, 8, 8)))
    batch = collate([dataset[0], dataset[1]])
    assert (batch["image"].dtype, tuple(batch["image"].shape)) == (torch.int16, (2, 1, 8, 8, 8))
    assert (batch["mask"].dtype, tuple(batch["mask"].shape)) == (torch.int64, (2, 8, 8, 8))
    assert batch["label"].isnan().tolist() == [[True, False], [False, True]]
    assert tuple(batch["affine"].shape) == (2, 4, 4)
    assert batch["affine"].dtype == torch.float64
    assert tuple(batch["spacing"].shape) == (2, 3)
    assert batch["key"] == [(0, 0, "s0", 0), (0, 0, "s1", 0)]
    assert [m["patient"] for m in batch["meta"]] == ["p0", "p1"]
    assert batch["statistics"][0]["min"] == float(make(0).arrays["image"].min())
    floats = collate([{**dataset[0], "image": dataset[0]["image"] / 2.0}])
    assert floats["image"].dtype == torch.float32


def test_samples_that_do_not_fit_together_are_named(root: Path) -> None:
    dataset = ShardDataset(root)
    with pytest.raises(ValueError, match=r"image differs in shape within a batch: s0 \(1, 10, 12, 9\), s1 \(1, 11, 12, 9\)"):
        collate([dataset[0], dataset[1]])
    bare = {k: v for k, v in dataset[0].items() if k != "mask"}
    with pytest.raises(ValueError, match=r"samples \['s0'\] of the batch have no 'mask'"):
        collate([bare, {**dataset[0], "key": (0, 0, "other", 0)}])


def test_reports_boxes_and_priors_are_collated_as_the_contract_says() -> None:
    first: dict[str, Any] = {"key": (0, 0, "a", 0), "report": "x", "boxes": np.zeros((2, 4)), "prior": {"image": np.zeros((1, 3, 3))}}
    second: dict[str, Any] = {"key": (0, 0, "b", 0), "boxes": np.zeros((0, 4)), "prior": {"image": np.ones((1, 3, 3))}}
    batch = collate([first, second])
    assert batch["report"] == ["x", ""]
    assert [len(b) for b in batch["boxes"]] == [2, 0]
    assert tuple(batch["prior"]["image"].shape) == (2, 1, 3, 3)
    with pytest.raises(ValueError, match=r"\['b'\] of the batch have no prior"):
        collate([first, {**second, "prior": None}])


def _batches(root: Path, workers: int, start: int, count: int) -> list[dict[str, Any]]:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)))
    return list(itertools.islice(make_loader(dataset, Sampler(dataset, 3, 11), workers=workers, start=start), count))


def test_batches_do_not_depend_on_workers_or_resume(root: Path) -> None:
    whole = _batches(root, 0, 0, 5)
    for other in (_batches(root, 2, 0, 5), _batches(root, 0, 0, 2) + _batches(root, 2, 2, 3)):
        for a, b in zip(whole, other, strict=True):
            assert a["key"] == b["key"]
            assert torch.equal(a["image"], b["image"])


def test_iterating_a_loader_leaves_the_samplers_position_alone(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)))
    sampler = Sampler(dataset, 2, 0)
    sampler.load_state_dict({"position": 3})
    first = next(iter(make_loader(dataset, sampler)))
    assert first["key"] == [d.key for d in sampler.batch_at(3)]
    assert sampler.position == 3


def _fail_on_s3(sample: dict[str, Any]) -> dict[str, Any]:
    if sample["key"][2] == "s3":
        raise ZeroDivisionError("no variance")
    return sample


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_sample_from_any_worker(root: Path, workers: int) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)), transform=_fail_on_s3)
    loader = make_loader(dataset, Sampler(dataset, 5, 0), workers=workers)
    with pytest.raises(SampleError, match=r"^s3: ZeroDivisionError: no variance"):
        next(iter(loader))
    ragged = ShardDataset(root)
    with pytest.raises(ValueError, match="image differs in shape within a batch"):
        next(iter(make_loader(ragged, Sampler(ragged, 5, 0), workers=workers)))


def test_without_torch_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from medio import collate, make_loader\n"
        "for call in (lambda: collate([{}]), lambda: make_loader(None, None)):\n"
        "    try: call()\n"
        "    except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.count("medio[torch]") == 2
