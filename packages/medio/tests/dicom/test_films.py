"""Films: DICOM projection images, PNG and JPEG."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import DigitalXRayImageStorageForPresentation

import medio
from medio import CorruptFileError, GeometryError, Image, MissingFileError, UnsupportedError

WriteCT = Callable[..., list[Path]]


def _film(write_ct: WriteCT, folder: Path, pixels: np.ndarray, **changes: object) -> Path:
    path = write_ct(
        folder,
        pixels[None],
        np.eye(4)[[2, 1, 0, 3]],
        slope=1,
        intercept=0,
        Modality="DX",
        SOPClassUID=DigitalXRayImageStorageForPresentation,
    )[0]
    ds = dcmread(path)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(ds, keyword)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    return path


def test_monochrome1_becomes_bright_where_dense(write_ct: WriteCT, tmp_path: Path) -> None:
    pixels = np.array([[0, 1, 4095]], np.uint16)
    path = _film(
        write_ct, tmp_path, pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11, ImagerPixelSpacing=[0.2, 0.1]
    )
    image = medio.read(path)
    # the complement within 12 bits: 4095 - v
    assert image.array.tolist() == [[4095, 4094, 0]]
    assert (image.affine, image.spacing, image.meta["spacing_source"]) == (None, (0.2, 0.1), "ImagerPixelSpacing")


def test_pixel_spacing_comes_before_the_detectors_and_an_argument_before_both(write_ct: WriteCT, tmp_path: Path) -> None:
    path = _film(write_ct, tmp_path, np.zeros((2, 2), np.uint16), PixelSpacing=[0.15, 0.15], ImagerPixelSpacing=[0.2, 0.2])
    assert medio.read(path).spacing == (0.15, 0.15)
    assert medio.read(path, spacing=(0.3, 0.4)).spacing == (0.3, 0.4)


@pytest.mark.parametrize("spacing", [{}, {"PixelSpacing": [0, 0]}])
def test_a_film_without_spacing_asks_for_it(write_ct: WriteCT, tmp_path: Path, spacing: dict) -> None:
    path = _film(write_ct, tmp_path, np.zeros((2, 2), np.uint16), **spacing)
    with pytest.raises(GeometryError, match=r"001\.dcm: has no positive PixelSpacing.*pass spacing="):
        medio.read(path)


def test_two_films_of_a_series_are_not_stacked(write_ct: WriteCT, tmp_path: Path) -> None:
    path = _film(write_ct, tmp_path / "f", np.zeros((2, 2), np.uint16), PixelSpacing=[1, 1])
    (tmp_path / "f" / "2.dcm").write_bytes(path.read_bytes())
    with pytest.raises(UnsupportedError, match="2 films in one series; pass one file"):
        medio.read(tmp_path / "f")


_FILES = [
    "dicom_decode/highdicom/data/test_files/dx_image.dcm",
    "dicom_decode/pylibjpeg_data/ljdata/ds/JPEGExtended/RG2_JPLY.dcm",
    "dicom_decode/pylibjpeg_data/ljdata/ds/JPEGLSLossless/RG2_JLSL.dcm",
    "dicom_decode/pylibjpeg_data/ljdata/ds/JPEGLosslessSV1/RG2_JPLL.dcm",
    "dicom_decode/pylibjpeg_data/ljdata/ds/JPEGLossless/JPEGLossless_1s_1f_u_16_12.dcm",
    "dicom_decode/pylibjpeg_data/ljdata/ds/JPEG2000Lossless/JPEG2KLossless_1s_1f_u_16_16.dcm",
    "dicom_decode/pylibjpeg_data/ljdata/ds/JPEG2000/ELSCINT1_JP2vsJ2K.dcm",
]


@pytest.mark.parametrize("name", _FILES, ids=[Path(f).stem for f in _FILES])
def test_real_files_of_seven_encodings_have_the_values_of_simpleitk(shared_data: Path, name: str) -> None:
    path = shared_data / name
    try:
        image = medio.read(path)
    except GeometryError as error:
        assert "pass spacing" in str(error)  # noqa: PT017  # some of these films carry none
        image = medio.read(path, spacing=(1, 1))
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    assert np.abs(itk.reshape(image.array.shape).astype(np.float64) - image.array).max() < 1e-3  # ITK inverts MONOCHROME1 too


def test_colour_keeps_its_colours() -> None:
    path = get_testdata_file("SC_rgb_dcmtk_+eb+cy+np.dcm", download=False)
    image = medio.read(path, spacing=(1, 1))
    # the upper stripe is pure red, stored lossily as YBR_FULL: within 2 of (255, 0, 0), which YBR itself would not be
    assert np.abs(image.array[:, 5, 50].astype(int) - (255, 0, 0)).max() <= 2
    assert np.array_equal(image.array, np.moveaxis(dcmread(path).pixel_array, -1, 0))


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
