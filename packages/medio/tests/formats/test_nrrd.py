"""NRRD: what SimpleITK reads, and what it takes on trust and should not."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

import medio
from medio import CorruptFileError, GeometryError, Image, MissingFileError, UnsupportedError

AFFINE = np.array([[0, 0, 0.7, -100.0], [0, 0.8, 0, -50], [2.5, 0, 0, 30], [0, 0, 0, 1]])
STORED = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
LPS = "space: left-posterior-superior\nspace directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)\nspace origin: (1,2,3)\n"
PLAIN = "type: short\ndimension: 3\nsizes: 5 4 3\nencoding: raw\nendian: little\n"


def _nrrd(folder: Path, header: str, data: bytes = STORED.tobytes(), name: str = "a.nrrd") -> Path:
    (folder / name).write_bytes(f"NRRD0004\n# a comment\n{header}\n".encode() + data)
    return folder / name


def _agrees_with_itk(path: Path) -> Image:
    image, itk = medio.read(path), SimpleITK.ReadImage(str(path))
    assert np.array_equal(image.array, SimpleITK.GetArrayFromImage(itk))
    far = tuple(n - 1 for n in image.spatial_shape)
    place = itk.TransformIndexToPhysicalPoint(tuple(int(n) for n in far[::-1]))
    assert image.world(far) == pytest.approx(place, abs=1e-6)
    return image


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_every_encoding_and_byte_order_is_read_as_simpleitk_reads_it(tmp_path: Path, encoding: str, order: str) -> None:
    raw = STORED.astype(">i2" if order == "big" else "<i2").tobytes()
    pack = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "ascii": lambda _: " ".join(map(str, STORED.ravel())).encode()}
    header = PLAIN.replace("raw", encoding).replace("little", order) + LPS
    path = _nrrd(tmp_path, header, pack[encoding](raw))
    image = medio.read(path) if encoding == "bzip2" else _agrees_with_itk(path)  # ITK is built without bzip2
    assert np.array_equal(image.array, STORED)
    assert image.array.dtype == np.int16


@pytest.mark.parametrize("name", ["right-anterior-superior", "RAS", "left-anterior-superior", "LPS"])
def test_every_space_of_the_patient_becomes_lps(tmp_path: Path, name: str) -> None:
    header = PLAIN + LPS.replace("left-posterior-superior", name).replace("(0,0.8,0)", "(0.3,0.8,0.1)")
    image = medio.read(_nrrd(tmp_path, header))
    signs = {"r": (-1, -1, 1), "l": (1, 1, 1)}[name[0].lower()] if "left-a" not in name else (1, -1, 1)
    # index (z, y, x) = (2, 1, 4) lies at 4*(0.7,0,0) + 1*(0.3,0.8,0.1) + 2*(0,0,2.5) + (1,2,3) = (4.1, 2.8, 8.1) of the space named
    assert image.world((2, 1, 4)) == pytest.approx(np.multiply((4.1, 2.8, 8.1), signs))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("i1", "int8"),
        ("u1", "uchar"),
        ("u2", "unsigned short"),
        ("i4", "int"),
        ("u4", "uint32"),
        ("i8", "longlong"),
        ("f4", "float"),
        ("f8", "double"),
    ],
)
def test_every_type_is_read_as_stored(tmp_path: Path, code: str, name: str) -> None:
    values = np.arange(60).reshape(3, 4, 5).astype(code)
    image = _agrees_with_itk(_nrrd(tmp_path, PLAIN.replace("short", name) + LPS, values.tobytes()))
    assert (image.array.dtype, image.array.ravel().tolist()) == (np.dtype(code), list(range(60)))


@pytest.mark.parametrize("first", [True, False])
def test_the_axis_without_a_direction_becomes_the_channels(tmp_path: Path, first: bool) -> None:
    values = np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5)
    stored = np.moveaxis(values, 0, -1) if first else values  # the fastest axis of the file is the last here
    header = PLAIN.replace("dimension: 3", "dimension: 4").replace("5 4 3", "2 5 4 3" if first else "5 4 3 2") + LPS
    header = (
        header.replace(") (0,0.8", ") (0,0.8").replace("(0.7,0,0)", "none (0.7,0,0)")
        if first
        else header.replace("(0,0,2.5)", "(0,0,2.5) none")
    )
    image = medio.read(_nrrd(tmp_path, header + "DWMRI_b-value:=1000\n", np.ascontiguousarray(stored).tobytes()))
    assert np.array_equal(image.array, values)
    assert image.spacing == (2.5, 0.8, 0.7)
    assert image.meta["fields"] == {"DWMRI_b-value": "1000"}


def test_voxels_may_lie_in_one_file_or_many_beside_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"skipped me" + STORED.tobytes())
    (tmp_path / "tail.raw").write_bytes(b"a header of unknown length" + STORED.tobytes())
    (tmp_path / "lines.raw").write_bytes(b"one\ntwo\n" + STORED.tobytes())
    for z in range(3):
        (tmp_path / f"s{z + 1:02d}.raw").write_bytes(STORED[z].tobytes())
    fields = {
        "one": "byte skip: 10\ndata file: a.raw\n",
        "tail": "byte skip: -1\ndata file: tail.raw\n",
        "lines": "line skip: 2\ndata file: lines.raw\n",
        "pattern": "data file: s%02d.raw 1 3 1 2\n",
        "list": "data file: LIST\ns01.raw\ns02.raw\ns03.raw\n",
    }
    for name, field in fields.items():
        (tmp_path / f"{name}.nhdr").write_bytes(f"NRRD0004\n{PLAIN}{LPS}{field}".encode())
        assert np.array_equal(_agrees_with_itk(tmp_path / f"{name}.nhdr").array, STORED), name
    (tmp_path / "one.nhdr").write_bytes(f"NRRD0004\n{PLAIN}{LPS}data file: gone.raw\n".encode())
    with pytest.raises(MissingFileError, match=r"gone\.raw: no such file; the header beside it names it"):
        medio.read(tmp_path / "one.nhdr")


def test_lengths_in_other_units_become_millimetres(tmp_path: Path) -> None:
    image = medio.read(_nrrd(tmp_path, PLAIN + LPS + 'space units: "um" "um" "um"\n'))
    assert image.spacing == pytest.approx((2.5e-3, 0.8e-3, 0.7e-3))
    with pytest.raises(GeometryError, match=r"space units .* are not one known length"):
        medio.read(_nrrd(tmp_path, PLAIN + LPS + 'space units: "furlong" "furlong" "furlong"\n'))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (PLAIN, "no space or no space directions"),
        (PLAIN + "spacings: 0.7 0.8 2.5\n", "no space or no space directions"),
        (PLAIN + LPS.replace("left-posterior-superior", "scanner-xyz"), "'scanner-xyz' is not one of the patient"),
        (PLAIN + LPS.replace("space origin: (1,2,3)\n", ""), "no space origin"),
        (PLAIN + LPS.replace("(0,0,2.5)", "(0,0,0)"), "singular"),
        (PLAIN + LPS.replace("(0,0,2.5)", "none"), "2 axes have a space direction"),
    ],
)
def test_geometry_that_is_missing_is_refused_and_never_an_identity(tmp_path: Path, header: str, reason: str) -> None:
    with pytest.raises(GeometryError, match=rf"a\.nrrd: .*{reason}"):
        medio.read(_nrrd(tmp_path, header))


@pytest.mark.parametrize(
    ("header", "data", "error", "reason"),
    [
        (PLAIN + LPS, STORED.tobytes()[:-2], CorruptFileError, "118 bytes on disk, 120 bytes of voxels declared"),
        (PLAIN.replace("raw", "gzip") + LPS, gzip.compress(STORED.tobytes())[:-20], CorruptFileError, "ends before its voxels do"),
        (
            PLAIN.replace("raw", "gzip") + LPS,
            gzip.compress(STORED.tobytes())[:-4] + b"abcd",
            CorruptFileError,
            "incorrect length|incorrect data check",
        ),
        (PLAIN.replace("raw", "gzip") + LPS, gzip.compress(STORED.tobytes())[:-3], CorruptFileError, "no end"),
        (
            PLAIN.replace("raw", "gzip").replace("5 4 3", "50000 40000 30000") + LPS,
            gzip.compress(STORED.tobytes()),
            CorruptFileError,
            "bytes on disk",
        ),
        (PLAIN.replace("raw", "ascii") + LPS, b"1 2 x", CorruptFileError, "do not decode as text"),
        (PLAIN.replace("raw", "hex") + LPS, b"00", UnsupportedError, "encoding 'hex' is not read"),
        (PLAIN.replace("short", "block") + LPS, b"00", UnsupportedError, "type 'block'"),
        (PLAIN.replace("endian: little\n", "") + LPS, STORED.tobytes(), CorruptFileError, "no endian field"),
        (PLAIN.replace("5 4 3", "5 4") + LPS, STORED.tobytes(), CorruptFileError, "sizes is '5 4', not 3 numbers"),
        (PLAIN.replace("5 4 3", "5 4 -3") + LPS, STORED.tobytes(), CorruptFileError, "not 3 positive sizes"),
        (PLAIN.replace("sizes", "size") + LPS, STORED.tobytes(), CorruptFileError, "no sizes"),
        (PLAIN + LPS + "nonsense\n", STORED.tobytes(), CorruptFileError, "not 'field: value'"),
        (PLAIN + LPS.replace("(0.7,0,0)", "(0.7,x,0)"), STORED.tobytes(), CorruptFileError, "space directions is '0.7,x,0'"),
    ],
)
def test_what_is_broken_says_so(tmp_path: Path, header: str, data: bytes, error: type, reason: str) -> None:
    with pytest.raises(error, match=rf"a\.nrrd: .*({reason})"):
        medio.read(_nrrd(tmp_path, header, data))


def test_a_header_that_never_ends_or_is_none_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    with pytest.raises(CorruptFileError, match="no blank line"):
        medio.read(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(b"\x89PNG")
    with pytest.raises(CorruptFileError, match="no NRRD file"):
        medio.read(tmp_path / "a.nrrd")


def test_more_axes_than_a_volume_with_channels_are_refused(tmp_path: Path) -> None:
    header = PLAIN.replace("dimension: 3", "dimension: 5").replace("5 4 3", "2 2 5 4 3") + LPS.replace("(0.7", "none none (0.7")
    with pytest.raises(UnsupportedError, match="2 axes beside the three of space"):
        medio.read(_nrrd(tmp_path, header, STORED.tobytes() * 4))


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_simpleitk_reads_what_is_written(tmp_path: Path, name: str) -> None:
    medio.write(Image(STORED, AFFINE, (2.5, 0.8, 0.7)), tmp_path / name)
    assert np.array_equal(_agrees_with_itk(tmp_path / name).array, STORED)
    vector = np.stack([STORED, STORED + 1])
    medio.write(Image(vector, AFFINE, (2.5, 0.8, 0.7)), tmp_path / name)
    itk = SimpleITK.ReadImage(str(tmp_path / name))
    assert itk.GetNumberOfComponentsPerPixel() == 2
    assert np.array_equal(np.moveaxis(SimpleITK.GetArrayFromImage(itk), -1, 0), vector)
    assert np.array_equal(medio.read(tmp_path / name).array, vector)


def test_a_header_written_anew_stands_beside_its_own_voxels_only(tmp_path: Path) -> None:
    for value in (1, 2):
        medio.write(Image(STORED + np.int16(value), AFFINE, (2.5, 0.8, 0.7)), tmp_path / "a.nhdr")
        assert np.array_equal(medio.read(tmp_path / "a.nhdr").array, STORED + value)
    assert len(list(tmp_path.iterdir())) == 2
    medio.write(Image(STORED, AFFINE, (2.5, 0.8, 0.7)), tmp_path / "a.b.nhdr")
    with pytest.raises(UnsupportedError, match="not complex64"):
        medio.write(Image(STORED.astype(np.complex64), AFFINE, (2.5, 0.8, 0.7)), tmp_path / "a.nhdr")
    assert np.array_equal(medio.read(tmp_path / "a.nhdr").array, STORED + 2)
    assert len(list(tmp_path.iterdir())) == 4


def test_films_have_no_place_in_it(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="needs a volume with an affine"):
        medio.write(Image(np.zeros((4, 4), np.uint8), None, (1, 1)), tmp_path / "a.nrrd")
    with pytest.raises(GeometryError, match=r"a \.nrrd file carries its own spacing"):
        medio.read(_nrrd(tmp_path, PLAIN + LPS), spacing=(1, 1, 1))


def test_a_pair_that_fails_half_way_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medio.write(Image(STORED, AFFINE, (2.5, 0.8, 0.7)), tmp_path / "a.nhdr")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        medio.write(Image(STORED + np.int16(1), AFFINE, (2.5, 0.8, 0.7)), tmp_path / "a.nhdr")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_several_gzip_members_in_a_row_are_one_stream(tmp_path: Path) -> None:
    raw = STORED.tobytes()
    image = medio.read(_nrrd(tmp_path, PLAIN.replace("raw", "gzip") + LPS, gzip.compress(raw[:50]) + gzip.compress(raw[50:])))
    assert np.array_equal(image.array, STORED)
    skipped = medio.read(_nrrd(tmp_path, PLAIN.replace("raw", "gzip") + LPS + "byte skip: 7\n", gzip.compress(b"skipped" + raw)))
    assert np.array_equal(skipped.array, STORED)
