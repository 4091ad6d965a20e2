"""PNG and JPEG: every kind of pixel, and nothing taken on trust."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

import medio
from medio import CorruptFileError, GeometryError, Image, MissingFileError, UnsupportedError

GREY = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)


def _read(folder: Path, image: Pillow.Image, name: str = "a.png", **options: object) -> Image:
    image.save(folder / name, **options)
    return medio.read(folder / name, spacing=(0.2, 0.1))


def test_palettes_bits_and_alpha_have_the_values_of_pillow(tmp_path: Path) -> None:
    palette = Pillow.fromarray(GREY, "L").convert("P")
    palette.putpalette([int(v) for v in np.random.default_rng(1).integers(0, 256, 768)])
    assert np.array_equal(_read(tmp_path, palette).array, np.moveaxis(np.asarray(palette.convert("RGB")), -1, 0))
    assert np.array_equal(_read(tmp_path, Pillow.fromarray(GREY > 100)).array, (GREY > 100) * np.uint8(255))
    opaque = Pillow.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA")
    assert np.array_equal(_read(tmp_path, opaque).array, GREY)
    deep = GREY.astype(np.uint16) * 257
    assert np.array_equal(_read(tmp_path, Pillow.fromarray(deep)).array, deep)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_an_exif_orientation_is_said_and_not_applied(tmp_path: Path, name: str) -> None:
    exif = Pillow.Exif()
    exif[274] = 6
    image = _read(tmp_path, Pillow.fromarray(GREY), name, exif=exif)
    assert image.array.shape == GREY.shape  # upright it would be 7 rows of 5
    assert image.meta["exif_orientation"] == 6
    assert "exif_orientation" not in _read(tmp_path, Pillow.fromarray(GREY), name).meta


def test_jpeg_has_the_values_of_pillow_and_cmyk_is_refused(tmp_path: Path) -> None:
    colour = np.random.default_rng(2).integers(0, 256, (16, 16, 3), np.uint8)
    image = _read(tmp_path, Pillow.fromarray(colour), "a.jpg", quality=95)
    assert np.abs(image.array.astype(int) - np.moveaxis(np.asarray(Pillow.open(tmp_path / "a.jpg")), -1, 0)).max() <= 1
    with pytest.raises(UnsupportedError, match="CMYK"):
        _read(tmp_path, Pillow.fromarray(np.dstack([colour, colour[..., 0]]), "CMYK"), "b.jpg")


def test_a_few_bytes_that_declare_a_huge_image_take_no_memory(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.png_encode(GREY))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(CorruptFileError, match="declare 3600000000 bytes of pixels"):
        medio.read(tmp_path / "a.png", spacing=(1, 1))
    stream = io.BytesIO()
    Pillow.fromarray(GREY).save(stream, "JPEG")
    jpeg = bytearray(stream.getvalue())
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = (60000).to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(jpeg)
    with pytest.raises(CorruptFileError, match="declare 3600000000 bytes of pixels"):
        medio.read(tmp_path / "a.jpg", spacing=(1, 1))


def test_a_png_needs_its_spacing(tmp_path: Path) -> None:
    medio.write(Image(np.zeros((2, 3), np.uint8), None, (1, 1)), tmp_path / "a.png")
    with pytest.raises(GeometryError, match=r"a\.png: a PNG file carries no pixel spacing; pass spacing=\(row, column\)"):
        medio.read(tmp_path / "a.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_round_trips_in_8_and_16_bit(tmp_path: Path, dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 9), dtype, endpoint=True)
    medio.write(Image(array, None, (0.2, 0.1)), tmp_path / "a.png")
    back = medio.read(tmp_path / "a.png", spacing=(0.2, 0.1))
    assert back.array.dtype == dtype
    assert np.array_equal(back.array, array)
    assert (back.affine, back.spacing) == (None, (0.2, 0.1))


def test_equal_channels_are_grey_and_others_stay_three(tmp_path: Path) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / "grey.png").write_bytes(imagecodecs.png_encode(np.stack([grey] * 3, axis=-1)))
    colour = np.stack([grey, grey, grey + 1], axis=-1)
    (tmp_path / "colour.png").write_bytes(imagecodecs.png_encode(colour))
    opaque = np.dstack([colour, np.full((2, 3), 255, np.uint8)])
    (tmp_path / "opaque.png").write_bytes(imagecodecs.png_encode(opaque))
    assert np.array_equal(medio.read(tmp_path / "grey.png", spacing=(1, 1)).array, grey)
    for name in ("colour.png", "opaque.png"):
        assert np.array_equal(medio.read(tmp_path / name, spacing=(1, 1)).array, np.moveaxis(colour, -1, 0))
    opaque[0, 0, 3] = 10
    (tmp_path / "clear.png").write_bytes(imagecodecs.png_encode(opaque))
    with pytest.raises(UnsupportedError, match="transparent"):
        medio.read(tmp_path / "clear.png", spacing=(1, 1))


def test_jpeg_is_read(tmp_path: Path) -> None:
    flat = np.full((16, 16), 90, np.uint8)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg8_encode(flat, level=95))
    assert np.abs(medio.read(tmp_path / "a.jpg", spacing=(1, 1)).array.astype(int) - 90).max() <= 1


def test_a_cut_png_is_corrupt(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    data = imagecodecs.png_encode(array)
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptFileError, match=rf"a\.png: {len(data) // 2} bytes that do not decode as PNG"):
        medio.read(tmp_path / "a.png", spacing=(1, 1))
    with pytest.raises(MissingFileError, match="no such file"):
        medio.read(tmp_path / "b.png", spacing=(1, 1))


def test_hounsfield_units_are_not_squeezed_into_a_png(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="0 to 65535, not int16; window"):
        medio.write(Image(np.array([[-1000, 3000]], np.int16), None, (1, 1)), tmp_path / "a.png")
    with pytest.raises(UnsupportedError, match="one plane"):
        medio.write(Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)[[2, 1, 0, 3]], (1, 1, 1)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
