"""A header that is found by its likeness to another is the one that a walk finds, for whole files and for mutated ones."""

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from medio.dicom.following import Followed, Follower
from medio.dicom.frame import Frame
from medio.dicom.header import Header, keys_of, read_header
from medio.dicom.instances import open_instance, open_series
from medio.dicom.layout import layout_of
from medio.dicom.series import read_series
from medio.dicom.stack import frames_of
from medio.errors import CorruptFileError, MedioError

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless]
KEYS = keys_of(
    ["SOPInstanceUID", "ImageType", "ImagePositionPatient", "RescaleIntercept", "Rows", "PatientName", "SeriesDescription", "Modality"]
)


def _slice(number: int, syntax: str, *, undefined: bool = False, **changed: Any) -> bytes:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"1.2.3.{10**number}"
    ds.Modality, ds.SeriesDescription, ds.PatientName = "CT", "Thorax ä", "A^B"
    item = Dataset()
    item.ReferencedSOPInstanceUID = f"1.2.{number % 2}"
    ds.ReferencedImageSequence = [item]
    if undefined:
        ds["ReferencedImageSequence"].is_undefined_length = True
    ds.ImagePositionPatient, ds.InstanceNumber = [-1.5, 2, number * 2.5], number
    ds.add_new(0x00091001, "OB", b"1234")
    ds.Rows = ds.Columns = 4
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.RescaleIntercept, ds.RescaleSlope = 1, "MONOCHROME2", -1024, 1
    for keyword, value in changed.items():
        setattr(ds, keyword, value)
    ds.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\2\0\0\0ab\xfe\xff\xdd\xe0\0\0\0\0" if syntax == JPEGLSLossless else bytes(32)
    ds["PixelData"].VR = "OB" if syntax == JPEGLSLossless else "OW"
    ds["PixelData"].is_undefined_length = syntax == JPEGLSLossless
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = syntax
    ds.preamble = bytes(128)
    file = io.BytesIO()
    dcmwrite(file, ds, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian, enforce_file_format=True)
    return file.getvalue()


def _told(header: Header, known: dict[int, Any] | None = None) -> tuple[Any, ...]:
    header.prefetch(KEYS, known)
    values = [_value(header, tag) for tag in header.tags()]
    assert header.meta is not None
    meta = [_value(header.meta, tag) for tag in header.meta.tags()]
    pixel = header.pixel_tag, header.pixel_vr, header.pixel_offset, header.pixel_length
    return header.tags(), values, meta, pixel, header.syntax, header.end, header.truncated, header.size, header.implicit, header.big_endian


def _value(header: Header, tag: int) -> str:
    try:
        value = header.get(tag)
    except (MedioError, ValueError) as error:
        return repr(error)
    return repr([_value(item, inner) for item in value for inner in item.tags()] if header.vr(tag) == "SQ" else value)


def _follow(leader: bytes, other: bytes, folder: Path) -> Followed | None:
    first, second = folder / "first.dcm", folder / "second.dcm"
    first.write_bytes(leader)
    second.write_bytes(other)
    follower = Follower(KEYS)
    follower.learn(read_header(first))
    return follower.read(second)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_slices_of_one_series_are_followed_whatever_the_length_of_their_values(syntax: str, undefined: bool, tmp_path: Path) -> None:
    leader = _slice(2, syntax, undefined=undefined)
    for number in (2, 4, 8, 10, 40):
        other = _slice(number, syntax, undefined=undefined)
        found = _follow(leader, other, tmp_path)
        assert found is not None
        assert _told(found.header, found.shared) == _told(read_header(tmp_path / "second.dcm"))


def test_values_are_shared_only_where_their_bytes_and_the_character_set_are_the_same(tmp_path: Path) -> None:
    leader = _slice(2, ExplicitVRLittleEndian)
    found = _follow(leader, _slice(3, ExplicitVRLittleEndian), tmp_path)
    assert found is not None
    assert {*keys_of(["ImageType", "Rows", "PatientName"])} <= set(found.shared)
    assert found.differs == {*keys_of(["SOPInstanceUID", "ImagePositionPatient"])}
    greek = leader.replace(b"ISO_IR 100", b"ISO_IR 126")
    found = _follow(leader, greek, tmp_path)
    assert found is not None
    assert not found.shared
    assert found.differs >= {*KEYS}
    assert _told(found.header, found.shared) == _told(read_header(tmp_path / "second.dcm"))
    assert found.header.SeriesDescription != read_header(leader).SeriesDescription


