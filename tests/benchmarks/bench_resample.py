"""A CT resampled to isotropic voxels, beside MONAI, TorchIO, SimpleITK and scipy: wall and CPU time on one thread, and the error against scipy in HU.

    python tests/benchmarks/bench_resample.py             60 slices of 512x512 to 1 mm, and the same thin slices to 1 mm
    python tests/benchmarks/bench_resample.py --quick     fewer repeats
    python tests/benchmarks/bench_resample.py --check     exit with 1 where a goal is missed

All take turns; a time is the fastest of some rounds. `x wall` and `x CPU` say how many times as long a peer took. The error is the largest distance to
`scipy.ndimage.map_coordinates` (float64, order 1, nearest beyond the border) at the places where the peer itself says that its voxels lie; for results of whole
numbers it holds the rounding of up to 0.5. It is taken two voxels inside the border, where peers differ by choice. MONAI's Spacing runs as it does by default
(float64), and at its fastest (float32); `align_corners=True` spreads the voxels so that the outer centres agree. The CT is a real one, mirrored along z, where
`../shared/data` has it, else made up.
"""

import argparse
import os
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before numpy and torch are imported: one thread for all.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import SimpleITK
import torch
import torchio
from monai.data import MetaTensor
from monai.transforms import Spacing
from scipy import ndimage

import medio

GOAL = 7.0  # times MONAI's Spacing, the faster of its two
ERROR_GOAL = 0.05  # HU
NEW = (1.0, 1.0, 1.0)
Result = tuple[Any, Any]  # voxels (z, y, x), and the affine of (z, y, x) indices to LPS; None where the peer has none
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct_totalseg" / "example_ct_dicom"


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    missed: list[str] = []
    for title, spacing in (("thick slices", (2.5, 0.7, 0.7)), ("thin slices", (0.5, 0.7, 0.7))):
        image = make_ct(60, spacing)
        print(f"\n{title}: {image.array.shape} int16, {spacing} mm to {NEW}")
        compare(image, 2 if options.quick else 4, missed)
    for line in missed:
        print("missed:", line)
    return int(bool(missed) and options.check)


def compare(image: medio.Image, rounds: int, missed: list[str]) -> None:
    """Time all, print a table, and note the goals missed."""
    peers = make_peers(image)
    wall, cpu, results = dict.fromkeys(peers, np.inf), dict.fromkeys(peers, np.inf), {}
    for _ in range(rounds):
        for peer, run in peers.items():
            started, used = time.perf_counter(), time.process_time()
            results[peer] = run()
            wall[peer] = min(wall[peer], time.perf_counter() - started)
            cpu[peer] = min(cpu[peer], time.process_time() - used)
    print(f"{'':38}{'ms':>8}{'x wall':>8}{'x CPU':>8}{'error HU':>10}  size")
    errors = {}
    for peer, (voxels, affine) in results.items():
        errors[peer] = error(image, voxels, affine) if affine is not None else float("nan")
        print(
            f"{peer:38}{wall[peer] * 1e3:8.0f}{wall[peer] / wall['medio int16']:8.1f}{cpu[peer] / cpu['medio int16']:8.1f}"
            f"{errors[peer]:10.4f}  {'x'.join(map(str, voxels.shape))} {voxels.dtype}"
        )
    tracemalloc.start()
    out = medio.resample(image, spacing=NEW)
    print(f"memory of medio beside its result: {(tracemalloc.get_traced_memory()[1] - out.array.nbytes) / 2**20:.1f} MiB")
    tracemalloc.stop()
    monai = min(cpu[peer] for peer in peers if peer.startswith("MONAI"))
    if monai / cpu["medio int16"] < GOAL:
        missed.append(f"{monai / cpu['medio int16']:.1f} times MONAI's Spacing, the goal is {GOAL}")
    if errors["medio float32"] > ERROR_GOAL:
        missed.append(f"{errors['medio float32']:.3f} HU from scipy, the goal is {ERROR_GOAL}")
    if errors["medio int16"] > 0.5 + ERROR_GOAL:
        missed.append(f"{errors['medio int16']:.3f} HU from scipy after rounding, the goal is 0.5 + {ERROR_GOAL}")


