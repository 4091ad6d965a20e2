import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medio.errors import SampleError
from medio.loading.loader import PinnedAhead, make_loader
from medio.loading.sampler import Sampler
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset

torch = pytest.importorskip("torch")

TRANSPORTS = [("ring", 1), ("ring", 2), ("ring", 4), ("threads", 1), ("threads", 2), ("threads", 4), ("queue", 2)]


def enrich(sample: dict[str, Any]) -> dict[str, Any]:
    """A transform with all that the contract knows: a float image as a tensor, boxes, and a prior."""
    boxes = np.arange(6.0 * (len(sample["key"][2]) - 1)).reshape(-1, 6)
    prior = {name: sample[name] for name in ("image", "spacing", "key")}
    return {**sample, "image": torch.as_tensor(sample["image"]).double() / 3, "boxes": boxes, "prior": prior}


def batches(root: Path, count: int, *, crop: bool = True, transform: Any = None, start: int = 0, **options: Any) -> list[dict[str, Any]]:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)) if crop else None, transform=transform)
    with make_loader(dataset, Sampler(dataset, 3, 11), start=start, **options) as loader:
        return list(itertools.islice(loader, count))


@pytest.mark.parametrize(("transport", "workers"), TRANSPORTS)
def test_batches_do_not_depend_on_transport_workers_or_resume(root: Path, same: Any, transport: str, workers: int) -> None:
    whole = batches(root, 5, transform=enrich)
    same(batches(root, 5, transform=enrich, transport=transport, workers=workers), whole)
    same(batches(root, 2, transform=enrich, transport=transport, workers=workers, start=3), whole[3:])


@given(st.integers(0, 4), st.sampled_from([1, 2]), st.integers(0, 30), st.sampled_from(["plain", "weights", "buckets", "apart"]))
@settings(max_examples=25)
def test_the_run_does_not_depend_on_workers_ranks_or_resume(root: Path, workers: int, world: int, start: int, kind: str) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)))
    extra: dict[str, Any] = {
        "weights": {"weights": [1, 2, 3, 0, 1]},
        "buckets": {"buckets": [0, 1, 0, 1, 1]},
        "apart": {"one_per_patient": True},
    }.get(kind, {})
    whole = Sampler(dataset, 4, 2, **extra)
    expected = [draw.key for n in range(start, start + 3) for draw in whole.batch_at(n)]
    seen = []
    for rank in range(world):
        sampler = Sampler(dataset, 4 // world, 2, rank=rank, world_size=world, **extra)
        with make_loader(dataset, sampler, workers=workers, transport="threads", start=start) as loader:
            seen.append([batch["key"] for batch in itertools.islice(loader, 3)])
    assert [key for step in zip(*seen, strict=True) for keys in step for key in keys] == expected


@pytest.mark.slow
def test_a_spawned_worker_gives_the_same_stand_ins_too(root: Path, same: Any) -> None:
    with pytest.warns(UserWarning, match="s3 cannot be read"):
        plain, spawned = (
            batches(root, 3, transform=fail_on_s3, on_error="skip", **extra) for extra in ({}, {"workers": 1, "start_method": "spawn"})
        )
    same(spawned, plain)


@pytest.mark.parametrize("transport", ["ring", "threads", "queue"])
@pytest.mark.parametrize("ragged", ["pad", "list"])
def test_shapes_that_differ_travel_like_any(root: Path, same: Any, transport: str, ragged: str) -> None:
    whole = batches(root, 4, crop=False, ragged=ragged)
    assert len({str(np.shape(b["image"])) if ragged == "pad" else str([i.shape for i in b["image"]]) for b in whole}) > 1
    same(batches(root, 4, crop=False, ragged=ragged, transport=transport, workers=2), whole)


def by_hand(samples: Any) -> Any:
    total = torch.stack([torch.as_tensor(s["image"].astype(np.float32)) for s in samples]).bfloat16()
    return {
        "x": (total, [s["image"].astype(np.complex64) for s in samples], "text"),
        "ids": [s["key"][2] for s in samples],
        "one": torch.tensor(3),
    }


@pytest.mark.parametrize("transport", ["ring", "threads", "queue"])
def test_a_collate_of_ones_own_may_give_any_structure(root: Path, transport: str) -> None:
    plain, moved = (batches(root, 2, collate=by_hand, **extra) for extra in ({}, {"transport": transport, "workers": 1}))
    for a, b in zip(plain, moved, strict=True):
        assert a["ids"] == b["ids"]
        assert b["one"] == 3
        assert b["x"][0].dtype == torch.bfloat16
        assert torch.equal(a["x"][0], b["x"][0])
        assert b["x"][1][0].dtype == np.complex64
        assert np.array_equal(a["x"][1], b["x"][1])
        assert b["x"][2] == "text"


@pytest.mark.parametrize("transport", ["ring", "threads"])
def test_a_kept_batch_never_changes_and_a_dropped_ones_memory_is_used_again(root: Path, same: Any, transport: str) -> None:
    dataset = ShardDataset(root, crop=Crop((40, 40, 40)))
    whole = list(itertools.islice(make_loader(dataset, Sampler(dataset, 2, 3)), 12))
    with make_loader(dataset, Sampler(dataset, 2, 3), workers=2, transport=transport) as loader:
        kept = list(itertools.islice(loader, 12))
        same(kept, whole)
        grown = loader.stats.ring_bytes
    with make_loader(dataset, Sampler(dataset, 2, 3), workers=2, transport=transport) as loader:
        iterator = iter(loader)
        views, places = [], set()
        for n in range(12):
            batch = next(iterator)
            places.add(batch["image"].data_ptr())
            if n == 1:
                views.append(batch["image"][1:, :, 3:9].transpose(2, 3))  # what is left of the batch is a view of a view
            del batch
        assert torch.equal(views[0], whole[1]["image"][1:, :, 3:9].transpose(2, 3))
        # Two workers, two batches ahead each, one in hand and one kept: the ring of 12 kept batches is far larger.
        assert len(places) < 8
        assert loader.stats.ring_bytes < grown / 1.5


@pytest.mark.parametrize("transport", ["ring", "threads"])
def test_the_ring_shrinks_when_kept_batches_are_let_go(root: Path, transport: str) -> None:
    dataset = ShardDataset(root, crop=Crop((40, 40, 40)))
    with make_loader(dataset, Sampler(dataset, 2, 3), workers=1, transport=transport) as loader:
        iterator = iter(loader)
        kept = list(itertools.islice(iterator, 20))
        grown = loader.stats.ring_bytes
        del kept
        for _ in range(3):
            next(iterator)
        assert loader.stats.ring_bytes < grown / 3
        assert next(iterator)["key"] == [d.key for d in loader.sampler.batch_at(23)]


def test_collected_labels_keep_no_images(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((40, 40, 40)))
    with make_loader(dataset, Sampler(dataset, 2, 3), workers=1, transport="threads") as loader:
        labels = [(batch["label"], batch["affine"]) for batch in itertools.islice(loader, 30)]
        assert len(labels) == 30
        assert loader.stats.ring_bytes < 6 * loader.stats.bytes / 30


def test_iterating_a_loader_leaves_the_samplers_position_alone(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)))
    sampler = Sampler(dataset, 2, 0)
    sampler.load_state_dict({"position": 3})
    first = next(iter(make_loader(dataset, sampler)))
    assert first["key"] == [d.key for d in sampler.batch_at(3)]
    assert sampler.position == 3


