"""TIFF: films and stacks, whose resolution is a printer's until the caller says otherwise."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image as Pillow

import medio
from medio import CorruptFileError, GeometryError, Image, MissingFileError, UnsupportedError

GREY = np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)


def _film(path: Path) -> np.ndarray:
    return medio.read(path, spacing=(0.2, 0.1)).array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_films_round_trip_and_simpleitk_and_pillow_read_them(tmp_path: Path, dtype: type) -> None:
    array = (np.random.default_rng(1).normal(size=(30, 40)) * 40 + 100).astype(dtype)
    medio.write(Image(array, None, (0.2, 0.1)), tmp_path / "a.tif")
    back = medio.read(tmp_path / "a.tif", spacing="tags")
    assert (back.array.dtype, back.affine) == (np.dtype(dtype), None)
    assert np.array_equal(back.array, array)
    assert back.spacing == pytest.approx((0.2, 0.1), rel=1e-6)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.tif"))), array)
    if dtype is not np.int16:  # Pillow reads no signed 16 bit of this kind
        assert np.array_equal(np.asarray(Pillow.open(tmp_path / "a.tif")), array)


def test_colour_palettes_and_bits_have_the_values_of_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    colour = np.random.default_rng(2).integers(0, 256, (3, 30, 40), np.uint8)
    medio.write(Image(colour, None, (1, 1)), path)
    assert np.array_equal(_film(path), colour)
    assert np.array_equal(np.moveaxis(np.asarray(Pillow.open(path)), -1, 0), colour)
    tifffile.imwrite(path, colour, photometric="rgb", planarconfig="separate")
    assert np.array_equal(_film(path), colour)
    palette = Pillow.fromarray(GREY).convert("P")
    palette.putpalette([int(v) for v in np.random.default_rng(1).integers(0, 256, 768)])
    palette.save(path)
    assert np.array_equal(_film(path), np.moveaxis(np.asarray(palette.convert("RGB")), -1, 0))
    Pillow.fromarray(GREY > 100).save(path)
    assert np.array_equal(_film(path), (GREY > 100) * np.uint8(255))


def test_min_is_white_becomes_bright_where_dense(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    assert np.array_equal(_film(tmp_path / "a.tif"), 255 - GREY)


def test_the_resolution_tags_are_taken_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, resolution=(254, 127), resolutionunit="INCH")
    with pytest.raises(GeometryError, match=r"a\.tif: the resolution of a TIFF is not trusted"):
        medio.read(path)
    image = medio.read(path, spacing="tags")  # 254 columns and 127 rows an inch of 25.4 mm
    assert image.spacing == pytest.approx((0.2, 0.1))
    assert image.meta["spacing_source"] == "resolution tags"
    tifffile.imwrite(path, GREY, resolution=(254, 127), resolutionunit="NONE")
    with pytest.raises(GeometryError, match="no resolution tags with a unit"):
        medio.read(path, spacing="tags")
    medio.write(Image(GREY, None, (1, 1)), tmp_path / "a.png")
    with pytest.raises(GeometryError, match="only TIFF has resolution tags"):
        medio.read(tmp_path / "a.png", spacing="tags")


def test_pages_make_a_volume_only_with_three_spacings(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stack = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    tifffile.imwrite(path, stack, photometric="minisblack")
    image = medio.read(path, spacing=(2.5, 0.8, 0.7))
    assert np.array_equal(image.array, stack)
    assert image.world((2, 1, 4)) == pytest.approx((4 * 0.7, 0.8, 5))
    assert image.meta["affine_source"].startswith("assumed")
    with pytest.raises(GeometryError, match=r"holds 3 pages; pass spacing=\(page, row, column\)"):
        medio.read(path, spacing=(1, 1))
    with tifffile.TiffWriter(path) as file:
        for n in (4, 5):
            file.write(np.zeros((n, n), np.uint8))
    with pytest.raises(UnsupportedError, match="2 pages have 2 sizes"):
        medio.read(path, spacing=(1, 1, 1))


def test_an_orientation_tag_is_said_and_not_applied(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(274, 3, 1, 6, True)])
    image = medio.read(tmp_path / "a.tif", spacing=(1, 1))
    assert (image.array.shape, image.meta["exif_orientation"]) == (GREY.shape, 6)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_cut_file_is_corrupt(tmp_path: Path, share: float, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorruptFileError, match=r"a\.tif: "):
        medio.read(path, spacing=(1, 1))


def test_what_is_no_tiff_or_missing_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"not a tiff at all")
    with pytest.raises(CorruptFileError, match=r"a\.tif: does not decode as TIFF"):
        medio.read(tmp_path / "a.tif", spacing=(1, 1))
    with pytest.raises(MissingFileError, match="no such file"):
        medio.read(tmp_path / "b.tif", spacing=(1, 1))


@pytest.mark.parametrize("big", [False, True])
def test_a_ring_of_pages_ends(tmp_path: Path, big: bool) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, bigtiff=big)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        start, count = page.offset, len(page.tags)
    data = bytearray(path.read_bytes())
    last = start + (8 + 20 * count if big else 2 + 12 * count)
    data[last : last + 4] = start.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match="page 1 is followed by an earlier one"):
        medio.read(path, spacing=(1, 1))


def test_a_volume_would_lose_its_place_in_a_tiff(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"one plane.*write \.nii\.gz"):
        medio.write(Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)[[2, 1, 0, 3]], (1, 1, 1)), tmp_path / "a.tif")
    with pytest.raises(UnsupportedError, match="not complex64"):
        medio.write(Image(np.zeros((2, 2), np.complex64), None, (1, 1)), tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []
