"""Batches of random crops to the trainer, beside torch's DataLoader, MONAI and TorchIO: wall time and what it costs the trainer's own process.

    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_loader.py             two workers, crops of 96^3 in batches of 4
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_loader.py --quick     fewer batches and repeats
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_loader.py --check     exit with 1 where a goal is missed

`ms` is wall time a batch, `workers` the CPU time a batch in the workers and `parent` that in the process that trains; all are the fastest of some rounds in which all
take turns. Only the CPU times, which goals are set on, mean something on a busy machine. `DataLoader` is
torch's, over the same shards and the same crops: what differs is the transport. `MONAI` is PersistentDataset with RandSpatialCrop, `TorchIO` its Queue with eight
patches a volume (so its crops are not independent). Volumes are a real CT, mirrored along z to 100 slices, where `../shared/data` has it, else made up.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import numpy as np
import torch
from torch.utils.data import DataLoader

import medio

SIZE, BATCH, VOLUMES, SAMPLES = (96, 96, 96), 4, 4, 16
TOTAL_GOAL = 1.3  # times less CPU in all than the DataLoader
PARENT_GOAL = 3.0  # times less CPU in the parent
Batches = Iterator[Any]


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="fewer batches and repeats")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--only-transports", action="store_true", help="leave MONAI and TorchIO out")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rounds, count = (2, 20) if options.quick else (5, 30)
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder))
        medio.build_shards(range(SAMPLES), Recipe(images), Path(folder) / "shards")
        check_equal(Path(folder) / "shards", options.workers)
        for name, transform in (("int16 as stored", None), ("float32, normalised in the worker", normalise)):
            dataset = medio.ShardDataset(Path(folder) / "shards", crop=medio.Crop(SIZE, foreground=0), transform=transform)
            makers = {
                "ring": lambda d=dataset: ours(d, "ring", options.workers),
                "threads": lambda d=dataset: ours(d, "threads", options.workers),
                "DataLoader": lambda d=dataset: torchs(d, options.workers),
            }
            if transform is None and not options.only_transports:
                makers |= {
                    "MONAI": lambda: monais(images, Path(folder) / "cache", options.workers),
                    "TorchIO": lambda: torchios(images, options.workers),
                }
            missed += compare(name, makers, rounds, count)
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed and options.check else 0


def compare(name: str, makers: dict[str, Callable[[], Batches]], rounds: int, count: int) -> list[str]:
    """Let all take turns, print a table, and say which goals were missed."""
    wall, workers, parent = ({maker: float("inf") for maker in makers} for _ in range(3))
    for _ in range(rounds):
        for maker, make in makers.items():
            batches = make()
            ahead = 6  # what was read before the clock began must not count: let it pass first
            number = max(4, count // 4) if maker in ("MONAI", "TorchIO") else count
            for _ in itertools.islice(batches, ahead):
                pass
            began, used, worked = time.perf_counter(), time.process_time(), workers_cpu()
            for batch in itertools.islice(batches, number):
                assert tuple(image_of(batch).shape) == (BATCH, 1, *SIZE)
            wall[maker] = min(wall[maker], (time.perf_counter() - began) / number)
            workers[maker] = min(workers[maker], (workers_cpu() - worked) / number)
            parent[maker] = min(parent[maker], (time.process_time() - used) / number)
            batches.close()
    print(f"\n{name}: crops of {'x'.join(map(str, SIZE))}, {BATCH} a batch")
    print(f"{'':12}{'ms':>9}{'x ring':>8}{'workers ms':>12}{'x ring':>8}{'parent ms':>11}{'x ring':>8}")
    for maker in makers:
        line = f"{maker:12}"
        for times, width, digits in ((wall, 9, 2), (workers, 12, 1), (parent, 11, 1)):
            line += f"{1e3 * times[maker]:{width}.2f}{times[maker] / (times['ring'] or 1):8.{digits}f}"
        print(line)
    missed = []
    total = (workers["DataLoader"] + parent["DataLoader"]) / (workers["ring"] + parent["ring"])
    if total < TOTAL_GOAL:
        missed.append(f"{name}: 1/{total:.2f} of the DataLoader's CPU in all, wanted 1/{TOTAL_GOAL}")
    if parent["DataLoader"] / parent["ring"] < PARENT_GOAL:
        missed.append(
            f"{name}: 1/{parent['DataLoader'] / parent['ring']:.1f} of the DataLoader's CPU in the parent, wanted 1/{PARENT_GOAL:g}"
        )
    return missed


def workers_cpu() -> float:
    """CPU seconds that the worker processes have used; 0 where the system does not say."""
    ticks = 0
    for process in multiprocessing.active_children():
        stat = Path(f"/proc/{process.pid}/stat")
        if stat.exists():
            ticks += sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def check_equal(shards: Path, workers: int) -> None:
    """Stop unless every transport gives the same batches to the bit."""
    dataset = medio.ShardDataset(shards, crop=medio.Crop(SIZE, foreground=0))
    sampler = medio.Sampler(dataset, BATCH, 0)
    whole = list(itertools.islice(medio.make_loader(dataset, sampler), 3))
    for transport in ("ring", "threads", "queue"):
        with medio.make_loader(dataset, sampler, workers=workers, transport=transport) as loader:
            for a, b in zip(whole, loader, strict=False):
                assert a["key"] == b["key"]
                for name in ("image", "spacing", "affine"):
                    assert torch.equal(a[name], b[name]), f"{transport} gives another {name}"
    print("ring, threads and DataLoader give the same batches as one process")


def ours(dataset: medio.ShardDataset, transport: str, workers: int) -> Batches:
    """Batches of medio's loader."""
    return iter(medio.make_loader(dataset, medio.Sampler(dataset, BATCH, 0), workers=workers, transport=transport))


