"""PNG and JPEG: every kind of pixel, and nothing taken on trust."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

import medio
from medio import CorruptFileError, Image, UnsupportedError

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
