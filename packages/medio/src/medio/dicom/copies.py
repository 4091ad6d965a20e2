"""Copies of a slice: the same file twice in a folder, or sent again under another name."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medio.dicom.frame import Frame
from medio.dicom.grid import places
from medio.dicom.instances import sound
from medio.dicom.layout import layout_of
from medio.dicom.pixels import read_frames_into
from medio.errors import CorruptFileError


def drop_copies(frames: Sequence[Frame], findings: list[str], *, same_uid: bool, pixels: bool) -> list[Frame]:
    """Keep the first of each set of copies at one position.

    Args:
        frames: slices in one plane geometry.
        findings: what was dropped is added here.
        same_uid: look at slices with one SOPInstanceUID only, whose pixels must agree; else at all slices at one position.
        pixels: compare the pixels; without, slices with one SOPInstanceUID count as copies.

    Raises:
        CorruptFileError: one SOPInstanceUID, different pixels.
    """
    sets: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame, place in zip(frames, places(frames), strict=True):
        uid = str(frame.instance.header.get("SOPInstanceUID") or "")
        sets[(int(place), uid, frame.index, frame.tile) if same_uid and uid else (int(place), frame if same_uid else None)].append(frame)
    dropped: dict[int, str] = {}
    for alike in sets.values():
        for number, frame in enumerate(alike[1:], 1):
            for other in alike[:number]:
                if id(other) in dropped:
                    continue
                if not pixels and not same_uid:
                    dropped[id(frame)] = (
                        f"{frame.name} lies where {other.name} lies and nothing in the headers tells them apart: copies, if their pixels agree"
                    )
                elif not pixels:
                    dropped[id(frame)] = f"{frame.name} has the SOPInstanceUID of {other.name}: a copy, if their pixels agree"
                elif _equal(frame, other):
                    dropped[id(frame)] = f"{frame.name} is a copy of {other.name}: dropped"
                elif same_uid:
                    raise CorruptFileError(
                        frame.instance.path,
                        f"has the SOPInstanceUID of {other.name} and other pixels; one of them is damaged, fetch it again or exclude it",
                    )
                if id(frame) in dropped:
                    break
    findings += dropped.values()
    return [frame for frame in frames if id(frame) not in dropped]


def _equal(a: Frame, b: Frame) -> bool:
    if (a.slope, a.intercept, a.size) != (b.slope, b.intercept, b.size):
        return False
    return bool(np.array_equal(_pixels(a), _pixels(b)))


def _pixels(frame: Frame) -> npt.NDArray[Any]:
    instance = frame.instance
    with sound(instance.path):
        layout = layout_of(instance)
        plane = np.empty((1, *layout.shape), layout.dtype)
        read_frames_into([instance], plane, [[0 if index == frame.index else None for index in range(instance.frame_count)]], threads=1)
    row, column = frame.tile or (0, 0)
    return plane[0, row : row + frame.size[0], column : column + frame.size[1]]
