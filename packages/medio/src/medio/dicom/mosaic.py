"""Many slices tiled into one stored plane: Siemens mosaics and the slice grids of United Imaging.

Siemens: the plane's position is that of a first slice as large as the whole mosaic and with the same centre, so each slice begins half of the difference
further along rows and columns; slices follow one another along the CSA header's SliceNormalVector.
United Imaging: a private sequence places every slice.
"""

from dataclasses import replace
from math import ceil, isqrt
from typing import Any

import numpy as np

from medio.dicom.csa import csa_values
from medio.dicom.frame import Frame, first, make_frame, numbers_in, private
from medio.dicom.header import Header
from medio.dicom.instances import Instance
from medio.errors import CorruptFileError, GeometryError, UnsupportedError

_CSA_TAGS = frozenset({"NumberOfImagesInMosaic", "SliceNormalVector", "B_value", "DiffusionGradientDirection"})
_UIH = "Image Private Header"


def is_mosaic(header: Header) -> bool:
    """Whether a file calls itself a mosaic."""
    return "MOSAIC" in [str(v) for v in header.get("ImageType") or []]


def is_slice_grid(header: Header) -> bool:
    """Whether a file is a slice grid of United Imaging."""
    return "VFRAME" in [str(v) for v in header.get("ImageType") or []] and bool(private(header, _UIH, 0x0065, 0x51))


def siemens_values(instance: Instance) -> dict[str, list[str]]:
    """Return what the CSA image header says of mosaic and diffusion; empty where there is none.

    Raises:
        CorruptFileError: a CSA header that cannot be parsed.
    """
    data = private(instance.header, "SIEMENS CSA HEADER", 0x0029, 0x10)
    if not isinstance(data, bytes):
        return {}
    try:
        return csa_values(data, _CSA_TAGS)
    except ValueError as error:
        raise CorruptFileError(
            instance.path, f"its Siemens CSA header cannot be parsed ({error}); fetch the file again or exclude it"
        ) from error


def mosaic_frames(instance: Instance) -> list[Frame]:
    """Place the slices of a Siemens mosaic.

    Raises:
        UnsupportedError: the number or direction of the slices is not said (exports of some archives and of early XA software lose them).
        GeometryError: no slice distance, or tiles that do not fill the plane.
    """
    header = instance.header
    said = siemens_values(instance)
    count = numbers_in(private(header, "SIEMENS MR HEADER", 0x0019, 0x0A)) or numbers_in(said.get("NumberOfImagesInMosaic"))
    normal = numbers_in(said.get("SliceNormalVector"))
    mend = "export it unmosaiced or as enhanced MR"
    if not count or count[0] < 1:
        raise UnsupportedError(instance.path, f"a Siemens mosaic that does not say how many slices it holds (no CSA header); {mend}")
    if len(normal) != 3 and count[0] > 1:
        raise UnsupportedError(
            instance.path, f"a Siemens mosaic without the CSA header's SliceNormalVector: its slice order is not known; {mend}"
        )
    whole = make_frame(instance, 0, [header])
    slices = int(count[0])
    side = isqrt(slices - 1) + 1
    rows, columns = _tile(instance, side, side)
    row, column = whole.orientation[:3], whole.orientation[3:]
    shift = column * whole.spacing[0] * (whole.size[0] - rows) / 2 + row * whole.spacing[1] * (whole.size[1] - columns) / 2
    step = np.zeros(3)
    if slices > 1:
        distance = first([header], "SpacingBetweenSlices") or first([header], "SliceThickness")
        if not distance:
            raise GeometryError(instance.path, "a mosaic without SpacingBetweenSlices or SliceThickness; exclude the file")
        across = np.cross(row, column)
        cosine = float(across @ np.array(normal))
        if not abs(cosine) >= 0.99:
            raise GeometryError(instance.path, f"SliceNormalVector {normal} is not the normal of the plane; exclude the file")
        step = across * np.sign(cosine) * float(distance)
    return [
        replace(
            whole,
            position=whole.position + shift + number * step,
            size=(rows, columns),
            tile=(number // side * rows, number % side * columns),
        )
        for number in range(slices)
    ]


def slice_grid_frames(instance: Instance) -> list[Frame]:
    """Place the slices of a United Imaging grid.

    Raises:
        GeometryError: tiles that do not fill the plane, or slices without position.
    """
    header = instance.header
    items: list[Any] = list(private(header, _UIH, 0x0065, 0x51))
    slices = len(items)
    across = isqrt(slices - 1) + 1
    rows, columns = _tile(instance, ceil(slices / across), across)
    return [
        replace(
            make_frame(instance, 0, [item, header], groups=(item, header)),
            size=(rows, columns),
            tile=(number // across * rows, number % across * columns),
        )
        for number, item in enumerate(items)
    ]


def _tile(instance: Instance, down: int, across: int) -> tuple[int, int]:
    rows, columns = int(instance.header.Rows), int(instance.header.Columns)
    if rows % down or columns % across:
        raise GeometryError(
            instance.path, f"{rows}x{columns} pixels do not divide into {down}x{across} tiles; fetch the file again or exclude it"
        )
    return rows // down, columns // across
