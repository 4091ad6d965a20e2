"""The header walk: pydicom is the oracle."""

import math
import warnings
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import data_store
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medio import MedioError
from medio.dicom.header import Header, read_header

NUMERIC = {"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"}
MISSING = object()
ODD_SUFFIXES = {".nrrd", ".nii", ".gz", ".json", ".md", ".csv"}


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


TEXT = st.text(st.characters(codec="latin-1", categories=("L", "N")), min_size=1, max_size=12)
VALUES = {
    "PatientName": TEXT,
    "PatientID": TEXT,
    "StudyDescription": TEXT,
    "ImageComments": st.lists(TEXT, max_size=3).map(" ".join),
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "AXIAL"]), max_size=3),
    "SliceThickness": st.none() | st.integers(0, 9999).map(lambda n: f"{n / 100:g}"),
    "PixelSpacing": st.lists(st.integers(1, 999).map(lambda n: f"{n / 100:g}"), min_size=2, max_size=2),
    "InstanceNumber": st.none() | st.integers(-(2**31), 2**31 - 1),
    "Rows": st.integers(0, 65535),
    "PixelRepresentation": st.integers(0, 1),
    "SmallestImagePixelValue": st.integers(0, 32767),
    "LUTDescriptor": st.just([256, 0, 16]),
    "RevolutionTime": st.floats(allow_nan=False),
    "ReferencedFrameNumber": st.lists(st.integers(0, 99), min_size=1, max_size=4),
    "FrameIncrementPointer": st.lists(st.sampled_from([0x00181063, 0x00540010]), min_size=1, max_size=2),
    "StudyInstanceUID": st.integers(1, 10**9).map(lambda n: f"1.2.{n}"),
    "EncapsulatedDocument": st.binary(min_size=2, max_size=90_000).map(lambda b: b[: len(b) // 2 * 2]),
}
NESTED = st.deferred(lambda: DATASETS)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    dataset = Dataset()
    for keyword in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=10)):
        setattr(dataset, keyword, draw(VALUES[keyword]))
    if "LUTDescriptor" in dataset or "SmallestImagePixelValue" in dataset:
        dataset.PixelRepresentation = draw(st.integers(0, 1))  # without it pydicom cannot tell US from SS
    if draw(st.booleans()):
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", draw(st.binary(max_size=64).map(lambda b: b + bytes(len(b) % 2))))
        block.add_new(0x08, "CS", "IMAGE NUM 4")
    if draw(st.integers(0, 3)) == 0:
        items = draw(st.lists(NESTED, max_size=2))
        for item in items:
            item.is_undefined_length_sequence_item = draw(st.booleans())
        dataset.ReferencedImageSequence = Sequence(items)
        dataset["ReferencedImageSequence"].is_undefined_length = draw(st.booleans())
    return dataset


DATASETS = datasets()
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian, *, pixels: bytes = b"") -> bytes:
    """The bytes of a file with this dataset."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CTImageStorage, "1.2.3", UID(syntax)
    file = BytesIO()
    if pixels:
        dataset.BitsAllocated = 8
        dataset.PixelData = pixels
    dataset.file_meta = meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


@settings(max_examples=100)
@given(DATASETS, st.sampled_from(SYNTAXES), st.booleans())
def test_what_pydicom_writes_reads_as_pydicom_reads_it(dataset: Dataset, syntax: str, pixels: bool) -> None:
    data = written(dataset, syntax, pixels=b"\1\2\3\4" if pixels else b"")
    header = read_header(data)
    assert compare_file(data) == []
    assert (header.syntax, header.meta_sop_class_uid) == (syntax, CTImageStorage)
    if pixels and syntax != DeflatedExplicitVRLittleEndian:
        assert header.pixel_offset is not None
        assert (data[header.pixel_offset :], header.pixel_length) == (b"\1\2\3\4", 4)
    assert header.pixel_tag == (0x7FE00010 if pixels else None)


@settings(max_examples=30)
@given(DATASETS)
def test_a_path_bytes_and_an_open_file_read_alike(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> None:
    data = written(dataset)
    path = tmp_path_factory.mktemp("header") / "a.dcm"
    path.write_bytes(data)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", data)
    expected = dcmread(BytesIO(data))
    with zipfile.ZipFile(packed) as archive, archive.open("a.dcm") as member:
        for source in (path, str(path), data, BytesIO(data), member):
            assert list(differences(read_header(source), expected)) == []


@settings(max_examples=60)
@given(DATASETS, st.sampled_from(SYNTAXES))
def test_a_header_becomes_the_dataset_again(dataset: Dataset, syntax: str) -> None:
    data = written(dataset, syntax)
    header, expected = read_header(data), dcmread(BytesIO(data))
    assert header.to_pydicom() == expected
    for item, other in zip(header.get("ReferencedImageSequence", []), expected.get("ReferencedImageSequence", []), strict=True):
        assert item.to_pydicom() == other


def test_an_empty_item_becomes_an_empty_dataset_again() -> None:
    dataset = Dataset()
    dataset.ReferencedImageSequence = [Dataset()]
    assert read_header(written(dataset)).ReferencedImageSequence[0].to_pydicom() == Dataset()


def test_access_by_attribute_key_and_tag() -> None:
    dataset = Dataset()
    dataset.Rows, dataset.PatientID, dataset.ImageComments = 7, "P1", ""
    header = read_header(written(dataset))
    assert (header.Rows, header["Rows"], header.get("Rows"), header.get(0x00280010)) == (7, 7, 7, 7)
    assert ("Rows" in header, "Columns" in header, header.get("Columns"), header.get("Columns", 5)) == (True, False, None, 5)
    assert (header.get("ImageComments", "else"), header.get("NoSuchKeyword", 1)) == ("", 1)
    assert header.tags() == [0x00100020, 0x00204000, 0x00280010]
    with pytest.raises(AttributeError, match="holds no Columns"):
        header.Columns  # noqa: B018
    with pytest.raises(KeyError, match="Columns"):
        header["Columns"]


def test_private_elements_are_found_by_creator_whatever_their_block() -> None:
    dataset = Dataset()
    dataset.private_block(0x0029, "OTHER", create=True).add_new(0x10, "OB", b"no")
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"yes!")
    for syntax in SYNTAXES:
        header = read_header(written(dataset, syntax))
        assert header.private("SIEMENS CSA HEADER", 0x0029, 0x10) == b"yes!"
        assert header.private("SIEMENS CSA HEADER", 0x0029, 0x11) is None
        assert header.private("ABSENT", 0x0029, 0x10) is None
