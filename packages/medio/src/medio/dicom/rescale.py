"""From stored values to real ones, in int16 wherever that is exact.

Source: DICOM PS3.3 C.11.1 (Modality LUT).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.instances import Instance
from medio.dicom.layout import NATIVE, RLE, Layout, layout_of
from medio.dicom.pixels import read_frames_into

_LOW, _HIGH = -32768, 32767


def read_rescaled(
    instances: Sequence[Instance],
    places: Sequence[Sequence[int | None]],
    size: tuple[int, int, int],
    slopes: Sequence[float],
    intercepts: Sequence[float],
    *,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Read frames into one volume and rescale each while it is still in the cache: real = slope * stored + intercept.

    Args:
        instances: the files.
        places: for each file, the slice that each of its frames becomes; None leaves a frame out.
        size: (D, H, W).
        slopes: D slopes.
        intercepts: D intercepts.
        threads: decoding threads; None for as many as help, see `read_frames_into`.

    Returns:
        (D, H, W) int16 where every slope and intercept is whole and every result fits, else float32.

    Raises:
        CorruptFileError: pixels that end early or do not decode.
        GeometryError: frames of another size.
        UnsupportedError: a transfer syntax that is not read.
    """
    layouts = [layout_of(instance) for instance in instances]
    dtype = np.result_type(*{layout.dtype for layout in layouts})
    volume = np.empty(size, dtype)
    scaling = _Scaling(slopes, intercepts, _bounds(layouts, dtype))
    # Only 16-bit values can be rescaled where they lie.
    hot = dtype.kind in "iu" and dtype.itemsize == 2 and scaling.whole
    read_frames_into(instances, volume, places, threads=threads, after=scaling.apply if hot else None)
    return scaling.finish(volume) if hot else rescale_slices(volume, slopes, intercepts)


def rescale_slices(stored: npt.NDArray[Any], slopes: Sequence[float], intercepts: Sequence[float]) -> npt.NDArray[Any]:
    """Apply a slope and an intercept to each slice: real = slope * stored + intercept.

    Args:
        stored: (D, H, W) integers or floats; may be changed and returned.
        slopes: D slopes.
        intercepts: D intercepts.

    Returns:
        (D, H, W) int16 where stored values, slopes and intercepts are whole and every result fits, else float32.
    """
    scaling = _Scaling(slopes, intercepts, None)
    if stored.dtype.kind in "iu" and scaling.whole and scaling.fits_everywhere(stored):
        if stored.dtype.itemsize != 2:
            plain = _Scaling([1.0] * len(stored), [0.0] * len(stored), None)
            stored = stored.astype(np.int16 if plain.fits_everywhere(stored) else np.int64)
        # Arithmetic modulo 2**16 is exact when the result fits, so the stored array is reused whatever its sign.
        values = stored.view(np.int16) if stored.dtype.itemsize == 2 else stored
        for plane, slope, intercept in zip(values, slopes, intercepts, strict=True):
            _scale(plane, slope, intercept)
        return values.astype(np.int16, copy=False)
    return _real(stored, slopes, intercepts)


class _Scaling:
    """Rescale slices of 16 bit in place, one by one and on any thread, as far as the results fit in int16.

    Args:
        slopes: one a slice.
        intercepts: one a slice.
        bounds: lowest and highest value that can be stored, where the files promise it: those slices need no search for their extremes.
    """

    def __init__(self, slopes: Sequence[float], intercepts: Sequence[float], bounds: tuple[int, int] | None) -> None:
        self._slopes, self._intercepts, self._bounds = slopes, intercepts, bounds
        self.whole = all(float(s).is_integer() and float(i).is_integer() for s, i in zip(slopes, intercepts, strict=True))
        self._applied = [False] * len(slopes)

    def apply(self, place: int, plane: npt.NDArray[Any]) -> None:
        """Rescale one slice in place where it fits; else leave it to `finish`."""
        slope, intercept = self._slopes[place], self._intercepts[place]
        if (self._bounds and _fits(self._bounds, slope, intercept)) or _fits((plane.min(), plane.max()), slope, intercept):
            _scale(plane.view(np.int16), slope, intercept)
            self._applied[place] = True

    def finish(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rescaled volume."""
        if all(self._applied):
            return volume.view(np.int16)
        out = np.empty(volume.shape, np.float32)
        for place, applied in enumerate(self._applied):
            if applied:
                out[place] = volume[place].view(np.int16)
            else:
                one = slice(place, place + 1)
                out[one] = _real(volume[one], self._slopes[one], self._intercepts[one])
        return out

    def fits_everywhere(self, stored: npt.NDArray[Any]) -> bool:
        """Tell whether every result of every slice fits in int16."""
        slices = zip(stored, self._slopes, self._intercepts, strict=True)
        return all(_fits((plane.min(), plane.max()), slope, intercept) for plane, slope, intercept in slices)


def _bounds(layouts: Sequence[Layout], dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """Give the range that BitsStored promises; nothing for codestreams, which have a depth of their own."""
    if any(layout.syntax not in NATIVE and layout.syntax != RLE for layout in layouts) or dtype.kind not in "iu":
        return None
    bits = max(layout.stored for layout in layouts)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype.kind == "i" else (0, (1 << bits) - 1)


def _fits(ends: tuple[Any, Any], slope: float, intercept: float) -> bool:
    first, last = float(ends[0]) * slope + intercept, float(ends[1]) * slope + intercept
    return min(first, last) >= _LOW and max(first, last) <= _HIGH


def _scale(plane: npt.NDArray[Any], slope: float, intercept: float) -> None:
    if slope != 1:
        np.multiply(plane, _wrap(slope, plane.dtype), out=plane)
    if intercept != 0:
        np.add(plane, _wrap(intercept, plane.dtype), out=plane)


def _real(stored: npt.NDArray[Any], slopes: Sequence[float], intercepts: Sequence[float]) -> npt.NDArray[np.float32]:
    out = np.empty(stored.shape, np.float32)
    for target, plane, slope, intercept in zip(out, stored, slopes, intercepts, strict=True):
        # float64 on the way: the result is the real value rounded once.
        target[...] = plane * np.float64(slope) + np.float64(intercept)
    return out


def _wrap(value: float, dtype: np.dtype[Any]) -> Any:
    return np.array(int(value)).astype(dtype)