class Crops(torch.utils.data.Dataset):
    """The same crops for torch's DataLoader, each array a tensor."""

    def __init__(self, dataset: medio.ShardDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, draw: medio.Draw) -> dict[str, Any]:
        """Give one crop."""
        sample = self.dataset[draw]
        return {name: torch.from_numpy(sample[name]) for name in ("image", "spacing", "affine")}


def torchs(dataset: medio.ShardDataset, workers: int) -> Batches:
    """Batches of torch's DataLoader, collated by torch."""
    sampler = medio.Sampler(dataset, BATCH, 0)
    return closing(DataLoader(Crops(dataset), batch_sampler=sampler, num_workers=workers))


def monais(images: list[Path], cache: Path, workers: int) -> Batches:
    """Batches of MONAI's PersistentDataset, whose cache was filled before."""
    from monai.data import DataLoader as MonaiLoader
    from monai.data import PersistentDataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandSpatialCropd

    steps = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), RandSpatialCropd("image", SIZE, random_size=False)])
    dataset = PersistentDataset([{"image": str(path)} for path in images] * 8, steps, cache_dir=cache)
    for i in range(len(images)):
        dataset[i]
    return closing(MonaiLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=workers))


def torchios(images: list[Path], workers: int) -> Batches:
    """Batches of TorchIO's Queue."""
    import torchio

    subjects = torchio.SubjectsDataset([torchio.Subject(image=torchio.ScalarImage(path)) for path in images] * 4)
    queue = torchio.Queue(subjects, 32, 8, torchio.data.UniformSampler(SIZE), num_workers=workers)
    return closing(DataLoader(queue, batch_size=BATCH, num_workers=0))


def closing(loader: DataLoader) -> Batches:
    """Iterate over a loader again and again; closing the generator ends its workers."""
    while True:
        yield from loader


def image_of(batch: Any) -> torch.Tensor:
    """Find a batch's image; TorchIO's is a dict in the dict."""
    image = batch["image"]
    return image["data"] if isinstance(image, dict) else image


def normalise(sample: dict[str, Any]) -> dict[str, Any]:
    """Make a float image of unit variance."""
    whole = sample["statistics"]
    return {**sample, "image": (sample["image"] - np.float32(whole["mean"])) / np.float32(whole["std"])}


class Recipe:
    """One volume to one sample."""

    def __init__(self, images: list[Path]) -> None:
        self.images = images

    def __call__(self, item: int) -> medio.ShardSample:
        """Read a volume."""
        image = medio.read(self.images[item % VOLUMES])
        array = image.array.astype(np.int16)[None]
        return medio.ShardSample(
            sample_id=f"ct{item}", patient_id=f"ct{item}", arrays={"image": array}, spacing=image.spacing, affine=image.affine
        )


def make_images(folder: Path) -> list[Path]:
    """Write the volumes as uncompressed NIfTI, the peers' fastest."""
    real = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct_totalseg" / "example_ct_dicom"
    if real.is_dir():
        slices = medio.read(real).array
        print(f"volumes from a real CT of {slices.shape}")
    else:
        slices = np.random.default_rng(0).normal(0, 30, (20, 512, 512)).astype(np.int16)
        print("volumes are made up")
    volume = np.concatenate([slices, slices[::-1]] * 3)[:100]
    paths = []
    for i in range(VOLUMES):
        paths.append(folder / f"ct{i}.nii")
        medio.write(medio.Image(np.roll(volume, 40 * i, axis=2), np.diag([1.0, 1, 1, 1])[:, [2, 1, 0, 3]], (1.0, 1.0, 1.0)), paths[-1])
    return paths


if __name__ == "__main__":
    sys.exit(main())
