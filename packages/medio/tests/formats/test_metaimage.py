"""MetaImage: what SimpleITK reads, and what it takes on trust and should not."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

import medio
from medio import CorruptFileError, GeometryError, Image, MissingFileError, UnsupportedError

STORED = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("zyx", (20, -10, 5), degrees=True).as_matrix()[:, ::-1] * (2.5, 0.8, 0.7)
AFFINE[:3, 3] = (-100, 50, 30)
HEAD = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
PLACE = "TransformMatrix = 0 1 0 -1 0 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 0.7 0.8 2.5\n"
TAIL = "DimSize = 5 4 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"


def _mha(folder: Path, header: str, data: bytes = STORED.tobytes(), name: str = "a.mha") -> Path:
    (folder / name).write_bytes(header.encode() + data)
    return folder / name


def _agrees_with_itk(path: Path) -> Image:
    image, itk = medio.read(path), SimpleITK.ReadImage(str(path))
    assert np.array_equal(image.array, SimpleITK.GetArrayFromImage(itk))
    far = tuple(n - 1 for n in image.spatial_shape)
    place = itk.TransformIndexToPhysicalPoint(tuple(int(n) for n in far[::-1]))
    assert image.world(far) == pytest.approx(place, abs=1e-6)
    return image


def test_directions_are_listed_axis_by_axis(tmp_path: Path) -> None:
    image = _agrees_with_itk(_mha(tmp_path, HEAD + PLACE + TAIL))
    # x runs along (0, 1, 0) and y along (-1, 0, 0): index (z, y, x) = (2, 1, 4) lies at (1 - 0.8, 2 + 4*0.7, 3 + 2*2.5)
    assert image.world((2, 1, 4)) == pytest.approx((0.2, 4.8, 8))
    assert np.array_equal(image.array, STORED)


def test_big_endian_compressed_and_written_out_voxels_are_read(tmp_path: Path) -> None:
    big = HEAD.replace("MSB = False", "MSB = True")
    packed = zlib.compress(STORED.tobytes())
    files = [
        _mha(tmp_path, big + PLACE + TAIL, STORED.astype(">i2").tobytes(), "big.mha"),
        _mha(tmp_path, HEAD + f"CompressedData = True\nCompressedDataSize = {len(packed)}\n" + PLACE + TAIL, packed, "packed.mha"),
        _mha(
            tmp_path,
            HEAD.replace("BinaryData = True", "BinaryData = False") + PLACE + TAIL,
            (" ".join(map(str, STORED.ravel())) + "\n").encode(),
            "text.mha",
        ),
    ]
    for file in files:
        assert np.array_equal(_agrees_with_itk(file).array, STORED), file


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("i1", "MET_CHAR"),
        ("u1", "MET_UCHAR"),
        ("u2", "MET_USHORT"),
        ("i4", "MET_INT"),
        ("u4", "MET_UINT"),
        ("i8", "MET_LONG_LONG"),
        ("f4", "MET_FLOAT"),
        ("f8", "MET_DOUBLE"),
    ],
)
def test_every_type_is_read_as_stored(tmp_path: Path, code: str, name: str) -> None:
    values = np.arange(60).reshape(3, 4, 5).astype(code)
    image = _agrees_with_itk(_mha(tmp_path, HEAD + PLACE + TAIL.replace("MET_SHORT", name), values.tobytes()))
    assert (image.array.dtype, image.array.ravel().tolist()) == (np.dtype(code), list(range(60)))


def test_vectors_and_time_points_become_channels(tmp_path: Path) -> None:
    values = np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5)
    vectors = HEAD + PLACE + "ElementNumberOfChannels = 2\n" + TAIL
    image = medio.read(_mha(tmp_path, vectors, np.ascontiguousarray(np.moveaxis(values, 0, -1)).tobytes()))
    assert np.array_equal(image.array, values)
    series = HEAD.replace("NDims = 3", "NDims = 4") + TAIL.replace("5 4 3", "5 4 3 2")
    place = "TransformMatrix = 0 1 0 0 -1 0 0 0 0 0 1 0 0 0 0 1\nOffset = 1 2 3 0\nElementSpacing = 0.7 0.8 2.5 1\n"
    again = medio.read(_mha(tmp_path, place + series, values.tobytes()))
    assert np.array_equal(again.array, values)
    assert np.allclose(again.affine, image.affine)
    with pytest.raises(GeometryError, match="mixes its fourth axis"):
        medio.read(_mha(tmp_path, place.replace("1 0 0 0 0 1", "1 0.5 0 0 0 1") + series, values.tobytes()))


def test_voxels_may_lie_beside_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"12345678" + STORED.tobytes())
    for z in range(3):
        (tmp_path / f"s{z}.raw").write_bytes(STORED[z].tobytes())
    one = HEAD + "HeaderSize = 8\n" + PLACE + TAIL.replace("LOCAL", "a.raw")
    tail = HEAD + "HeaderSize = -1\n" + PLACE + TAIL.replace("LOCAL", "a.raw")
    many = HEAD + PLACE + TAIL.replace("LOCAL", "LIST\ns0.raw\ns1.raw\ns2.raw")
    for name, header in (("one", one), ("tail", tail), ("many", many)):
        assert np.array_equal(_agrees_with_itk(_mha(tmp_path, header, b"", f"{name}.mhd")).array, STORED), name
    with pytest.raises(MissingFileError, match=r"b\.raw: no such file; the header beside it names it"):
        medio.read(_mha(tmp_path, one.replace("a.raw", "b.raw"), b"", "gone.mhd"))


@pytest.mark.parametrize("tag", ["TransformMatrix", "Offset", "ElementSpacing"])
def test_geometry_that_is_missing_is_refused_and_never_an_identity(tmp_path: Path, tag: str) -> None:
    header = "".join(line for line in (HEAD + PLACE + TAIL).splitlines(keepends=True) if not line.startswith(tag))
    with pytest.raises(GeometryError, match=rf"a\.mha: has no {tag}: nothing says"):
        medio.read(_mha(tmp_path, header))


@pytest.mark.parametrize(
    ("header", "data", "error", "reason"),
    [
        (HEAD + PLACE + TAIL, STORED.tobytes()[:-2], CorruptFileError, "118 bytes on disk, 120 bytes of voxels declared"),
        (
            HEAD + "CompressedData = True\n" + PLACE + TAIL,
            zlib.compress(STORED.tobytes())[:40],
            CorruptFileError,
            "ends before its voxels do",
        ),
        (HEAD + "CompressedData = True\n" + PLACE + TAIL, b"not compressed", CorruptFileError, "do not decode as deflate"),
        (HEAD + PLACE + TAIL.replace("5 4 3", "5 4"), b"", CorruptFileError, "DimSize is '5 4', not 3 numbers"),
        (HEAD + PLACE + TAIL.replace("MET_SHORT", "MET_STRING"), b"", UnsupportedError, "type MET_STRING"),
        (HEAD + PLACE, b"", CorruptFileError, "ends before ElementDataFile"),
        (HEAD + PLACE + "what is this\n", b"", CorruptFileError, "not 'Tag = value'"),
        (HEAD + PLACE + TAIL.replace("LOCAL", "s%03d.raw 1 3 1"), b"", UnsupportedError, "pattern of names"),
        (HEAD.replace("NDims = 3", "NDims = 2") + PLACE + TAIL.replace("5 4 3", "5 12"), b"", UnsupportedError, "2 axes"),
    ],
)
def test_what_is_broken_says_so(tmp_path: Path, header: str, data: bytes, error: type, reason: str) -> None:
    with pytest.raises(error, match=rf"a\.mha: .*{reason}"):
        medio.read(_mha(tmp_path, header, data))


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_simpleitk_reads_what_is_written(tmp_path: Path, name: str) -> None:
    spacing = (2.5, 0.8, 0.7)
    medio.write(Image(STORED, AFFINE, spacing), tmp_path / name)
    assert np.array_equal(_agrees_with_itk(tmp_path / name).array, STORED)
    vector = np.stack([STORED, STORED + 1, STORED + 2])
    medio.write(Image(vector, AFFINE, spacing), tmp_path / name)
    itk = SimpleITK.ReadImage(str(tmp_path / name))
    assert np.array_equal(np.moveaxis(SimpleITK.GetArrayFromImage(itk), -1, 0), vector)
    assert np.array_equal(medio.read(tmp_path / name).array, vector)
    assert len(list(tmp_path.iterdir())) == (1 if name == "a.mha" else 2)


def test_the_letters_of_orientation_are_those_that_itk_writes(tmp_path: Path) -> None:
    image = Image(STORED, AFFINE, (2.5, 0.8, 0.7))
    itk = SimpleITK.GetImageFromArray(STORED)
    itk.SetDirection((AFFINE[:3, :3] / (2.5, 0.8, 0.7))[:, ::-1].ravel().tolist())
    SimpleITK.WriteImage(itk, str(tmp_path / "itk.mha"))
    medio.write(image, tmp_path / "ours.mha")
    letters = [(tmp_path / name).read_bytes().split(b"AnatomicalOrientation = ")[1][:3] for name in ("itk.mha", "ours.mha")]
    assert letters[0] == letters[1]