def fail_on_s3(sample: dict[str, Any]) -> dict[str, Any]:
    if sample["key"][2] == "s3":
        raise ZeroDivisionError("no variance")
    return sample


EVERYWHERE = [("auto", 0), ("ring", 1), ("threads", 1), ("queue", 1)]


@pytest.mark.parametrize(("transport", "workers"), EVERYWHERE)
def test_an_error_names_the_sample_and_the_line_from_any_worker(root: Path, transport: str, workers: int) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)), transform=fail_on_s3)
    iterator = iter(make_loader(dataset, Sampler(dataset, 5, 0), workers=workers, transport=transport))
    with pytest.raises(SampleError, match=r"^s3: ZeroDivisionError: no variance") as caught:
        next(iterator)
    if transport in ("ring", "queue"):
        assert 'raise ZeroDivisionError("no variance")' in caught.value.__notes__[0]
    assert list(iterator) == []  # it is over, and says so rather than waiting
    ragged = ShardDataset(root)
    with pytest.raises(ValueError, match="image differs in shape within a batch"):
        next(iter(make_loader(ragged, Sampler(ragged, 5, 0), workers=workers, transport=transport)))


def test_an_error_comes_with_its_batch_not_before(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)), transform=fail_on_s3)
    sampler = Sampler(dataset, 1, 0)
    sound = next(n for n in range(5) if sampler.batch_at(n)[0].key[2] == "s3")
    with make_loader(dataset, sampler, workers=2) as loader:
        iterator = iter(loader)
        assert len(list(itertools.islice(iterator, sound))) == sound
        with pytest.raises(SampleError):
            next(iterator)


def bad_collate(samples: Any) -> Any:
    raise KeyError("nothing here")


def unpicklable_collate(samples: Any) -> Any:
    return {"x": lambda: 0}


def test_a_failing_collate_names_the_batch(root: Path) -> None:
    with pytest.raises(SampleError, match=r"batch 0 \(s\d, s\d, s\d\): collate failed: KeyError: 'nothing here'"):
        batches(root, 1, collate=bad_collate, workers=1)
    with pytest.raises(ValueError, match=r"batch 0 \(s\d, s\d, s\d\) cannot be sent"):
        batches(root, 1, collate=unpicklable_collate, workers=1)