def test_a_file_with_another_element_is_walked(tmp_path: Path) -> None:
    leader = _slice(2, ExplicitVRLittleEndian)
    assert _follow(leader, _slice(2, ExplicitVRLittleEndian, KVP=120), tmp_path) is None
    assert _follow(leader, _slice(2, ImplicitVRLittleEndian), tmp_path) is None


def _mutations(files: list[bytes], count: int) -> Iterator[bytes]:
    chance = random.Random(7)
    for _ in range(count):
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            place = chance.randrange(128, len(data) - 40)
            kind = chance.randrange(4)
            if kind == 0:
                data[place] = chance.randrange(256)
            elif kind == 1:
                data[place] = (data[place] + chance.choice((1, 2, 255, 254))) % 256
            elif kind == 2:
                del data[place : place + chance.choice((1, 2, 8))]
            else:
                data[place:place] = bytes(chance.choice((1, 2, 8)))
        yield bytes(data[: chance.choice((len(data),) * 4 + (chance.randrange(len(data)),))])


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of mutated character sets
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_mutated_file_that_is_followed_reads_as_a_walk_reads_it(syntax: str, tmp_path: Path) -> None:
    leader = tmp_path / "leader.dcm"
    leader.write_bytes(_slice(2, syntax, undefined=True))
    other, followed = tmp_path / "other.dcm", 0
    for data in _mutations([_slice(number, syntax, undefined=True) for number in (2, 3, 9, 12)], 3000):
        other.write_bytes(data)
        follower = Follower(KEYS)
        follower.learn(read_header(leader))
        found = follower.read(other)
        if found is None:
            continue
        followed += 1
        assert _told(found.header, found.shared) == _told(read_header(other))
    assert followed > 100


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_layout_and_place_of_a_slice_do_not_depend_on_the_file_before_it(syntax: str, tmp_path: Path) -> None:
    plane = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.7], "SliceThickness": 2.5, "RescaleType": "HU"}
    changes: list[dict[str, Any]] = [
        {},
        {},
        {"PixelSpacing": [0.7, 0.5]},
        {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]},
        {"RescaleSlope": 2},
        {"RescaleType": "US"},
        {"PixelRepresentation": 1},
        {"BitsStored": 13, "HighBit": 12},
        {"Rows": 2},
        {"SliceThickness": 1.5},
        {},
    ]
    paths = []
    for number, changed in enumerate(changes):
        paths.append(tmp_path / f"{number:02}.dcm")
        paths[-1].write_bytes(_slice(number, syntax, **{**plane, **changed}))
    instances, _ = open_series(paths)
    assert sum(instance.leader is not None for instance in instances) == len(paths) - 1
    for path, followed in zip(paths, instances, strict=True):
        alone = open_instance(path)
        assert layout_of(followed) == layout_of(alone)
        assert _place(frames_of(followed)[0]) == _place(frames_of(alone)[0])


def _place(frame: Frame) -> tuple[Any, ...]:
    said = frame.thickness, frame.slope, frame.intercept, frame.rescale_type, frame.size, frame.spacing, frame.frame_of_reference_uid
    return (*said, frame.position.tolist(), frame.orientation.tolist(), frame.find("InstanceNumber"))


def test_a_damaged_leader_is_named_itself(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.dcm" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(_slice(number, ExplicitVRLittleEndian)[: None if number else -8])
    (cut, whole, *_), _ = open_series(paths)
    assert whole.leader is cut
    assert layout_of(whole).path == paths[1]
    with pytest.raises(CorruptFileError, match=r"0\.dcm"):
        layout_of(cut)


def test_every_real_series_reads_as_if_each_file_were_walked(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = sorted({file.parent for file in (shared_data / "dicom_multivendor").rglob("*.dcm")})
    followed = [_read(folder) for folder in folders]
    monkeypatch.setattr(Follower, "read", lambda self, path: None)
    for folder, found in zip(folders, followed, strict=True):
        assert found == _read(folder)


def _read(folder: Path) -> tuple[Any, ...]:
    try:
        volumes = read_series(folder)
    except MedioError as error:
        return (str(error),)
    return tuple(
        (name, image.array.tobytes(), repr(image.affine), image.spacing, image.unit, repr(image.meta)) for name, image in volumes.items()
    )
