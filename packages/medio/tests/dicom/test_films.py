"""Films: DICOM projection images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import DigitalXRayImageStorageForPresentation

import medio
from medio import GeometryError, UnsupportedError

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