def make_peers(image: medio.Image) -> dict[str, Callable[[], Result]]:
    """Give what each peer does, with its input in the form that it takes, made beforehand."""
    assert image.affine is not None
    xyz = image.affine.copy()
    xyz[:3, :3] = image.affine[:3, 2::-1]  # indices in x, y, z order, as MONAI, TorchIO and ITK count
    volume = np.ascontiguousarray(image.array.transpose(2, 1, 0))
    tensor = MetaTensor(torch.as_tensor(volume[None]), affine=torch.as_tensor(xyz))
    subject = torchio.ScalarImage(tensor=torch.as_tensor(volume[None]), affine=xyz)
    itk = SimpleITK.GetImageFromArray(image.array)
    itk.SetSpacing(image.spacing[::-1])
    itk.SetOrigin(image.affine[:3, 3].tolist())
    like = medio.resample(image, spacing=NEW)
    assert like.affine is not None
    zoom = [n / o for n, o in zip(like.array.shape, image.array.shape, strict=True)]

    def ours(**options: Any) -> Result:
        out = medio.resample(image, spacing=NEW, **options)
        return out.array, out.affine

    def monai(**options: Any) -> Result:
        out = Spacing(pixdim=NEW, mode="bilinear", padding_mode="border", **options)(tensor)
        return out.numpy()[0].transpose(2, 1, 0), _reversed(np.asarray(out.affine))

    def tio() -> Result:
        out = torchio.Resample(NEW)(subject)
        return out.data.numpy()[0].transpose(2, 1, 0), _reversed(out.affine)

    def by_itk() -> Result:
        size, origin = [int(n) for n in like.array.shape[::-1]], like.affine[:3, 3].tolist()
        out = SimpleITK.Resample(itk, size, SimpleITK.Transform(), SimpleITK.sitkLinear, origin, like.spacing[::-1])
        return SimpleITK.GetArrayFromImage(out), like.affine

    return {
        "medio int16": ours,
        "medio float32": lambda: ours(dtype=np.float32),
        "medio antialiased": lambda: (ours(antialias=True)[0], None),
        "MONAI Spacing (float64, its default)": monai,
        "MONAI Spacing (float32)": lambda: monai(dtype=np.float32),
        "MONAI Spacing (float32, align_corners)": lambda: monai(dtype=np.float32, align_corners=True),
        "TorchIO Resample": tio,
        "SimpleITK Resample": by_itk,
        "scipy zoom (grid_mode)": lambda: (ndimage.zoom(image.array, zoom, order=1, mode="nearest", grid_mode=True), None),
    }


def error(image: medio.Image, voxels: Any, affine: Any) -> float:
    """Give the largest distance to scipy where the peer says that its voxels lie, two voxels inside the border, in some slices."""
    assert image.affine is not None
    worst = 0.0
    for z in range(2, len(voxels) - 2, max(1, len(voxels) // 12)):
        new = np.moveaxis(np.indices((1, *voxels.shape[1:])), 0, -1) + np.array([z, 0, 0])
        index = np.moveaxis(medio.world_to_index(image.affine, medio.index_to_world(affine, new)), -1, 0)
        expected = ndimage.map_coordinates(image.array.astype(np.float64), index, order=1, mode="nearest")[0]
        worst = max(worst, float(np.abs(voxels[z] - expected)[2:-2, 2:-2].max()))
    return worst


def make_ct(slices: int, spacing: tuple[float, float, float]) -> medio.Image:
    """Give a CT of 512x512 pixels a slice, real where one is at hand."""
    if DATA.is_dir():
        voxels = medio.read(DATA).array
        voxels = np.concatenate([voxels if n % 2 == 0 else voxels[::-1] for n in range(-(-slices // len(voxels)))])[:slices]
    else:
        noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(slices, 512, 512)), 2)
        voxels = (noise / noise.std() * 500).astype(np.int16)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[:, 3] = (-180, -180, 0, 1)
    return medio.Image(np.ascontiguousarray(voxels), affine, spacing, "HU")


def _reversed(affine: Any) -> Any:
    turned = np.asarray(affine, np.float64).copy()
    turned[:3, :3] = turned[:3, 2::-1]
    return turned


if __name__ == "__main__":
    sys.exit(main())
