"""Real images for the benchmarks of shards, made as large as those of a hospital, or made up where the real ones are absent."""

from pathlib import Path

import numpy as np

import medio

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def ct_volume(slices: int = 128) -> tuple[np.ndarray, str]:
    """A CT of (slices, 512, 512) int16 HU and what it is made of.

    The 20 real slices are laid end to end, each time flipped another way and with fresh noise of 6 HU (none in what is exactly air), so that no compressor finds
    a slice twice.
    """
    folder = SHARED / "ct_totalseg" / "example_ct_dicom"
    if folder.is_dir():
        slab, source = medio.read(folder).array, "real CT, repeated flipped with fresh noise"
    else:
        z, y, x = np.ogrid[:20, :512, :512]
        body = ((y - 256) / 180) ** 2 + ((x - 256) / 230) ** 2 < 1
        slab = np.where(body, 40 + 30 * np.sin(x / 19) * np.cos(y / 23 + z / 5), -1024)
        slab = (slab + np.random.default_rng(1).normal(0, 15, slab.shape) * body).astype(np.int16)
        source = "made-up CT"
    rng = np.random.default_rng(0)
    parts = []
    for n in range(-(-slices // len(slab))):
        part = slab[::-1] if n % 2 else slab
        part = part[:, :, ::-1] if n // 2 % 2 else part
        part = part[:, ::-1] if n // 4 % 2 else part
        noise = np.rint(rng.normal(0, 6, part.shape)).astype(np.int16)
        parts.append(np.where(part <= -1000, part, part + noise))
    return np.concatenate(parts)[:slices].astype(np.int16), source


def small_sets() -> dict[str, list[np.ndarray]]:
    """Other real images, by name: MR volumes (D, H, W) and films (H, W); empty where they are absent."""
    found: dict[str, list[np.ndarray]] = {}
    for name, pattern in {
        "MR": "mr_hippocampus/images/*.nii.gz",
        "mask": "mr_hippocampus/labels/*.nii.gz",
        "films 512": "cxr_nih/images_512/*.png",
        "films 1024": "cxr_nih/images_1024_boxes/*.png",
    }.items():
        paths = sorted(SHARED.glob(pattern))[:16]
        images = [medio.read(path, spacing=(1.0, 1.0) if path.suffix == ".png" else None).array for path in paths]
        if images:
            found[name] = [image if image.ndim == (2 if "films" in name else 3) else image[0] for image in images]
    return found
