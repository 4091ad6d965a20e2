"""Spacing of projection images: which element, measured where, how much the patient is magnified."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

import medio
from medio import GeometryError, UnsupportedError

WriteSeries = Callable[..., list[Path]]


def _film(write_series: WriteSeries, folder: Path, pixels: np.ndarray | None = None, **elements: Any) -> Path:
    pixels = np.zeros((4, 5), np.uint16) if pixels is None else pixels
    plain = {"Modality": "DX", "ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None, "SliceThickness": None}
    return write_series(folder, [(pixels, (0, 0, 0), {**plain, **elements})])[0]


@pytest.mark.parametrize(
    ("elements", "spacing", "source", "plane", "magnification"),
    [
        # calibrated on an object of known size: millimetres of the patient
        ({"PixelSpacing": [0.14, 0.14], "PixelSpacingCalibrationType": "FIDUCIAL"}, (0.14, 0.14), "PixelSpacing", "calibrated", 1),
        ({"PixelSpacing": [0.13, 0.13], "ImagerPixelSpacing": [0.143, 0.143]}, (0.13, 0.13), "PixelSpacing", "calibrated", 1),
        # the same number twice is the detector's
        ({"PixelSpacing": [0.143, 0.143], "ImagerPixelSpacing": [0.143, 0.143]}, (0.143, 0.143), "PixelSpacing", "detector", None),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "ImagerPixelSpacing", "detector", None),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": "1.05"},
            (0.2, 0.2),
            "ImagerPixelSpacing",
            "detector",
            1.05,
        ),
        # 1800 mm to the detector, 1500 mm to the patient: 1.2 times larger
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "DistanceSourceToDetector": "1800", "DistanceSourceToPatient": "1500"},
            (0.2, 0.2),
            "ImagerPixelSpacing",
            "detector",
            1.2,
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "DistanceSourceToDetector": "1000", "DistanceSourceToPatient": "0"},
            (0.2, 0.2),
            "ImagerPixelSpacing",
            "detector",
            None,
        ),
        ({"PixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "PixelSpacing", "unknown", None),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "NominalScannedPixelSpacing", "film", None),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "ImagerPixelSpacing", "detector", None),
    ],
)
def test_the_spacing_says_where_it_was_measured(
    write_series: WriteSeries, tmp_path: Path, elements: dict, spacing: tuple, source: str, plane: str, magnification: float | None
) -> None:
    image = medio.read(_film(write_series, tmp_path / "dx", **elements))
    assert image.spacing == spacing
    assert (image.meta["spacing_source"], image.meta["spacing_plane"]) == (source, plane)
    assert image.meta["magnification"] == (None if magnification is None else pytest.approx(magnification))


def _region(x: float, y: float, *, kind: int = 1, units: int = 3) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = kind, units, units
    item.PhysicalDeltaX, item.PhysicalDeltaY = x, y
    return item


def test_ultrasound_takes_the_spacing_of_its_tissue_regions(write_series: WriteSeries, tmp_path: Path) -> None:
    # centimetres a pixel; the Doppler trace (format 3: seconds across) has nothing to say
    regions = [_region(0.03, 0.04), _region(0.005, 0.1, kind=3, units=4)]
    image = medio.read(_film(write_series, tmp_path / "us", Modality="US", SequenceOfUltrasoundRegions=regions))
    assert image.spacing == pytest.approx((0.4, 0.3))
    assert (image.meta["spacing_source"], image.meta["magnification"]) == ("SequenceOfUltrasoundRegions", 1)


def test_two_ultrasound_regions_of_different_scale_have_no_common_spacing(write_series: WriteSeries, tmp_path: Path) -> None:
    path = _film(write_series, tmp_path / "us", Modality="US", SequenceOfUltrasoundRegions=[_region(0.03, 0.03), _region(0.05, 0.05)])
    with pytest.raises(GeometryError, match=r"000\.dcm: has no positive PixelSpacing.*pass spacing="):
        medio.read(path)


def test_side_and_view_are_kept(write_series: WriteSeries, tmp_path: Path) -> None:
    elements = {
        "ImagerPixelSpacing": [0.1, 0.1],
        "ImageLaterality": "L",
        "ViewPosition": "MLO",
        "Modality": "MG",
        "KVP": "28",
        "AcquisitionDate": "20240102",
        "AcquisitionTime": "101112",
    }
    meta = medio.read(_film(write_series, tmp_path / "mg", **elements)).meta
    assert (meta["laterality"], meta["view_position"], meta["modality"], meta["kvp"]) == ("L", "MLO", "MG", 28)
    assert meta["acquisition_time"] == "20240102101112"
    series = {**elements, "ImageLaterality": None, "Laterality": "R"}
    assert medio.read(_film(write_series, tmp_path / "mg2", **series)).meta["laterality"] == "R"


def test_padding_of_an_inverted_film_is_named_in_the_values_that_one_gets(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.array([[0, 4095, 7]], np.uint16)
    elements = {
        "PhotometricInterpretation": "MONOCHROME1",
        "BitsStored": 12,
        "HighBit": 11,
        "PixelPaddingValue": 4095,
        "ImagerPixelSpacing": [1, 1],
    }
    image = medio.read(_film(write_series, tmp_path / "mg", pixels, **elements))
    assert image.meta["padding"] == (0, 0)
    assert image.array.tolist() == [[4095, 0, 4088]]


def test_a_cine_is_read_frame_by_frame_as_pydicom_sees_it() -> None:
    path = Path(get_testdata_file("examples_ybr_color.dcm", download=False))
    ds = dcmread(path)
    cine = medio.read_cine(path, spacing=(1, 1))
    assert cine.array.shape == (30, 3, 240, 320)
    # YBR to RGB: one rounding each
    assert np.abs(cine.array.astype(int) - np.moveaxis(ds.pixel_array, -1, 1)).max() <= 1
    few = medio.read_cine(path, frames=[29, 0, 29], spacing=(1, 1))
    assert np.array_equal(few.array, cine.array[[29, 0, 29]])
    assert few.frames == (29, 0, 29)
    assert cine.times_s[:3] == pytest.approx(np.arange(3) * float(ds.FrameTime) / 1000)
    still = few.image(0)
    assert (still.meta["frame"], still.meta["time_s"]) == (29, pytest.approx(29 * float(ds.FrameTime) / 1000))
    with pytest.raises(UnsupportedError, match="30 frames, from 0 to 29; there is no frame 30"):
        medio.read_cine(path, frames=[30], spacing=(1, 1))
    with pytest.raises(UnsupportedError, match=r"30 frames without a position each \(cine\): read them with medio\.read_cine"):
        medio.read(path, spacing=(1, 1))


def test_a_grey_cine_has_its_own_times_and_is_bright_where_dense(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, 5), np.uint8)
    elements = {
        "Modality": "XA",
        "NumberOfFrames": 3,
        "FrameTimeVector": [0, 100, 250],
        "ImagerPixelSpacing": [0.3, 0.3],
        "PhotometricInterpretation": "MONOCHROME1",
    }
    path = _film(write_series, tmp_path / "xa", pixels, **elements)
    cine = medio.read_cine(path)
    assert np.array_equal(cine.array, 255 - pixels)
    # each entry is the time since the frame before
    assert cine.times_s.tolist() == [0, 0.1, 0.35]
    assert (cine.spacing, cine.meta["spacing_plane"], len(cine)) == ((0.3, 0.3), "detector", 3)


def test_placed_frames_are_no_cine(write_series: WriteSeries, tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "mr", [(np.zeros((4, 5), np.uint16), (0, 0, 0), {})])
    with pytest.raises(UnsupportedError, match=r"is no cine: its frames lie in the patient; use medio\.read"):
        medio.read_cine(path)
    with pytest.raises(UnsupportedError, match=r"holds films or cine, not volumes; use medio\.read or medio\.read_cine"):
        medio.read_series(_film(write_series, tmp_path / "dx", ImagerPixelSpacing=[1, 1]))
