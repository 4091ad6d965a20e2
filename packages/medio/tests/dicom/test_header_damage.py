"""The header walk on odd and damaged files."""

import struct
import time
import tracemalloc
import warnings
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import data_store
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_dict
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medio import CorruptFileError, MedioError, MissingFileError
from medio.dicom import sources
from medio.dicom.header import Header, keys_of, read_header


def element(keyword: str, vr: bytes, raw: bytes) -> bytes:
    """One explicit little-endian element."""
    tag = keyword_dict[keyword]
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in {b"OB", b"OW", b"UN", b"SQ", b"UT"}:
        return head + b"\0\0" + struct.pack("<I", len(raw)) + raw
    return head + struct.pack("<H", len(raw)) + raw


def plain(body: bytes, *, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A file: preamble, the transfer syntax without group length, and these elements."""
    return bytes(128) + b"DICM" + element("TransferSyntaxUID", b"UI", syntax.encode() + b"\0" * (len(syntax) % 2)) + body


ROWS = element("Rows", b"US", b"\4\0")
PIXELS = element("PixelData", b"OW", bytes(32))


@pytest.mark.parametrize(
    ("keyword", "vr", "raw"), [("SliceThickness", b"DS", b"thin"), ("InstanceNumber", b"IS", b"1,5 "), ("Rows", b"US", b"\1\0\2")]
)
def test_a_number_that_makes_no_sense_raises_when_it_is_asked_for(keyword: str, vr: bytes, raw: bytes) -> None:
    header = read_header(plain(element(keyword, vr, raw) + element("PatientID", b"LO", b"P1")))
    assert header.PatientID == "P1"
    with pytest.raises(ValueError, match=vr.decode()):
        header.get(keyword)
    assert header.pick(keys_of([keyword, "PatientID", "Columns"])) == [None, "P1", None]


@pytest.mark.parametrize(
    ("terms", "encoding", "name"),
    [
        ("ISO_IR 192", "utf-8", "Müller^Jan=山田"),
        ("GB18030", "gb18030", "王^小东"),
        ("ISO_IR 144", "iso8859_5", "Люкceмбypг"),
        ("\\ISO 2022 IR 87", "iso2022_jp", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_text_is_decoded_by_its_character_set_also_in_sequences(terms: str, encoding: str, name: str) -> None:
    raw = name.encode(encoding)
    item = element("PatientName", b"PN", raw)
    sequence = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<I", len(item) + 8) + b"\xfe\xff\0\xe0" + struct.pack("<I", len(item)) + item
    data = plain(element("SpecificCharacterSet", b"CS", terms.encode()) + sequence + item)
    header = read_header(data)
    assert header.PatientName == name
    assert header.ReferencedImageSequence[0].PatientName == name
    assert header.pick(keys_of(["PatientName"])) == [name]


def test_an_unknown_vr_of_question_marks_is_looked_up() -> None:
    header = read_header(plain(element("PatientID", b"??", b"P1") + ROWS + PIXELS))
    assert (header.PatientID, header.Rows, header.pixel_length) == ("P1", 4, 32)


def test_a_vr_to_come_has_a_long_length() -> None:
    header = read_header(plain(b"\x11\0\x10\0ZZ\0\0\4\0\0\0abcd" + ROWS))
    assert header.Rows == 4
    with pytest.raises(ValueError, match="unknown value representation 'ZZ'"):
        header.get(0x00110010)


def test_un_of_undefined_length_is_an_implicit_sequence() -> None:
    item = b"\x10\0\x20\0\2\0\0\0P1"  # implicit: PatientID
    for inner, end in ((struct.pack("<I", len(item)), b""), (b"\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0")):
        body = b"\x08\0\x40\x11UN\0\0\xff\xff\xff\xff\xfe\xff\0\xe0" + inner + item + end + b"\xfe\xff\xdd\xe0\0\0\0\0"
        header = read_header(plain(body + ROWS))
        assert (header.ReferencedImageSequence[0].PatientID, header.Rows) == ("P1", 4)


def test_a_single_element_without_vr_and_an_implicit_file_that_claims_to_be_explicit() -> None:
    implicit = b"\x10\0\x20\0\2\0\0\0P1"
    assert read_header(plain(element("Modality", b"CS", b"CT") + implicit + ROWS)).pick(keys_of(["PatientID", "Rows"])) == ["P1", 4]
    header = read_header(plain(implicit + b"\x28\0\x10\0\2\0\0\0\4\0"))
    assert (header.implicit, header.PatientID, header.Rows, header.syntax) == (True, "P1", 4, ExplicitVRLittleEndian)


def test_pixels_before_what_describes_them() -> None:
    data = plain(PIXELS + ROWS + element("PatientID", b"LO", b"P1"))
    header = read_header(data)
    assert (header.Rows, header.PatientID, header.pixel_length) == (4, "P1", 32)
    assert header.pixel_offset == data.index(b"OW\0\0") + 8
    assert data[header.end : header.end + 4] == b"\xe0\x7f\x10\0"


def test_padding_behind_the_dataset_is_no_element() -> None:
    header = read_header(plain(ROWS + bytes(4096)))
    assert (header.tags(), header.truncated) == ([0x00280010], False)


def test_a_wrong_group_length_and_a_file_without_meta_do_not_matter() -> None:
    body = element("Modality", b"CS", b"CT") + ROWS + PIXELS
    wrong = bytes(128) + b"DICM\2\0\0\0UL\4\0\x07\0\0\0" + element("TransferSyntaxUID", b"UI", b"1.2.840.10008.1.2.1\0") + body
    for data in (wrong, body):
        header = read_header(data)
        assert (header.Rows, header.pixel_length, header.syntax) == (4, 32, ExplicitVRLittleEndian)
    assert read_header(b"\x08\0\x60\0\2\0\0\0CT").syntax == ImplicitVRLittleEndian
    assert read_header(b"\0\x08\0\x60CS\0\2CT\0\x28\0\x10US\0\2\0\4").syntax == ExplicitVRBigEndian


def test_a_command_group_before_the_dataset_is_read_by_pydicom() -> None:
    data = b"\0\0\0\0\4\0\0\0\x0a\0\0\0\0\0\0\1\2\0\0\0\1\0\x08\0\x60\0\2\0\0\0CT"
    header = read_header(data)
    assert (header.Modality, header.get("CommandField")) == ("CT", 1)


def test_a_file_that_ends_inside_its_header_says_so() -> None:
    whole = plain(element("Modality", b"CS", b"CT") + element("ImageComments", b"LT", b"x" * 200) + ROWS)
    for end in range(len(whole) - 200, len(whole) - len(ROWS)):
        assert read_header(whole[:end]).truncated
    assert not read_header(whole).truncated


def test_a_long_private_element_is_not_read() -> None:
    class Counted(BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            Counted.taken += len(data)
            return data

    big = b"\x29\0\x10\0LO\6\0VENDOR" + b"\x29\0\x10\x10OB\0\0" + struct.pack("<I", 50_000_000) + bytes(49_999_999) + b"!"
    data = plain(big + element("PatientID", b"LO", b"P1") + ROWS + PIXELS)
    header = read_header(Counted(data))
    assert (header.PatientID, header.Rows, header.pixel_length) == ("P1", 4, 32)
    assert data[header.pixel_offset :] == bytes(32)
    assert Counted.taken < 300_000
    assert header.private("VENDOR", 0x0029, 0x10) == bytes(49_999_999) + b"!"


def test_a_value_read_late_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "big.dcm"
    path.write_bytes(
        plain(element("PatientID", b"LO", b"P1") + b"\x42\0\x11\0OB\0\0" + struct.pack("<I", 200_000) + bytes(200_000) + PIXELS)
    )
    header = read_header(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert header.EncapsulatedDocument == bytes(200_000)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_no_dicom_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"note.txt: not a DICOM file \(4 bytes, no DICM mark\)"):
        read_header(b"text", name="note.txt")
    with pytest.raises(MissingFileError, match="cannot be opened"):
        read_header(tmp_path / "absent")
    with pytest.raises(CorruptFileError, match="no regular file"):
        read_header(tmp_path)


def test_ten_thousand_levels_of_sequences_are_an_error_not_a_crash() -> None:
    opened = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    with pytest.raises(CorruptFileError, match="nest deeper than 64"):
        read_header(plain(opened * 10_000))
    body = ROWS
    for _ in range(10_000):  # of defined length: the header reads, and each level only when it is asked for
        item = b"\xfe\xff\0\xe0" + struct.pack("<I", len(body)) + body
        body = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<I", len(item)) + item
    level = read_header(plain(body))
    with pytest.raises(CorruptFileError, match="nest deeper than 64"):  # noqa: PT012
        for _ in range(10_000):
            level = level.ReferencedImageSequence[0]


@pytest.mark.parametrize("declared", [0x7FFFFFFE, 0xFFFFFFFE])
@pytest.mark.parametrize("vr", [b"OB", b"SQ", b"UT"])
def test_a_huge_declared_length_allocates_nothing(tmp_path: Path, declared: int, vr: bytes) -> None:
    path = tmp_path / "huge.dcm"
    path.write_bytes(plain(ROWS + b"\x42\0\x11\0" + vr + b"\0\0" + struct.pack("<I", declared) + b"abcd"))
    tracemalloc.start()
    for source in (path, path.read_bytes(), BytesIO(path.read_bytes())):
        header = read_header(source)
        assert header.Rows == 4
        with suppress(MedioError, ValueError):
            header.get(0x00420011)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_deflate_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "HEADER_LIMIT", 1 << 22)
    body = ROWS + b"\x42\0\x11\0OB\0\0" + struct.pack("<I", 1 << 28) + bytes(1 << 26)
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = plain(packed.compress(body) + packed.flush(), syntax=DeflatedExplicitVRLittleEndian)
    assert len(data) < 100_000
    with pytest.raises(CorruptFileError, match="inflates to more than"):
        read_header(data)


def packaged_files() -> list[Path]:
    """Every file of pydicom's own test data and of the package pydicom-data."""
    folders = (Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent)
    return sorted(
        p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc", ".txt", ".md", ".json"}
    )


DAMAGE = st.tuples(st.sampled_from(["flip", "cut", "length", "insert"]), st.integers(0, 2**31), st.binary(min_size=1, max_size=8))


def damaged(data: bytes, damage: tuple[str, int, bytes]) -> bytes:
    """One mutation of a file, in its first 4 kB unless it is cut."""
    kind, place, extra = damage
    if kind == "cut":
        return data[: 140 + place % (len(data) - 140)]
    at = 132 + place % (min(len(data), 4096) - 140)
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << place % 8)]) + data[at + 1 :]
    if kind == "insert":
        return data[:at] + extra + data[at:]
    lengths = (b"\xff\xff\xff\xff", b"\xfe\xff\xff\x7f", bytes(4), b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0")
    return data[:at] + lengths[place % 5] + data[at + 4 :]


SMALL = [path.read_bytes() for path in packaged_files() if path.stat().st_size < 60_000]


@settings(max_examples=400)
@given(st.sampled_from([data for data in SMALL if data[128:132] == b"DICM" and len(data) > 200]), st.lists(DAMAGE, min_size=1, max_size=3))
def test_a_damaged_header_is_read_or_is_one_error_within_bounds(data: bytes, damages: list[tuple[str, int, bytes]]) -> None:
    for damage in damages:
        data = damaged(data, damage) if len(data) > 300 else data
    tracemalloc.start()
    started = time.process_time()
    with warnings.catch_warnings(), suppress(MedioError):
        warnings.simplefilter("ignore")
        read_all(read_header(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(data) + 4_000_000
    assert time.process_time() - started < 5


def read_all(header: Header) -> None:
    """Convert every value; only senseless ones and broken sequences may raise, as they are asked for."""
    for tag in header.tags():
        with suppress(ValueError, MedioError):
            value = header.get(tag)
            for item in value if isinstance(value, list) and value and isinstance(value[0], Header) else []:
                read_all(item)
