"""The header walk: pydicom is the oracle."""

import math
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import data_store
import pydicom
import pytest
from pydicom import Dataset, dcmread

from medio import MedioError
from medio.dicom.header import Header, read_header

NUMERIC = {"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"}
MISSING = object()
ODD_SUFFIXES = {".nrrd", ".nii", ".gz", ".json", ".md", ".csv"}


def test_every_packaged_file_reads_as_pydicom_reads_it() -> None:
    files = packaged_files()
    found = {path.name: lines for path in files if (lines := compare_file(path))}
    assert len(files) > 200
    assert found == {}


@pytest.mark.parametrize("folder", ["dicom_multivendor", "dicom_decode", "deid", "ct_totalseg"])
def test_every_real_file_reads_as_pydicom_reads_it(shared_data: Path, folder: str) -> None:
    files = [p for p in sorted((shared_data / folder).rglob("*")) if p.is_file() and p.suffix not in ODD_SUFFIXES]
    found = {path.name: lines for path in files if (lines := compare_file(path))}
    assert files
    assert found == {}


def packaged_files() -> list[Path]:
    """Every file of pydicom's own test data and of the package pydicom-data."""
    folders = (Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent)
    return sorted(
        p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc", ".txt", ".md", ".json"}
    )


def differences(header: Header, dataset: Dataset, where: str = "") -> Iterator[str]:
    """Yield what differs between a header and a pydicom dataset, nested sequences included."""
    tags = {int(tag) for tag in dataset.keys() if int(tag) not in {0x7FE00010, 0x7FE00008, 0x7FE00009, 0} or where}  # noqa: SIM118
    ours = set(header.tags()) - ({0, 0x7FE00010} if not where else set())
    if ours != tags:
        yield f"{where}: tags {[f'{t:08x}' for t in sorted(ours ^ tags)][:5]} are in one only"
    for tag in sorted(ours & tags):
        yield from _compare(header, dataset, tag, f"{where}/{tag:08x}")


def _compare(header: Header, dataset: Dataset, tag: int, where: str) -> Iterator[str]:
    try:
        element = dataset[tag]
        expected, vr = element.value, str(element.VR)
    except Exception as error:  # noqa: BLE001  # pydicom raises whatever a broken element makes it raise
        expected, vr = error, ""
    try:
        value = header.get(tag, MISSING)
    except (ValueError, MedioError) as error:
        if not isinstance(expected, Exception) and not _is_senseless_number(header, tag, expected):
            yield f"{where}: raises {error!r}, pydicom gives {expected!r}"
        return
    if isinstance(expected, Exception):
        yield f"{where}: {value!r}, pydicom raises {expected!r}"
    elif vr == "SQ":
        if not isinstance(value, list) or len(value) != len(expected):
            yield f"{where}: {value!r}, pydicom gives {len(expected)} items"
            return
        for place, (item, other) in enumerate(zip(value, expected, strict=True)):
            yield from differences(item, other, f"{where}[{place}]")
    elif not _same(value, expected):
        yield f"{where} {vr}: {value!r}, pydicom gives {expected!r}"


def _is_senseless_number(header: Header, tag: int, expected: Any) -> bool:
    values = [expected] if isinstance(expected, str | bytes) else list(expected) if hasattr(expected, "append") else []
    return header.vr(tag) in NUMERIC and any(isinstance(v, str | bytes) for v in values)


def _same(value: Any, expected: Any) -> bool:
    if hasattr(expected, "append") and not isinstance(expected, str | bytes):
        return isinstance(value, list) and len(value) == len(expected) and all(map(_same, value, expected))
    if expected is None or isinstance(expected, bytes):
        return type(value) is type(expected) and bool(value == expected)
    if isinstance(expected, float):
        return type(value) is float and (value == float(expected) or (math.isnan(value) and math.isnan(expected)))
    if isinstance(expected, int):
        return type(value) is int and value == int(expected)
    return type(value) is str and value == str(expected)


def compare_file(path: Path | bytes, *, force: bool = True) -> list[str]:
    """Say how the header of a file differs from pydicom's reading of it; one line where only one of them can read it."""
    data = path if isinstance(path, bytes) else path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = BytesIO(data)
        try:
            dataset = dcmread(file, stop_before_pixels=True, force=True)
            position = file.tell()
        except Exception as error:  # noqa: BLE001  # see below
            dataset, position, failure = None, 0, error
        try:
            header = read_header(path, force=force)
        except MedioError as error:
            return [] if dataset is None else [f"raises {error}"]
        if dataset is None:
            return [f"pydicom raises {failure!r}"]
        found = list(differences(header, dataset))
        if header.pixel_offset is not None and header.end != position:
            found.append(f"the pixel element begins at {header.end}, pydicom stops at {position}")
        return found
