"""One random 96^3 crop of a CT: shards beside nnU-Net's blosc2 layout and MONAI's PersistentDataset; two threads; cold reads; the codecs.

    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_crop.py             three volumes of 256x512x512
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_crop.py --quick     fewer crops and repeats
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_crop.py --check     exit with 1 where a goal is missed

`shards` is `ShardDataset[draw]`: a keyed crop with its affine, labels and statistics, as training gets it. `nnU-Net` is its layout for preprocessed cases: one `.b2nd` a
case, float32 z-scores, Zstandard at level 8, blocks that fit 0.8 of a 32 KiB cache and chunks that fit 0.8 of 1.375 MiB, grown from the patch by its rule, read through a
memory map; only the image is read. `MONAI` is PersistentDataset with RandSpatialCrop. All take turns on the same crops; a time is the mean over crops of the fastest of
some rounds. Cold: the file leaves the page cache before each crop (`posix_fadvise`); the same shard is also read through a memory map.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Before numpy and torch are imported: one thread for all.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import blosc2
import numpy as np
import torch
from crop_data import ct_volume, small_sets
from monai.data import PersistentDataset
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandSpatialCropd

import medio
from medio.shards.codecs import CODECS
from medio.shards.reader import ShardReader

SIZE, VOLUMES, SLICES = (96, 96, 96), 3, 256
GOALS = {"MONAI": 40.0, "nnU-Net": 1.6}  # times as long as a crop from shards takes
DISK_GOAL, THREADS_GOAL = 0.4, 1.5
Read = Callable[[int], Any]  # number of the crop


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer crops and repeats")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    blosc2.set_nthreads(1)
    crops, rounds = (8, 2) if options.quick else (24, 4)
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        volume, source = ct_volume(SLICES)
        print(
            f"{VOLUMES} volumes of {volume.shape} int16: {source}; blosc2 {blosc2.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        )
        dataset = build(root / "shards", volume)
        cases = build_nnunet(root / "nnunet", volume)
        draws = [medio.Draw(n % VOLUMES, (n, 0, dataset.sample_ids[n % VOLUMES], 0)) for n in range(crops)]
        places = [place(dataset, draw) for draw in draws]

        def shards(n: int) -> Any:
            return dataset[draws[n]]["image"]

        def nnunet(n: int) -> Any:
            array = blosc2.open(str(cases[n % VOLUMES]), mode="r", mmap_mode="r", dparams={"nthreads": 1})
            return array[(slice(0, 1), *places[n])]

        peers: dict[str, Read] = {"shards": shards, "nnU-Net": nnunet, "MONAI": monai_reader(root / "monai", volume)}
        assert np.array_equal(shards(1)[0], dataset.read(1, "image")[0][places[1]])
        warm(peers, crops, rounds, missed)
        disk(root / "shards", cases, missed)
        threads(peers, crops, missed)
        cold(root / "shards" / "000000.b2z", dataset, cases, draws, places, rounds)
        codecs(root, volume, rounds)
    print("\nevery goal is met" if not missed else "\nmissed: " + "; ".join(missed))
    return 1 if missed and options.check else 0


def build(folder: Path, volume: np.ndarray) -> medio.ShardDataset:
    """The volumes as shards; each is another flip, so that no cache holds two."""

    def recipe(n: int) -> medio.ShardSample:
        array = np.roll(volume, 37 * n, axis=(1, 2))[None]
        return medio.ShardSample(
            sample_id=f"s{n}", patient_id=f"p{n}", arrays={"image": array}, spacing=(2, 1, 1), affine=np.diag([2.0, 1, 1, 1])
        )

    medio.build_shards(range(VOLUMES), recipe, folder)
    return medio.ShardDataset(folder, keys=("image",), crop=medio.Crop(SIZE, foreground=0.0))


def place(dataset: medio.ShardDataset, draw: medio.Draw) -> tuple[slice, ...]:
    """The region of a draw, from the affine of its crop."""
    first = np.rint(dataset[draw]["affine"][:3, 3] / [2, 1, 1]).astype(int)
    return tuple(slice(int(a), int(a) + size) for a, size in zip(first, SIZE, strict=True))


def build_nnunet(folder: Path, volume: np.ndarray) -> list[Path]:
    """The volumes in nnU-Net's layout of preprocessed cases."""
    folder.mkdir()
    chunks, blocks = nnunet_grid((1, *volume.shape), SIZE)
    paths = []
    for n in range(VOLUMES):
        array = np.roll(volume, 37 * n, axis=(1, 2))[None].astype(np.float32)
        scores = (array - array.mean()) / array.std()
        paths.append(folder / f"case{n}.b2nd")
        blosc2.asarray(scores, chunks=chunks, blocks=blocks, urlpath=str(paths[-1]), cparams={"codec": blosc2.Codec.ZSTD, "clevel": 8})
    print(f"nnU-Net's rule gives chunks {chunks}, blocks {blocks}")
    return paths


