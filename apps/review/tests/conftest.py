from pathlib import Path

import numpy as np
import pytest

import medio


def volume(array: np.ndarray, shift: float = 0.0) -> medio.Image:
    """A volume with 3 mm slices whose axes run to superior, posterior and left."""
    affine = np.array([[0, 0, 1.0, shift], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    return medio.Image(array, affine, (3.0, 1.0, 1.0), meta={"path": "made"})


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Folders `images` and `predictions` of three volumes; case c has an empty prediction."""
    rng = np.random.default_rng(0)
    for name in ("images", "predictions"):
        (tmp_path / name).mkdir()
    for case in "abc":
        mask = np.zeros((6, 10, 12), dtype=np.int16)
        if case != "c":
            mask[3, 2:6, 3:9] = 1
            mask[4, 2:4, 3:6] = 2
        medio.write(volume(rng.integers(-1000, 400, mask.shape).astype(np.int16)), tmp_path / "images" / f"{case}.nii.gz")
        medio.write(volume(mask), tmp_path / "predictions" / f"{case}.nii.gz")
    return tmp_path
