"""The rows of one file on disk: itself, the members of an archive, what a DICOMDIR names but nobody finds."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from medio.archive.columns import DEFLATED, DIRECTORY_CLASS, NATIVE, SCHEMA, Row, error_row, header_row
from medio.archive.members import MARK, is_archive, members
from medio.dicom.header import Header, read_header
from medio.dicom.instances import SENSELESS, instance_of
from medio.dicom.pixels import missing_pixels
from medio.errors import MedioError, MissingFileError

_PIXEL_DATA = 0x7FE00010
_PIXEL_COLUMNS = [
    SCHEMA.names.index(name)
    for name in ("rows", "columns", "number_of_frames", "samples_per_pixel", "bits_allocated", "bits_stored", "photometric_interpretation")
]
_CUT = "ends inside its header; the file is truncated, fetch it again or exclude it"
_MAX_REFERENCES = 1_000_000


def file_rows(path: str, status: os.stat_result) -> list[Row]:
    """Read one file of the archive.

    Args:
        path: a regular file.
        status: of it.

    Returns:
        one row for a plain file, one a member for a zip or tar archive, and for a DICOMDIR one more for each file that it names in vain.
    """
    if not stat.S_ISREG(status.st_mode):
        return [error_row(path, "is no regular file; exclude it")]
    if is_archive(path) and not _looks_like_dicom(path):
        return list(_archive_rows(path, status))
    return _rows(path, path, status.st_size, status.st_mtime_ns, None)


def _archive_rows(path: str, status: os.stat_result) -> Iterator[Row]:
    size, mtime_ns = status.st_size, status.st_mtime_ns
    empty = True
    try:
        for member in members(path):
            empty = False
            name = f"{path}{MARK}{member.name}"
            if member.file is None:
                yield error_row(name, member.problem, size=member.size, mtime_ns=mtime_ns, archive_size=size)
            else:
                yield from _rows(member.file, name, member.size, mtime_ns, size)
    except MedioError as error:
        yield error_row(path, error.reason, size=size, mtime_ns=mtime_ns)
    else:
        if empty:
            yield error_row(path, "an archive without files", size=size, mtime_ns=mtime_ns)


def _rows(source: str | BinaryIO, path: str, size: int, mtime_ns: int, archive_size: int | None) -> list[Row]:
    known = {"size": size, "mtime_ns": mtime_ns, "archive_size": archive_size}
    try:
        header = read_header(source, name=path)
        row = header_row(path, header, size, mtime_ns, archive_size)
    except MissingFileError as error:
        return [error_row(path, error.reason, size=size)]  # no time of change: the next scan tries again
    except MedioError as error:
        reason = error.reason
        return [error_row(path, "not DICOM" if reason.startswith("not a DICOM file") else reason, **known)]
    missing: list[Row] = []
    try:
        row[5] = _lacking(path, header, row, size) or (_CUT if header.truncated else None)
        if row[6] == DIRECTORY_CLASS and archive_size is None:
            missing = list(_missing_references(path, header))
    except MedioError as error:
        row[5] = error.reason
    except SENSELESS as error:
        row[5] = f"its header does not make sense ({_first_line(error)}); fetch it again or exclude it"
    return [row, *missing]


def _lacking(path: str, header: Header, row: Row, size: int) -> str:
    """Say what a file lacks of its pixels; see `medio.dicom.pixels.missing_pixels`, of which this is the short way for whole greyscale files.

    Raises:
        CorruptFileError: pixels whose size is not described.
        ValueError: a description that makes no sense.
    """
    rows, columns, frames, samples, allocated, stored, photometric = (row[place] for place in _PIXEL_COLUMNS)
    offset, length = header.pixel_offset, header.pixel_length
    if (
        offset is not None
        and header.pixel_tag == _PIXEL_DATA
        and rows
        and columns
        and allocated
        and frames is None
        and header.syntax != DEFLATED
    ):
        if length is None or header.syntax not in NATIVE:
            return ""  # only decoding can tell
        plain = samples == 1 and allocated == 16 and stored and 0 < stored <= 16 and photometric in ("MONOCHROME2", "MONOCHROME1")
        if plain and rows * columns * 2 <= min(length, size - offset):
            return ""
    return missing_pixels(instance_of(Path(path), header, size))


def _missing_references(path: str, header: Header) -> Iterator[Row]:
    """Yield a row for every file that a DICOMDIR names and that is not there (PS3.3 F.3)."""
    folder = Path(path).parent
    records = header.get("DirectoryRecordSequence") or []
    for record in records[:_MAX_REFERENCES]:
        try:
            parts = record.get("ReferencedFileID")
        except SENSELESS:
            continue
        parts = [parts] if isinstance(parts, str) else parts
        if not parts or not all(parts):
            continue
        # Media are often copied with names in lower case.
        named, lower = folder.joinpath(*map(str, parts)), folder.joinpath(*(str(part).lower() for part in parts))
        if not named.exists() and not lower.exists():
            yield error_row(str(named), f"named by {Path(path).name} but not there; fetch it again")


def _looks_like_dicom(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
