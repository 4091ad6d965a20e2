"""Building shards: what a second process gains, what the parent spends, and how much memory a worker takes.

    python tests/benchmarks/bench_build.py             24 CT volumes of 128x512x512, three a shard
    python tests/benchmarks/bench_build.py --quick     six, once
    python tests/benchmarks/bench_build.py --check     exit with 1 where a goal is missed

One and two processes take turns; a time is the fastest of some rounds. The processes are there and have imported all before the clock starts. `MiB` is the highest
memory of a worker beyond what it took before its first volume, in volumes: the sample, its compressed frames, and what proving it adds. What a recipe holds
beside its sample comes on top; this one holds nothing. What the machine allows is what a second process gains where each does
nothing but compress memory of its own, or fill and copy it: where cores, caches or memory are shared that is below two, and a build, which does both, cannot gain more. `CPU` is what the workers spent in all, which a second process must not raise.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import blosc2
import numpy as np
from crop_data import ct_volume

import medio

SCALE_GOAL, MEMORY_GOAL = 1.8, 2.0
SLICES = 128


class Recipe:
    """A CT out of a file, each item another."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, item: int) -> medio.ShardSample:
        """Read and shift, in place."""
        array = np.load(self.path)
        array += item
        return medio.ShardSample(
            sample_id=f"s{item}", patient_id=f"p{item}", arrays={"image": array[None]}, spacing=(2, 1, 1), affine=np.diag([2.0, 1, 1, 1])
        )


def tiny(item: int) -> medio.ShardSample:
    """A sample that costs no memory, made slowly enough for every process of a pool to build one and import what building takes."""
    time.sleep(0.3)
    return medio.ShardSample(sample_id=f"s{item}", patient_id="p", arrays={"image": np.full((1, 8, 8), item, np.int16)}, spacing=(1, 1))


def compress(seed: int) -> int:
    """Compress noise in memory, twelve times: about what three volumes cost, with nothing to wait for."""
    noise = np.random.default_rng(seed).normal(0, 20, (64, 512, 512)).astype(np.int16)
    return sum(len(blosc2.compress2(noise, codec=blosc2.Codec.ZSTD, clevel=3, nthreads=1)) for _ in range(12))


def copy(seed: int) -> int:
    """Fill and copy fresh memory of the size of a volume, forty times: what a build does besides compressing."""
    for _ in range(40):
        first = np.full(SLICES * 512 * 512, seed, np.int16)
        second = first.copy()
    return int(second[-1])


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer volumes, once")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    count, rounds = (6, 1) if options.quick else (24, 2)
    missed: list[str] = []
    context = get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=context) as one,
        ProcessPoolExecutor(2, mp_context=context) as two,
    ):
        root = Path(folder)
        volume, source = ct_volume(SLICES)
        np.save(root / "ct.npy", volume)
        recipe = Recipe(root / "ct.npy")
        print(f"{count} volumes of {volume.shape} int16: {source}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        pools = {1: one, 2: two}
        for workers, pool in pools.items():
            medio.build_shards(range(4 * workers), tiny, root / f"tiny{workers}", per_shard=1, executor=pool)
        base = {workers: max(pool.map(_peak, [0.1] * 2 * workers)) for workers, pool in pools.items()}
        wall, cpu, parent = (dict.fromkeys(pools, np.inf) for _ in range(3))
        versions, machine, memory = set(), dict.fromkeys(pools, np.inf), dict.fromkeys(pools, np.inf)
        for turn in range(rounds):
            for workers, pool in pools.items():
                begun, own, spent = time.perf_counter(), time.process_time(), _spent(pool, workers)
                report = medio.build_shards(range(count), recipe, root / f"{turn}-{workers}", per_shard=3, executor=pool)
                wall[workers] = min(wall[workers], time.perf_counter() - begun)
                parent[workers] = min(parent[workers], time.process_time() - own)
                cpu[workers] = min(cpu[workers], _spent(pool, workers) - spent)
                versions.add(report.version)
        held = {n: (max(pool.map(_peak, [0.1] * 2 * n)) - base[n]) / (volume.nbytes / 2**20) for n, pool in pools.items()}
        for _ in range(rounds + 1):  # after the memory was read, for it takes some too
            machine = {n: min(machine[n], _wall(pool, compress)) for n, pool in pools.items()}
            memory = {n: min(memory[n], _wall(pool, copy)) for n, pool in pools.items()}
        assert len(versions) == 1, "one and two processes must build the same"
        megabytes = volume.nbytes / 2**20
        print(f"\n{'processes':>9} {'s wall':>7} {'MiB/s':>6} {'s CPU':>6} {'s parent':>8} {'volumes held':>12}")
        for workers in pools:
            print(
                f"{workers:9} {wall[workers]:7.2f} {count * megabytes / wall[workers]:6.0f} {cpu[workers]:6.2f} {parent[workers]:8.2f} {held[workers]:12.2f}"
            )
            if held[workers] > MEMORY_GOAL + 0.25:  # buffers of the compressor and of Arrow count too
                missed.append(f"a worker of {workers} held {held[workers]:.2f} volumes, the goal is {MEMORY_GOAL:g}")
        gain = wall[1] / wall[2]
        print(
            f"\ntwo processes are {gain:.2f} times as fast as one; the machine allows {machine[1] / machine[2]:.2f} for compressing, {memory[1] / memory[2]:.2f} for copying"
        )
        if gain < SCALE_GOAL:
            missed.append(f"two processes gain {gain:.2f}, the goal is {SCALE_GOAL}")
    print("every goal is met" if not missed else "missed: " + "; ".join(missed))
    return 1 if missed and options.check else 0


def _wall(pool: ProcessPoolExecutor, work: Callable[[int], int]) -> float:
    """Seconds that a pool takes for four pieces of work."""
    begun = time.perf_counter()
    list(pool.map(work, range(4)))
    return time.perf_counter() - begun


def _peak(seconds: float) -> float:
    """Highest memory of this process so far, in MiB; taken slowly enough for every process of the pool to be asked."""
    time.sleep(seconds)
    # Not getrusage: a spawned process inherits the peak of its parent there.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _cpu(seconds: float) -> tuple[int, float]:
    time.sleep(seconds)
    return os.getpid(), time.process_time()


def _spent(pool: ProcessPoolExecutor, workers: int) -> float:
    """CPU seconds of all processes of a pool so far."""
    return sum(dict(pool.map(_cpu, [0.05] * 2 * workers)).values())


if __name__ == "__main__":
    sys.exit(main())
