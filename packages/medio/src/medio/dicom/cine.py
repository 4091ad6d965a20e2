"""Films that move: ultrasound, angiography, fluoroscopy and other frames without a place in the patient.

Source: DICOM PS3.3 C.7.6.5 (Cine), C.7.6.6 (Multi-frame).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.films import film_meta, film_values, whole_frame
from medio.dicom.frame import numbers_in
from medio.dicom.header import Header
from medio.dicom.header_meta import header_meta
from medio.dicom.instances import open_instance, sound
from medio.dicom.layout import layout_of
from medio.dicom.pixels import read_frames_into
from medio.dicom.planning import is_film
from medio.errors import MissingFileError, UnsupportedError
from medio.image import Image


@dataclass(frozen=True, eq=False)
class Cine:
    """Frames of one film in time.

    Attributes:
        array: (F, H, W), or (F, 3, H, W) for colour; bright where dense.
        times_s: (F,) seconds since the first frame; None where the file does not say.
        spacing: (row, column) mm.
        frames: number of each frame in the file, from 0.
        meta: what the header said, as for films.
    """

    array: npt.NDArray[Any]
    times_s: npt.NDArray[np.float64] | None
    spacing: tuple[float, float]
    frames: tuple[int, ...]
    meta: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.array)

    def image(self, index: int) -> Image:
        """Return one frame as a film; its number in the file and its time are in `meta`."""
        time = None if self.times_s is None else float(self.times_s[index])
        return Image(self.array[index], None, self.spacing, "", {**self.meta, "frame": self.frames[index], "time_s": time})


def read_cine(
    path: Path | str, *, frames: Sequence[int] | None = None, spacing: tuple[float, ...] | None = None, threads: int | None = None
) -> Cine:
    """Read a film of several frames.

    Args:
        path: the DICOM file.
        frames: numbers of those to read, from 0, in this order; only they are decoded. All by default.
        spacing: (row, column) mm where the file has none; preferred where given.
        threads: decoding threads; None for as many as help.

    Raises:
        MissingFileError: nothing there.
        CorruptFileError: a broken file.
        GeometryError: no spacing.
        UnsupportedError: frames that lie in the patient (use `read`), or a number that the file does not hold.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(path, "no such file")
    instance = open_instance(path)
    with sound(path):
        if not is_film(instance):
            raise UnsupportedError(path, "is no cine: its frames lie in the patient; use medio.read or medio.read_series")
        count = instance.frame_count
        wanted = tuple(range(count)) if frames is None else tuple(frames)
        wrong = [number for number in wanted if not 0 <= number < count]
        if wrong or not wanted:
            raise UnsupportedError(
                path, f"holds {count} frames, from 0 to {count - 1}; there is no frame {wrong[0] if wrong else 'to read'}"
            )
        layout = layout_of(instance)
        distinct = {number: place for place, number in enumerate(dict.fromkeys(wanted))}
        stored = np.empty((len(distinct), *layout.shape), layout.dtype)
        read_frames_into([instance], stored, [[distinct.get(number) for number in range(count)]], threads=threads)
        extra, chosen = film_meta(instance, spacing)
        values = np.stack([film_values(frame, instance) for frame in stored])
        array = values if len(distinct) == len(wanted) and frames is None else values[[distinct[number] for number in wanted]]
        times = _times(instance.header, count)
        meta = header_meta(whole_frame(instance)) | {"path": str(path), "skipped": ()} | extra
    return Cine(array, None if times is None else times[list(wanted)], chosen, wanted, meta)


def _times(header: Header, count: int) -> npt.NDArray[np.float64] | None:
    steps = numbers_in(header.get("FrameTimeVector"))
    if len(steps) == count:
        return np.cumsum(np.array((0.0, *steps[1:]))) / 1000
    step = numbers_in(header.get("FrameTime")) or tuple(1000 / rate for rate in numbers_in(header.get("CineRate")) if rate > 0)
    return np.arange(count) * step[0] / 1000 if step and step[0] > 0 else None
