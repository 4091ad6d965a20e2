"""Windows and look-up tables: equal to pydicom's up to scale, on real files and any values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing

import medio
from medio import CorruptFileError, Image, UnsupportedError
from medio.dicom.luts import LookUpTable

WriteSeries = Callable[..., list[Path]]


def _image(values: np.ndarray, **meta: Any) -> Image:
    return Image(values, None, (1.0, 1.0), "", meta)


@pytest.mark.filterwarnings("ignore:overflow")  # pydicom's sigmoid, far from its center
@given(
    values=st.lists(st.integers(-2000, 4000), min_size=1, max_size=30),
    center=st.floats(-1000, 3000),
    width=st.floats(1.5, 4000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_every_window_equals_pydicoms_up_to_scale(values: list, center: float, width: float, function: str) -> None:
    ds = Dataset()
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = f"{center:.8g}", f"{width:.8g}", function
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 16, 1
    stored = np.array([values], np.int16)
    theirs = apply_windowing(stored, ds)  # from -32768 to 32767
    ours = medio.window(_image(stored), float(ds.WindowCenter), float(ds.WindowWidth), function=function)
    assert ours.dtype == np.float32
    assert np.abs(ours - (theirs + 32768) / 65535).max() < 2e-6


def test_a_linear_window_counts_whole_values() -> None:
    # PS3.3 C.11.2.1.2.1, example: c 2048, w 4096 is a straight line from 0 to 4095; c 0, w 1 is a threshold at -0.5
    ramp = np.arange(0, 4096, dtype=np.int16)[None]
    assert np.abs(medio.window(_image(ramp), 2048, 4096) - ramp / 4095).max() < 1e-6
    assert medio.window(_image(np.array([[-1, 0, 1]], np.int16)), 0, 1).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("name", ["vlut_04.dcm", "mlut_18.dcm", "CT_small.dcm", "MR_small.dcm"])
def test_the_files_own_window_is_used_as_pydicom_does(name: str) -> None:
    path = get_testdata_file(name, download=False)
    try:
        image = medio.read(path)
    except medio.GeometryError:
        image = medio.read(path, spacing=(1, 1))
    ds = dcmread(path)
    theirs = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds).astype(np.float64)
    if "VOILUTSequence" not in ds and "WindowCenter" not in ds:
        with pytest.raises(UnsupportedError, match=r"says no window .*; pass center and width"):
            medio.window(image)
        return
    low, high = 0.0, 2.0 ** (ds.VOILUTSequence[0].LUTDescriptor[2] if "VOILUTSequence" in ds else ds.BitsStored) - 1
    if "VOILUTSequence" not in ds and ds.PixelRepresentation:
        low, high = -(2.0 ** (ds.BitsStored - 1)), 2.0 ** (ds.BitsStored - 1) - 1
        slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
        low, high = low * slope + intercept, high * slope + intercept
    grey = medio.window(image)
    assert np.abs(grey.reshape(theirs.shape) - (theirs - low) / (high - low)).max() < 1e-5


@pytest.mark.parametrize("name", ["mlut_18.dcm"])
def test_a_real_modality_lut_gives_pydicoms_values(name: str) -> None:
    path = get_testdata_file(name, download=False)
    image, ds = medio.read(path, spacing=(1, 1)), dcmread(path)
    assert np.array_equal(image.array, apply_modality_lut(ds.pixel_array, ds))


def _table(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_a_volume_with_a_modality_lut_is_looked_up(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.array([[-5, -2, 0, 3]], np.int16)
    item = _table([10, 20, 30, 40], -2, 16)
    write_series(tmp_path / "lut", [(pixels, (0, 0, 2 * z), {"ModalityLUTSequence": [item]}) for z in range(2)])
    # -5 lies below the first value mapped (-2) and takes its entry; 3 beyond the last (1)
    assert medio.read(tmp_path / "lut").array.tolist() == [[[10, 10, 30, 40]]] * 2


def test_a_voi_lut_goes_before_the_windows_and_each_can_be_chosen(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.array([[0, 1, 2, 3]], np.uint16)
    voi = {"VOILUTSequence": [_table([0, 4095, 0, 4095], 0, 12)], "WindowCenter": [1.5, 0.5], "WindowWidth": [4, 2]}
    write_series(tmp_path / "voi", [(pixels, (0, 0, 2 * z), voi) for z in range(2)])
    image = medio.read(tmp_path / "voi")
    assert medio.window(image)[0].tolist() == [[0, 1, 0, 1]]
    # c 1.5, w 4: (x - 1) / 3 + 0.5
    assert medio.window(image, index=1)[0] == pytest.approx(np.array([[1 / 6, 0.5, 5 / 6, 1]]), abs=1e-6)
    assert medio.window(image, index=2)[0].tolist() == [[0.5, 1, 1, 1]]
    with pytest.raises(ValueError, match="has 3 windows, not one of index 3"):
        medio.window(image, index=3)


@pytest.mark.parametrize("signed", [False, True])
def test_an_inverted_film_looks_as_its_file_says(write_series: WriteSeries, tmp_path: Path, signed: bool) -> None:
    # MONOCHROME1 shows small values bright: 1 - window of the stored values, whatever `read` did to them
    pixels = np.array([[0, 100, 900, 4095]], np.uint16)
    low = 2048 if signed else 0
    elements = {
        "Modality": "DX",
        "PhotometricInterpretation": "MONOCHROME1",
        "BitsStored": 12,
        "HighBit": 11,
        "WindowCenter": 500 - low,
        "WindowWidth": 1000,
        "RescaleSlope": 2,
        "RescaleIntercept": 7,
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
    }
    stored = (pixels.astype(np.int16) - low) if signed else pixels
    (path,) = write_series(tmp_path / "dx", [(stored, (0, 0, 0), elements)])
    ds = dcmread(path)
    rescaled = ds.pixel_array.astype(float) * 2 + 7
    expected = 1 - medio.window(_image(rescaled), 500 - low, 1000)
    image = medio.read(path)
    assert image.array[0, 0] > image.array[0, 3]
    assert np.abs(medio.window(image) - expected).max() < 1e-6


def test_senseless_requests_are_refused() -> None:
    plain = _image(np.zeros((2, 2), np.int16))
    with pytest.raises(ValueError, match="both center and width"):
        medio.window(plain, 40)
    with pytest.raises(ValueError, match="at least 1"):
        medio.window(plain, 40, 0.5)
    with pytest.raises(ValueError, match="positive"):
        medio.window(plain, 40, 0, function="SIGMOID")
    with pytest.raises(ValueError, match="function must be one of LINEAR"):
        medio.window(plain, 40, 5, function="CUBIC")
    with pytest.raises(UnsupportedError, match="is in colour"):
        medio.window(_image(np.zeros((3, 2, 2), np.uint8), photometric_interpretation="RGB"), 1, 2)


def test_a_table_shorter_than_it_says_is_corrupt(write_series: WriteSeries, tmp_path: Path) -> None:
    item = _table([1, 2, 3], 0, 16)
    item.LUTDescriptor = [300, 0, 16]
    write_series(tmp_path / "lut", [(np.zeros((2, 2), np.uint16), (0, 0, 0), {"ModalityLUTSequence": [item]})])
    with pytest.raises(CorruptFileError, match=r"000\.dcm: a LUT of 3 entries of 16 bit that says 300; exclude the file"):
        medio.read(tmp_path / "lut")


def test_a_table_clamps_at_both_ends() -> None:
    table = LookUpTable(10, np.array([5, 6, 7], np.uint16), 8)
    assert table(np.array([-100, 9, 10, 11, 12, 13, 9999])).tolist() == [5, 5, 5, 6, 7, 7, 7]


def test_an_inverted_film_with_a_modality_lut_is_bright_where_dense(write_series: WriteSeries, tmp_path: Path) -> None:
    film = {
        "Modality": "DX",
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "ModalityLUTSequence": [_table([0, 100, 255], 0, 8)],
    }
    (path,) = write_series(
        tmp_path / "dx", [(np.array([[0, 1, 2]], np.uint16), (0, 0, 0), {**film, "PhotometricInterpretation": "MONOCHROME1"})]
    )
    # the largest of 8 bit less the entry
    assert medio.read(path).array.tolist() == [[255, 155, 0]]
