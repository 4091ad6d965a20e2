"""Label masks on another grid, with smoother borders than the nearest voxel gives."""

from dataclasses import replace

import numpy as np

from medio.errors import UnsupportedError
from medio.geometry.resampling import resample
from medio.image import Image


def resample_labels(
    mask: Image, *, spacing: tuple[float, ...] | None = None, like: Image | None = None, background: int = 0, threads: int = 1
) -> Image:
    """Give every new voxel the label whose share of it is largest, each label interpolated linearly on its own.

    No label is made that was not there, and borders do not follow the steps of the old voxels, as `resample(mask, order=0)` makes them; a structure thinner
    than a new voxel may vanish under either. Costs one linear resampling a label.

    Args:
        mask: integers ([C,] D, H, W) or ([C,] H, W).
        spacing: as in `resample`.
        like: as in `resample`.
        background: the label outside the old image. Where shares are equal it wins, and after it the smaller label.
        threads: as in `resample`.

    Returns:
        The mask on the new grid, its type kept.

    Raises:
        GeometryError: as `resample` does.
        UnsupportedError: fractions, which are no labels.
    """
    if mask.array.dtype.kind not in "iub":
        raise UnsupportedError(
            str(mask.meta.get("path", "mask")), f"labels are whole numbers, not {mask.array.dtype}; threshold the shares first"
        )
    labels = [label for label in np.unique(mask.array).tolist() if label != background]
    share = resample(replace(mask, array=mask.array == background), spacing=spacing, like=like, fill=1, dtype=np.float32, threads=threads)
    best, out = share.array, np.full(share.array.shape, background, mask.array.dtype)
    for label in labels:
        one = replace(mask, array=mask.array == label)
        array = resample(one, spacing=spacing, like=like, fill=0, dtype=np.float32, threads=threads).array
        above = array > best + 1e-6  # the rounding of float32 must not decide between equal shares
        out[above] = label
        np.maximum(best, array, out=best)
    return replace(share, array=out)
