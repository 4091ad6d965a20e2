"""Many slices in one plane: Siemens mosaics and United Imaging's grids, their CSA header, and when they are refused."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

import medio
from medio import CorruptFileError, GeometryError, UnsupportedError
from medio.dicom.csa import csa_values

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # nibabel says that its reader is experimental
    from nibabel.nicom import csareader

WriteSeries = Callable[..., list[Path]]
CSA = ("SIEMENS CSA HEADER", 0x0029, 0x10)


def _csa(tags: dict[str, list[str]], *, new: bool) -> bytes:
    """Write a CSA header of either layout."""
    out = (b"SV10\4\3\2\1" if new else b"") + struct.pack("<2I", len(tags), 77)
    base = 6
    for tag, (name, items) in enumerate(tags.items()):
        count = 6 if tag or new else 0  # the older layout leaves the first tag empty, and adds the count of the second to every length
        out += struct.pack("<64si4siii", name.encode(), len(items), b"FD\0\0", 4, count, 77)
        for number in range(count):
            text = items[number].encode() + b"\0" if number < len(items) else b""
            length = len(text)
            header = (length, length, 77, length) if new else (length + base, length, 77, length)
            out += struct.pack("<4i", *header) + text + bytes(-length % 4)
    return out


@pytest.mark.parametrize("new", [True, False])
def test_both_layouts_of_the_csa_header_are_read_as_nibabel_reads_them(new: bool) -> None:
    tags = {"EchoLinePosition": [], "NumberOfImagesInMosaic": ["5"], "SliceNormalVector": ["0.0", "-0.5", "0.866"], "B_value": []}
    data = _csa(tags, new=new)
    assert csa_values(data, frozenset(tags)) == tags
    theirs = csareader.read(data)["tags"]
    assert theirs["NumberOfImagesInMosaic"]["items"] == [5]


@pytest.mark.parametrize("name", ["mr_siemens_skyra_epi_3/epi_pe_ap-00001.dcm", "mr_siemens_skyra_epi_6/epi_pe_lr-00002.dcm"])
def test_a_real_csa_header_is_read_as_nibabel_reads_it(shared_data: Path, name: str) -> None:
    ds = dcmread(shared_data / "dicom_multivendor" / name)
    data = ds.private_block(0x0029, "SIEMENS CSA HEADER")[0x10].value
    theirs = csareader.read(data)["tags"]
    ours = csa_values(data, frozenset(theirs))
    assert len(ours) > 70
    for tag, values in ours.items():
        expected = [v for v in theirs[tag]["items"] if v not in ("", b"")]
        assert [float(v) if isinstance(e, int | float) else v for v, e in zip(values, expected, strict=True)] == expected


@pytest.mark.parametrize("cut", [3, 40, 90, 130, 300])
def test_a_csa_header_cut_anywhere_is_no_crash(cut: int) -> None:
    data = _csa({"A": ["1"], "NumberOfImagesInMosaic": ["5"]}, new=True)[:cut]
    with pytest.raises(ValueError, match="CSA header"):
        csa_values(data, frozenset({"NumberOfImagesInMosaic"}))


def _mosaic(volume: np.ndarray) -> np.ndarray:
    depth, rows, columns = volume.shape
    side = int(np.ceil(np.sqrt(depth)))
    plane = np.zeros((side * rows, side * columns), volume.dtype)
    for z, tile in enumerate(volume):
        row, column = divmod(z, side)
        plane[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = tile
    return plane


def _write(
    write_series: WriteSeries, folder: Path, volume: np.ndarray, normal: list[float], plane: list[float], origin: np.ndarray, **changes: Any
) -> Path:
    """Write a mosaic whose first slice lies at `origin`."""
    depth, rows, columns = volume.shape
    side = int(np.ceil(np.sqrt(depth)))
    row, column = np.array(plane[:3]), np.array(plane[3:])
    # the position in the file is that of a slice as large as the mosaic, with the same centre
    shift = row * 0.7 * (side - 1) * columns / 2 + column * 0.8 * (side - 1) * rows / 2
    elements: dict[Any, Any] = {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
        "ImageOrientationPatient": plane,
        "SpacingBetweenSlices": "3",
        CSA: ("OB", _csa({"NumberOfImagesInMosaic": [str(depth)], "SliceNormalVector": [str(v) for v in normal]}, new=True)),
        **changes,
    }
    write_series(folder, [(_mosaic(volume), tuple(origin - shift), elements)])
    return folder


@pytest.mark.parametrize("depth", [1, 4, 5, 9, 10])
@pytest.mark.parametrize(
    ("plane", "sign"), [([1, 0, 0, 0, 1, 0], 1), ([1, 0, 0, 0, 1, 0], -1), ([0, 1, 0, 0, 0, -1], 1), ([0, 1, 0, 0, 0, -1], -1)]
)
def test_every_slice_of_a_mosaic_lies_where_its_normal_says(
    write_series: WriteSeries, tmp_path: Path, depth: int, plane: list, sign: int
) -> None:
    volume = np.random.default_rng(depth).integers(0, 4000, (depth, 6, 8)).astype(np.uint16)
    normal = sign * np.cross(plane[:3], plane[3:]).astype(float)
    origin = np.array([4.0, -5, 6])
    image = medio.read(_write(write_series, tmp_path / "m", volume, list(normal), plane, origin))
    assert image.array.shape == volume.shape
    for z in range(depth):
        place = medio.world_to_index(image.affine, origin + z * 3 * normal)
        assert np.allclose(place[1:], 0, atol=1e-6)
        assert np.array_equal(image.array[round(float(place[0]))], volume[z])
    assert image.spacing == pytest.approx((3, 0.8, 0.7))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({CSA: ("OB", b"")}, UnsupportedError, "does not say how many slices it holds"),
        (
            {CSA: ("OB", _csa({"NumberOfImagesInMosaic": ["4"]}, new=True))},
            UnsupportedError,
            "without the CSA header's SliceNormalVector: its slice order is not known",
        ),
        ({CSA: ("OB", b"SV10\4\3\2\1\5\0\0\0")}, CorruptFileError, r"its Siemens CSA header cannot be parsed \(CSA header ends early"),
        ({"SpacingBetweenSlices": None, "SliceThickness": None}, GeometryError, "without SpacingBetweenSlices or SliceThickness"),
        (
            {CSA: ("OB", _csa({"NumberOfImagesInMosaic": ["30"], "SliceNormalVector": ["0", "0", "1"]}, new=True))},
            GeometryError,
            "12x16 pixels do not divide into 6x6 tiles",
        ),
        (
            {CSA: ("OB", _csa({"NumberOfImagesInMosaic": ["4"], "SliceNormalVector": ["0", "1", "0"]}, new=True))},
            GeometryError,
            "is not the normal of the plane",
        ),
    ],
)
def test_a_mosaic_that_does_not_say_where_its_slices_lie_is_refused(
    write_series: WriteSeries, tmp_path: Path, changes: dict, error: type[Exception], said: str
) -> None:
    volume = np.zeros((4, 6, 8), np.uint16)
    folder = _write(write_series, tmp_path / "m", volume, [0, 0, 1], [1, 0, 0, 0, 1, 0], np.zeros(3))
    elements = {**changes}
    ds = dcmread(next(folder.iterdir()))
    for key, value in elements.items():
        if isinstance(key, tuple):
            ds.private_block(key[1], key[0])[key[2]].value = value[1]
        else:
            delattr(ds, key) if key in ds else None
    ds.save_as(next(folder.iterdir()))
    with pytest.raises(error, match=said):
        medio.read(folder)


def test_a_united_imaging_grid_places_each_slice_by_itself(write_series: WriteSeries, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 4000, (5, 6, 8)).astype(np.uint16)
    # five slices fill three by two tiles
    plane = np.zeros((12, 24), np.uint16)
    items = []
    for z, tile in enumerate(volume):
        row, column = divmod(z, 3)
        plane[row * 6 : row * 6 + 6, column * 8 : column * 8 + 8] = tile
        item = Dataset()
        item.ImagePositionPatient = [1, 2, 30 - 4 * z]
        items.append(item)
    grid = {
        ("Image Private Header", 0x0065, 0x51): ("SQ", items),
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "VFRAME"],
        "ImagePositionPatient": None,
    }
    write_series(tmp_path / "uih", [(plane, (0, 0, 0), grid)])
    image = medio.read(tmp_path / "uih")
    # the first item is the highest slice; ours run upwards
    assert np.array_equal(image.array, volume[::-1])
    assert image.affine[:3, 3] == pytest.approx([1, 2, 14])
    assert image.spacing == (4, 0.8, 0.7)


def test_an_emptied_csa_header_does_not_keep_plain_slices_from_being_read(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.arange(4, dtype=np.uint16).reshape(2, 2)
    write_series(tmp_path / "mr", [(pixels, (0, 0, 2 * z), {CSA: ("OB", bytes(64)), "Manufacturer": "SIEMENS"}) for z in range(2)])
    image = medio.read(tmp_path / "mr")
    assert np.array_equal(image.array, np.stack([pixels, pixels]))
    assert image.meta["b_value"] is None


def test_the_csa_header_says_diffusion_where_nothing_else_does(write_series: WriteSeries, tmp_path: Path) -> None:
    data = _csa({"EchoLinePosition": [], "B_value": ["1000"], "DiffusionGradientDirection": ["0.6", "0.0", "-0.8"]}, new=True)
    write_series(
        tmp_path / "mr", [(np.zeros((2, 2), np.uint16), (0, 0, 2 * z), {CSA: ("OB", data), "Manufacturer": "SIEMENS"}) for z in range(2)]
    )
    meta = medio.read(tmp_path / "mr").meta
    assert (meta["b_value"], meta["gradient"]) == (1000, pytest.approx((0.6, 0, -0.8)))
