"""YBR_FULL to RGB.

Source: DICOM PS3.3 C.7.6.3.1.2, ITU-T T.871 section 7.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt


def to_rgb(frame: npt.NDArray[Any]) -> None:
    """Turn (H, W, 3) uint8 YBR_FULL into RGB, in place, rounded to nearest.

    Raises:
        ValueError: values of more than 8 bit, for which the standard has no transform.
    """
    if frame.dtype != np.uint8:
        raise ValueError(f"YBR_FULL of {8 * frame.itemsize} bit has no defined transform to RGB")
    red, green, blue = _tables()
    # Luma is whole, so the chroma part can be rounded by itself: one table look-up a channel.
    luma, cb, cr = frame[..., 0].astype(np.int16), frame[..., 1].copy(), frame[..., 2].copy()
    for channel, chroma in enumerate((red[cr], green[cb, cr], blue[cb])):
        np.add(chroma, luma, out=chroma)
        np.clip(chroma, 0, 255, out=chroma)
        frame[..., channel] = chroma


def spread_422(data: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Write Y1 Y2 Cb Cr quads of uncompressed YBR_FULL_422 to (H, W, 3) `out`."""
    quads = data.reshape(-1, 4)
    pairs = out.reshape(-1, 2, 3)
    pairs[:, :, 0] = quads[:, :2]
    pairs[:, :, 1:] = quads[:, None, 2:]


@lru_cache(maxsize=1)
def _tables() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    centred = np.arange(256, dtype=np.float64) - 128
    red = np.floor(1.402 * centred + 0.5)
    blue = np.floor(1.772 * centred + 0.5)
    green = np.floor((-0.114 * 1.772 / 0.587) * centred[:, None] + (-0.299 * 1.402 / 0.587) * centred[None, :] + 0.5)
    return red.astype(np.int16), green.astype(np.int16), blue.astype(np.int16)
