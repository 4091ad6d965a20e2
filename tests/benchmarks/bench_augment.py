"""nnU-Net's default training augmentation: medaug beside batchgeneratorsv2, MONAI and TorchIO; single operations; memory.

    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_augment.py             96^3 from 128^3, 128^3, 512^2, each with a mask
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_augment.py --quick     fewer samples and repeats
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_augment.py --only operations
    OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/bench_augment.py --check     exit with 1 where a goal is missed

One thread. Most operations are rare (probabilities 0.1 to 0.3), so what training pays is the mean over many samples: each of them is drawn again for every repeat, its time
is the fastest repeat, and the mean of those is compared. All take turns on the same sample. `batchgeneratorsv2` is nnU-Net v2's list with its default for masks (each label
interpolated linearly); `…, nearest` takes masks as medaug, MONAI and TorchIO do. `medaug, 8 at once` is a batch of the same samples, time for each of them. Memory: a child process a library, the growth of its peak resident size over what it held
with one sample loaded, in sizes of that sample (image float32 and mask uint8), the sample itself counted.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

# Before numpy and torch are imported: one thread for all.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import augment_own
import augment_peers
import numpy as np
import torch
from augment_peers import Run, Sample

CASES = {
    "96^3 from 128^3": ((128,) * 3, (96,) * 3),
    "128^3": ((128,) * 3, (128,) * 3),
    "512^2": ((512,) * 2, (512,) * 2),
}
GOALS = {"batchgeneratorsv2": 2.0, "MONAI": 3.0, "TorchIO": 3.0}  # times as long as medaug takes
COPIES_GOAL = 4.0
_BATCH = 8


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples and repeats")
    parser.add_argument("--only", choices=["pipelines", "operations", "memory"], help="one part")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--child", metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        print(*[peak(options.child, case) for case in CASES])
        return 0
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    missed: list[str] = []
    for case in CASES:
        if options.only in (None, "pipelines"):
            missed += pipelines(case, *((24, 2) if options.quick else (120, 3)))
        if options.only in (None, "operations") and case != "128^3":
            operations(case, 2 if options.quick else 5)
    if options.only in (None, "memory"):
        missed += memory()
    print("\nevery goal is met" if not missed else "\nmissed: " + "; ".join(missed))
    return 1 if missed and options.check else 0


def make_sample(shape: tuple[int, ...]) -> Sample:
    """A smooth image with some noise, z-scored, and a mask of two labels in blobs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((1, 1, *[size // 8 for size in shape]), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, shape, mode="trilinear" if len(shape) == 3 else "bilinear")[0]
    image = smooth + 0.1 * torch.randn(smooth.shape, generator=generator)
    return {"image": (image - image.mean()) / image.std(), "mask": ((smooth[0] > 0.4).int() + (smooth[0] > 0.8)).to(torch.uint8)}


def make_pipelines(patch: tuple[int, ...]) -> dict[str, Run]:
    """Every library's pipeline; ours first."""
    return {
        "medaug": augment_own.pipeline(patch),
        "batchgeneratorsv2": augment_peers.batchgenerators(patch),
        "batchgeneratorsv2, nearest": augment_peers.batchgenerators(patch, "nearest"),
        "MONAI": augment_peers.monai(patch, lazy=False),
        # In 2D its lazy chain fails: it multiplies the 3x3 matrix of a crop by the 4x4 one of a flip.
        **({"MONAI, lazy": augment_peers.monai(patch)} if len(patch) == 3 else {}),
        "TorchIO": augment_peers.torchio(patch),
    }


def pipelines(case: str, samples: int, repeats: int) -> list[str]:
    """Print the whole pipeline's times; the goals missed."""
    shape, patch = CASES[case]
    runs = make_pipelines(patch)
    sample, samples = make_sample(shape), samples if len(shape) == 3 else 2 * samples
    best = measure(runs, sample, samples, repeats)
    whole = measure({"batch": augment_own.batches(patch, sample, _BATCH)}, sample, samples // _BATCH, repeats)["batch"] / _BATCH
    best = {"medaug": best.pop("medaug"), f"medaug, {_BATCH} at once": whole, **best}
    mean = {name: times.mean(axis=1) for name, times in best.items()}
    print(
        f"\n{case + ', with mask':28} {'ms wall':>8} {'ms CPU':>8} {'fastest':>8} {'slowest':>8} {'x wall':>7} {'x CPU':>7}   mean of {best['medaug'].shape[1]} samples"
    )
    missed = []
    for name, (wall, cpu) in mean.items():
        ratio = mean[name] / mean["medaug"]
        print(f"{name:28} {wall:8.2f} {cpu:8.2f} {best[name][1].min():8.2f} {best[name][1].max():8.2f} {ratio[0]:7.2f} {ratio[1]:7.2f}")
        goal = GOALS.get(name.split(",")[0])
        if goal and ratio[1] < goal:
            missed.append(f"{name} takes {ratio[1]:.1f} times as long at {case}, the goal is {goal:g}")
    return missed


def operations(case: str, repeats: int) -> None:
    """Print the times of single operations, each always applied."""
    shape, patch = CASES[case]
    # Intensities work on the patch; geometry takes the patch from the larger image.
    large, small = make_sample(shape), make_sample(patch)
    ours, peers = augment_own.operations(patch), augment_peers.operations(len(patch))
    print(f"\n{case:24} {'medaug, ms CPU':>15}   times as long (CPU)")
    for name, own in ours.items():
        best = measure({"medaug": own, **peers.get(name, {})}, large if name.startswith("affine") else small, 4, repeats)
        mean = {peer: times[1].mean() for peer, times in best.items()}
        ratios = ", ".join(f"{peer} {value / mean['medaug']:.1f}" for peer, value in mean.items() if peer != "medaug")
        print(f"{name:24} {mean['medaug']:15.2f}   {ratios}")


def measure(runs: Mapping[str, Run], sample: Sample, samples: int, repeats: int) -> dict[str, np.ndarray]:
    """Wall and CPU ms of the fastest repeat of each sample: (2, samples)."""
    for name, run in runs.items():
        for number in range(-3, 0):  # compiles, plans and caches
            check_shape(name, run(owned(sample), number + 1000))
    best = {name: np.full((2, samples), np.inf) for name in runs}
    for _ in range(repeats):
        for number in range(samples):
            for name, run in runs.items():
                own = owned(sample)
                wall, cpu = time.perf_counter(), time.process_time()
                result = run(own, number)
                took = (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3
                del result
                best[name][:, number] = np.minimum(best[name][:, number], took)
    return best


def owned(sample: Sample) -> Sample:
    """A copy that a library may change."""
    return {name: tensor.clone() for name, tensor in sample.items()}


def check_shape(name: str, result: Mapping[str, object]) -> None:
    """Raise unless an image came out that is finite."""
    image = result["image"]
    data = image if isinstance(image, torch.Tensor) else image.data
    assert torch.isfinite(data).all(), name


def memory() -> list[str]:
    """Print the peak memory of each library; the goals missed."""
    missed = []
    print(f"\n{'peak memory, in samples':28} " + " ".join(f"{case:>16}" for case in CASES))
    # Else the allocator keeps what was freed, and the peak tells of its habits.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    for library in ("medaug", "batchgeneratorsv2", "batchgeneratorsv2, nearest", "MONAI", "TorchIO"):
        command = [sys.executable, str(Path(__file__).resolve()), "--child", library]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        copies = [float(value) for value in found.stdout.splitlines()[-1].split()]
        print(f"{library:28} " + " ".join(f"{value:16.1f}" for value in copies))
        if library == "medaug" and max(copies) > COPIES_GOAL:
            missed.append(f"medaug holds {max(copies):.1f} samples, the goal is {COPIES_GOAL:g}")
    return missed


def peak(library: str, case: str, numbers: int = 30) -> float:
    """Peak resident size over some samples in this process, in sizes of the sample, itself counted."""
    shape, patch = CASES[case]
    small = tuple(24 for _ in shape)
    warm, run = make_pipelines(small)[library], make_pipelines(patch)[library]
    for number in range(numbers):  # code is compiled and libraries are loaded before the reading
        warm(make_sample(small), number)
    sample = make_sample(shape)
    size = sum(tensor.nbytes for tensor in sample.values())
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    for number in range(numbers):
        result = run(owned(sample), number)
        del result
    return (_resident("VmHWM") - before) / size


def _resident(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