def nnunet_grid(shape: Sequence[int], patch: Sequence[int], item: int = 4) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunks and blocks by nnU-Net's published rule: blocks are powers of two that shrink from the patch into a first-level cache, chunks are multiples of blocks."""
    first_level, third_level = 0.8 * 32768 / item, 0.8 * 1441792 / item
    block = [1 << (size - 1).bit_length() for size in patch]
    while shape[0] * np.prod(block) > first_level:
        # The axis that exceeds the patch most; of equal ones the last.
        axis = max((a for a in range(len(block)) if block[a] > 1), key=lambda a: (block[a] / patch[a], a))
        block[axis] = min(block[axis] // 2, shape[axis + 1])
    block = [min(b, n) for b, n in zip(block, shape[1:], strict=True)]
    chunk = list(block)
    while shape[0] * np.prod(chunk) < third_level and any(c < n for c, n in zip(chunk, shape[1:], strict=True)):
        axis = min((a for a in range(len(chunk)) if chunk[a] < shape[a + 1]), key=lambda a: (chunk[a] / block[a], a))
        grown = list(chunk)
        grown[axis] = min(chunk[axis] + block[axis], shape[axis + 1])
        if np.mean([c / p for c, p in zip(grown, patch, strict=True)]) > 1.5:
            break
        chunk = grown
        if shape[0] * np.prod(chunk) > third_level:
            chunk[axis] -= block[axis]
            break
    return (shape[0], *chunk), (shape[0], *block)


def monai_reader(folder: Path, volume: np.ndarray) -> Read:
    """MONAI's PersistentDataset over the same volumes, its cache filled."""
    folder.mkdir()
    paths = []
    for n in range(VOLUMES):
        paths.append(folder / f"case{n}.npy")
        np.save(paths[-1], np.roll(volume, 37 * n, axis=(1, 2)))
    transform = Compose(
        [LoadImaged("image"), EnsureChannelFirstd("image", channel_dim="no_channel"), RandSpatialCropd("image", SIZE, random_size=False)]
    )
    data = PersistentDataset([{"image": str(path)} for path in paths], transform, cache_dir=folder / "cache")
    for n in range(VOLUMES):
        data[n]
    return lambda n: data[n % VOLUMES]["image"]


def warm(peers: dict[str, Read], crops: int, rounds: int, missed: list[str]) -> None:
    """Print the time of a crop from the page cache."""
    best = {name: np.full((2, crops), np.inf) for name in peers}
    for _ in range(rounds):
        for n in range(crops):
            for name, read in peers.items():
                if name == "MONAI" and n >= VOLUMES * 2:
                    continue  # it reads whole volumes: eight crops tell
                wall, cpu = time.perf_counter(), time.process_time()
                read(n)
                took = time.perf_counter() - wall, time.process_time() - cpu
                best[name][:, n] = np.minimum(best[name][:, n], took)
    mean = {name: np.array([row[np.isfinite(row)].mean() for row in times]) * 1e3 for name, times in best.items()}
    print(f"\n{'one crop, warm':16} {'ms wall':>8} {'ms CPU':>8} {'x wall':>7} {'x CPU':>7}")
    for name, (wall, cpu) in mean.items():
        times = mean[name] / mean["shards"]
        print(f"{name:16} {wall:8.2f} {cpu:8.2f} {times[0]:7.1f} {times[1]:7.1f}")
        if name in GOALS and min(times) < GOALS[name]:
            missed.append(f"{name} takes {min(times):.1f} times as long, the goal is {GOALS[name]:g}")


def disk(shards: Path, cases: Sequence[Path], missed: list[str]) -> None:
    """Print what the two layouts take."""
    ours, theirs = sum(p.stat().st_size for p in shards.iterdir()), sum(p.stat().st_size for p in cases)
    print(f"\non disk: shards {ours / 2**20:.0f} MiB with their index, nnU-Net {theirs / 2**20:.0f} MiB: {ours / theirs:.2f} of it")
    if ours / theirs > DISK_GOAL:
        missed.append(f"shards take {ours / theirs:.2f} of nnU-Net's disk, the goal is {DISK_GOAL}")


def threads(peers: dict[str, Read], crops: int, missed: list[str]) -> None:
    """Print crops a second of one and of two threads in this process."""
    print(f"\n{'crops a second':16} {'1 thread':>9} {'2 threads':>9} {'gain':>6}")
    for name in ("shards", "nnU-Net"):
        rate = {1: 0.0, 2: 0.0}
        for _ in range(4):
            for count in rate:
                with ThreadPoolExecutor(count) as pool:
                    list(pool.map(peers[name], range(count)))  # the threads are there
                    begun = time.perf_counter()
                    list(pool.map(peers[name], [n % crops for n in range(96)]))
                    rate[count] = max(rate[count], 96 / (time.perf_counter() - begun))
        gain = rate[2] / rate[1]
        print(f"{name:16} {rate[1]:9.0f} {rate[2]:9.0f} {gain:6.2f}")
        if name == "shards" and gain < THREADS_GOAL:
            missed.append(f"two threads gain {gain:.2f}, the goal is {THREADS_GOAL}")


def cold(
    path: Path,
    dataset: medio.ShardDataset,
    cases: Sequence[Path],
    draws: Sequence[medio.Draw],
    places: Sequence[tuple[slice, ...]],
    rounds: int,
) -> None:
    """Print the time of a crop whose file is not in the page cache."""
    if not hasattr(os, "posix_fadvise"):
        print("\ncold: this system cannot empty its cache of one file")
        return
    reader = ShardReader(path)
    for n in range(VOLUMES):
        reader.read_into(
            n, "image", (0,) * 4, (1, 1, 1, 1), np.empty((1, 1, 1, 1), np.int16), shape=dataset.table["arrays"][n].as_py()[0]["shape"]
        )
    offsets = [reader._offsets[f"{n:06d}/image.b2nd"] for n in range(VOLUMES)]

    def mapped(n: int) -> Any:
        array = blosc2.blosc2_ext.open(str(path), mode="r", offset=offsets[n % VOLUMES], mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
        return array[(slice(0, 1), *places[n])]

    def nnunet(n: int) -> Any:
        return blosc2.open(str(cases[n % VOLUMES]), mode="r", mmap_mode="r", dparams={"nthreads": 1})[(slice(0, 1), *places[n])]

    ways: dict[str, tuple[Read, Callable[[int], Path]]] = {
        "shards, by file": (lambda n: dataset[draws[n]], lambda n: path),
        "shards, by map": (mapped, lambda n: path),
        "nnU-Net": (nnunet, lambda n: cases[n % VOLUMES]),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for n in [*range(len(draws))] * max(1, rounds // 2):
        for name, (read, file) in ways.items():
            forget(file(n))
            begun = time.perf_counter()
            read(n)
            times[name].append(time.perf_counter() - begun)
    print(f"\n{'one crop, cold':16} {'ms median':>9}")
    for name, taken in times.items():
        print(f"{name:16} {np.median(taken) * 1e3:9.1f}")


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def codecs(root: Path, volume: np.ndarray, rounds: int) -> None:
    """Print size and speed of every codec on every kind of image."""
    sets = {"CT": [volume[:64]], **small_sets()}
    print(f"\n{'codec':8} {'images':11} {'type':8} {'smaller':>8} {'ms write':>9} {'ms read':>8}   whole images, a MiB of them")
    for kind, images in sets.items():
        dims = images[0].ndim
        megabytes = sum(image.nbytes for image in images) / 2**20
        for codec in CODECS.values():
            begun = time.process_time()
            frames = [codec.compress(image, dims) for image in images]
            write = time.process_time() - begun
            read = np.inf
            for _ in range(rounds):
                begun = time.process_time()
                for frame, image in zip(frames, images, strict=True):
                    found = blosc2.ndarray_from_cframe(frame)[...]
                    assert found.shape == image.shape
                read = min(read, time.process_time() - begun)
            smaller = megabytes * 2**20 / sum(map(len, frames))
            types = "/".join(sorted({image.dtype.name for image in images}))
            print(f"{codec.name:8} {kind:11} {types[:8]:8} {smaller:8.2f} {write / megabytes * 1e3:9.2f} {read / megabytes * 1e3:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
