"""A chain holds at most four copies of a sample at once."""

import gc
from pathlib import Path

import pytest
import torch

from medaug import Affine, BSpline, Compose, Flip, Noise

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """Bytes in a line of /proc/self/status."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not _RESET.exists(), reason="the peak of a process's memory can be reset on Linux alone")
@pytest.mark.parametrize(
    "transforms",
    [
        [Affine(rotation_deg=20.0), Flip(axes=(0,), p=1.0)],
        [Affine(rotation_deg=20.0), BSpline(spacing_mm=40.0, magnitude_mm=9.0)],
        [Flip(axes=(2,), p=1.0), Noise(std=0.1)],
    ],
)
def test_the_peak_stays_within_four_copies_of_the_sample(transforms):
    compose = Compose(transforms)
    small = {"image": torch.zeros(1, 8, 8, 8), "mask": torch.zeros(8, 8, 8, dtype=torch.uint8), "spacing": (1.0, 1.0, 1.0)}
    compose(small, (0, 0, "a", 0))  # compiled, imported
    sample = {"image": torch.randn(1, 160, 160, 160), "mask": torch.ones(160, 160, 160, dtype=torch.uint8), "spacing": (1.0, 1.0, 1.0)}
    size = 5 * 160**3
    gc.collect()
    _RESET.write_text("5")
    before = resident("VmRSS")
    out = compose(sample, (0, 0, "a", 0))
    peak = resident("VmHWM") - before  # beyond the sample itself
    assert out["image"].shape == sample["image"].shape
    assert peak < 3 * size
