"""Workers, ranks, order, batch size and resume change no bit of any view."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from medaug.compose import Compose
from medaug.draws import Draws
from medaug.geometry.affine import Affine
from medaug.geometry.deformations import BSpline
from medaug.geometry.turns import Flip
from medaug.intensity.gamma import Gamma
from medaug.intensity.noise import Noise
from medaug.views.blocks import BlockMask, JepaMask
from medaug.views.copy_paste import CopyPaste
from medaug.views.masks import RandomMask, TubeMask
from medaug.views.mixing import CutMix, Mixup
from medaug.views.multi_crop import CropViews, MultiCrop
from medaug.views.pairs import PairViews, PatientPairs

COUNT, SEED, EPOCH = 12, 5, 3
SHAPE = (12, 20, 24)
INTENSITY = [Gamma(p=0.7), Noise(std=(0.0, 0.2))]
VIEWS = MultiCrop(
    views=(
        CropViews(
            shape=(8, 12, 12), count=2, scale=(0.4, 1.0), augment=Compose([Flip(axes=(0, 1, 2)), Affine(rotation_deg=15.0), *INTENSITY])
        ),
        CropViews(shape=(4, 6, 6), count=2, size_mm=(5.0, 9.0), overlap=0.5, augment=Compose([Flip(axes=(2,)), *INTENSITY])),
    )
)
DEFORMED = Compose([BSpline(spacing_mm=6.0, magnitude_mm=1.0), *INTENSITY])
MASK = RandomMask(ratio=0.6)


class Augmented(Dataset[dict[str, object]]):
    """Volumes that are functions of their number, augmented where they are loaded."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict[str, object]:
        sample, key = volume(index), (SEED, EPOCH, f"patient-{index}", 0)
        images = [view["image"] for view in VIEWS(sample, key)]
        return {"index": index, "images": [*images, DEFORMED(sample, key)["image"], MASK.draw((4, 6, 6), Draws([key]))[0]]}


def volume(index: int) -> dict[str, torch.Tensor]:
    values = np.random.default_rng(index).normal(size=(1, *SHAPE)).astype(np.float32)
    return {"image": torch.from_numpy(values), "spacing": torch.tensor([1.5, 1.0, 1.0 + 0.01 * index])}


def as_they_are(samples: list[dict[str, object]]) -> list[dict[str, object]]:
    return samples


def loaded(indices: list[int], workers: int, batch_size: int) -> dict[int, list[torch.Tensor]]:
    loader = DataLoader(Augmented(), batch_size=batch_size, sampler=indices, num_workers=workers, collate_fn=as_they_are)
    return {sample["index"]: sample["images"] for batch in loader for sample in batch}


def assert_equal_bits(one: dict[int, list[torch.Tensor]], other: dict[int, list[torch.Tensor]]) -> None:
    assert one.keys() == other.keys()
    for index, images in one.items():
        for view, (a, b) in enumerate(zip(images, other[index], strict=True)):
            assert torch.equal(a, b), f"sample {index}, view {view}"


@pytest.fixture(scope="module")
def alone() -> dict[int, list[torch.Tensor]]:
    # Made here, in the main process, before any worker forks from it: what it started (threads, compiled code) must not stop them.
    return loaded(list(range(COUNT)), workers=0, batch_size=1)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
@pytest.mark.parametrize(("workers", "batch_size"), [(2, 3), (4, 5)])
def test_any_number_of_workers_loads_the_same_views(alone, workers, batch_size):
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(workers)).tolist()
    assert_equal_bits(loaded(order, workers, batch_size), alone)


def test_two_ranks_load_together_what_one_loads(alone):
    shares = [loaded(list(range(COUNT))[rank::2], workers=2 * rank, batch_size=4) for rank in (0, 1)]
    assert not shares[0].keys() & shares[1].keys()
    assert_equal_bits(shares[0] | shares[1], alone)


def test_a_run_that_stopped_goes_on_with_the_same_views(alone):
    rest = list(range(7, COUNT))
    assert_equal_bits(loaded(rest, workers=2, batch_size=2), {index: alone[index] for index in rest})


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_augmented_at_once_has_the_bits_of_its_samples(alone, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        indices = [9, 2, 5]
        volumes = [volume(index) for index in indices]
        batch = {name: torch.stack([v[name] for v in volumes]) for name in ("image", "spacing")}
        batch["key"] = [(SEED, EPOCH, f"patient-{index}", 0) for index in indices]
        images = [view["image"] for view in VIEWS.batch(batch)]
        images += [DEFORMED.batch(batch)["image"], MASK.draw((4, 6, 6), Draws(batch["key"]))]
    finally:
        torch.set_num_threads(before)
    for row, index in enumerate(indices):
        assert_equal_bits({index: [image[row] for image in images]}, {index: alone[index]})


def test_chains_and_views_sent_to_a_spawned_worker_are_the_same():
    # spawned workers get everything by pickle; frozen dataclasses with slots need their state restored past the freeze
    for thing in (
        VIEWS,
        DEFORMED,
        MASK,
        TubeMask(plane=BlockMask()),
        JepaMask(),
        Mixup(),
        CutMix(),
        CopyPaste(labels=(1,)),
        PairViews(first=DEFORMED),
    ):
        assert pickle.loads(pickle.dumps(thing)) == thing
    pairs = pickle.loads(pickle.dumps(PatientPairs(ids=["a", "b"], patients=["A", "A"])))
    assert pairs.partner((0, 0, "a", 0)) == "b"


def test_samples_and_views_of_a_run_all_differ(alone):
    for one, other in itertools.combinations([images for views in alone.values() for images in views[:2]], 2):
        assert not torch.equal(one, other)