@pytest.mark.parametrize(("transport", "workers"), EVERYWHERE)
def test_a_broken_sample_is_replaced_by_key_counted_and_named(root: Path, same: Any, transport: str, workers: int) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)), transform=fail_on_s3)
    sampler = Sampler(dataset, 5, 0)
    with (
        make_loader(dataset, sampler, workers=workers, transport=transport, on_error="skip") as loader,
        pytest.warns(UserWarning, match="s3"),
    ):
        batch = next(iter(loader))
    expected = sampler.batch_at(0)
    place = next(i for i, d in enumerate(expected) if d.key[2] == "s3")
    expected[place] = sampler.stand_in(0, place, 0)
    assert batch["key"] == [d.key for d in expected]
    ((skipped,), replaced) = loader.quarantined, loader.stats.skipped
    assert (skipped.sample_id, skipped.batch, skipped.stand_in, replaced) == ("s3", 0, expected[place].key[2], 1)
    assert skipped.reason.startswith("ZeroDivisionError: no variance")
    assert "1 broken samples replaced" in loader.stats.summary()


def fail_always(sample: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("nothing works")


def test_a_dataset_that_is_broken_throughout_is_an_error_even_when_skipping(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)), transform=fail_always)
    with pytest.raises(SampleError, match="no sample is left to stand in for s"):
        next(iter(make_loader(dataset, Sampler(dataset, 2, 0), on_error="skip")))


def test_the_counters_tell_samples_bytes_and_waiting(root: Path) -> None:
    dataset = ShardDataset(root, crop=Crop((6, 6, 6)))
    loader = make_loader(dataset, Sampler(dataset, 2, 0))
    assert loader.stats.summary() == "no batch was asked for yet"
    batch, *_ = itertools.islice(loader, 4)
    stats = loader.stats
    size = sum(t.nbytes for t in (batch["image"], batch["mask"], batch["label"], batch["spacing"], batch["affine"]))
    assert (stats.batches, stats.samples) == (4, 8)
    assert stats.bytes == pytest.approx(4 * size, rel=0.1)  # each array begins at a multiple of 64 bytes
    assert 0 < stats.read_s + stats.write_s <= stats.wait_s <= stats.elapsed_s  # without workers, all of reading is waited for
    assert "4 batches (8 samples" in stats.summary()


def test_copies_ahead_keep_the_order_and_pass_errors_on(root: Path) -> None:
    class Counting:
        ring_bytes = 7
        closed = False

        def __init__(self) -> None:
            self.count = 0

        def __next__(self) -> Any:
            from medio.loading.batches import Finished

            self.count += 1
            if self.count == 4:
                raise SampleError("s4", "broken")
            return Finished(self.count, 0, 1, (), 0.0, 0.0)

        def close(self) -> None:
            self.closed = True

    source = Counting()
    ahead = PinnedAhead(source, copy=lambda batch: batch * 10)
    assert [next(ahead).batch for _ in range(3)] == [10, 20, 30]
    with pytest.raises(SampleError, match="s4: broken"):
        next(ahead)
    ahead.close()
    assert source.closed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_pinned_memory_without_a_device_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="pin_memory=True needs a CUDA device"):
        batches(root, 1, pin_memory=True)


@pytest.mark.gpu
def test_pinned_batches_are_the_same(root: Path, same: Any) -> None:
    from medio.loading.devices import to_device

    pinned = batches(root, 4, workers=2, pin_memory=True)
    assert all(batch["image"].is_pinned() for batch in pinned)
    whole = batches(root, 4)
    same(pinned, whole)
    same(to_device(to_device(pinned, "cuda"), "cpu", non_blocking=False), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers >= 0"),
        ({"prefetch": 0}, "prefetch >= 1"),
        ({"timeout": 0.0}, "timeout > 0"),
        ({"transport": "rings"}, "transport must be one of auto, ring, threads, queue, got 'rings'"),
        ({"ragged": "cut"}, "ragged must be one of error, pad, list"),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip"),
    ],
)
def test_options_that_make_no_sense_are_refused(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(root, 1, **options)


def test_without_torch_the_error_names_the_extra_and_the_rest_works() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from medio import collate, make_loader, Sampler, to_device\n"
        "from types import SimpleNamespace as S\n"
        "assert len(Sampler(S(sample_ids=['a', 'b']), 2, 0).batch_at(0)) == 2\n"
        "for call in (lambda: collate([{}]), lambda: make_loader(None, None), lambda: to_device({}, 'cpu')):\n"
        "    try: call()\n"
        "    except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.count("medio[torch]") == 3
