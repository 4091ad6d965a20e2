"""PET in SUVbw: each factor derived by hand from QIBA's vendor-neutral pseudo-code, each refusal with its reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

import medio
from medio import UnsupportedError

WriteSeries = Callable[..., list[Path]]
HALF_LIFE = 6588.0  # F-18, s
PHILIPS = "Philips PET Private Group"


def _isotope(**changes: Any) -> Dataset:
    item = Dataset()
    elements = {"RadionuclideTotalDose": "370000000", "RadionuclideHalfLife": "6588", "RadiopharmaceuticalStartTime": "083000", **changes}
    for keyword, value in elements.items():
        if value is not None:
            setattr(item, keyword, value)
    return item


def _write(
    write_series: WriteSeries, folder: Path, *, isotope: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **changes: Any
) -> Path:
    common: dict[Any, Any] = {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "Modality": "PT",
        "Units": "BQML",
        "CorrectedImage": ["ATTN", "DECY", "SCAT"],
        "DecayCorrection": "START",
        "PatientWeight": "70",
        "SeriesDate": "20240105",
        "SeriesTime": "093000",
        "AcquisitionDate": "20240105",
        "AcquisitionTime": "093000",
        "RescaleSlope": "2",
        "RescaleIntercept": "0",
        "RadiopharmaceuticalInformationSequence": [_isotope(**(isotope or {}))],
        **changes,
    }
    pixels = np.array([[0, 100], [5000, 20000]], np.uint16)
    # the second slice has a slope of its own, as GE writes it
    write_series(folder, [(pixels, (0, 0, 3 * z), {**common, "RescaleSlope": str(2 + z), **(second or {} if z else {})}) for z in range(2)])
    return folder


def _factor(image: medio.Image) -> float:
    assert image.unit == "SUVbw"
    # stored 5000, slopes 2 and 3
    factor = float(image.array[0, 1, 0]) / 10000
    assert float(image.array[1, 1, 0]) / 15000 == pytest.approx(factor, rel=1e-6)
    return factor


def _bqml(decay_s: float, weight: float = 70, dose: float = 370e6) -> float:
    """SUVbw = activity * weight in g / dose left after `decay_s`."""
    return weight * 1000 / (dose * 2 ** (-decay_s / HALF_LIFE))


def test_activity_is_divided_by_what_is_left_of_the_dose_at_the_start_of_the_scan(write_series: WriteSeries, tmp_path: Path) -> None:
    image = medio.read(_write(write_series, tmp_path / "pet"))
    # 08:30 to 09:30 is 3600 s: 370 MBq has become 253.3 MBq, 70 kg: 2.7632e-4 g/Bq
    assert _factor(image) == pytest.approx(_bqml(3600), rel=1e-6)
    assert _factor(image) == pytest.approx(2.7632e-4, rel=1e-4)
    assert image.meta["suv"] == "BQML, decay from 08:30:00 to 09:30:00"


def test_a_window_of_the_file_still_shows_the_same_grey(write_series: WriteSeries, tmp_path: Path) -> None:
    folder = _write(write_series, tmp_path / "pet", WindowCenter="20000", WindowWidth="40001")
    suv, stored = medio.read(folder), medio.read(folder, pet="stored")
    assert stored.unit == "BQML"
    assert stored.array[0, 1, 0] == 10000
    assert np.abs(medio.window(suv) - medio.window(stored)).max() < 1e-5


def test_decay_corrected_to_the_injection_needs_no_times(write_series: WriteSeries, tmp_path: Path) -> None:
    image = medio.read(
        _write(
            write_series, tmp_path / "pet", DecayCorrection="ADMIN", AcquisitionTime=None, isotope={"RadiopharmaceuticalStartTime": None}
        )
    )
    assert _factor(image) == pytest.approx(70000 / 370e6, rel=1e-6)


def test_an_injection_before_midnight_is_the_day_before(write_series: WriteSeries, tmp_path: Path) -> None:
    folder = _write(
        write_series, tmp_path / "pet", SeriesTime="001500", AcquisitionTime="001500", isotope={"RadiopharmaceuticalStartTime": "233000.00"}
    )
    # 23:30 to 00:15 is 2700 s
    assert _factor(medio.read(folder)) == pytest.approx(_bqml(2700), rel=1e-6)


def test_a_full_start_date_and_time_is_used_and_a_senseless_one_is_not(write_series: WriteSeries, tmp_path: Path) -> None:
    given = {"RadiopharmaceuticalStartDateTime": "20240105074500", "RadiopharmaceuticalStartTime": "083000"}
    assert _factor(medio.read(_write(write_series, tmp_path / "a", isotope=given))) == pytest.approx(_bqml(6300), rel=1e-6)
    # a date of another day, as after de-identification: the time of day is left
    shifted = {**given, "RadiopharmaceuticalStartDateTime": "20200105074500"}
    assert _factor(medio.read(_write(write_series, tmp_path / "b", isotope=shifted))) == pytest.approx(_bqml(3600), rel=1e-6)
    alone = {"RadiopharmaceuticalStartDateTime": "20200105074500", "RadiopharmaceuticalStartTime": None}
    with pytest.raises(UnsupportedError, match=r"StartDateTime 2020-01-05 07:45:00 does not fit the scan of 2024-01-05 09:30:00"):
        medio.read(_write(write_series, tmp_path / "c", isotope=alone), pet="suv")


def test_the_earliest_slice_decides_whether_the_series_time_is_that_of_the_scan(write_series: WriteSeries, tmp_path: Path) -> None:
    folder = _write(write_series, tmp_path / "pet", second={"AcquisitionTime": "093500"})
    assert _factor(medio.read(folder)) == pytest.approx(_bqml(3600), rel=1e-6)


def test_a_series_made_afterwards_takes_ges_scan_time(write_series: WriteSeries, tmp_path: Path) -> None:
    ge = {("GEMS_PETD_01", 0x0009, 0x0D): ("DT", "20240105092000.00")}
    folder = _write(write_series, tmp_path / "pet", SeriesTime="110000", second=ge)
    with pytest.raises(
        UnsupportedError, match=r"SeriesTime lies after AcquisitionTime .* FrameReferenceTime or ActualFrameDuration is missing"
    ):
        medio.read(folder, pet="suv")
    paths = sorted(folder.iterdir())
    assert len(paths) == 2
    both = tmp_path / "both"
    write_series(
        both,
        [
            (np.array([[0, 100], [5000, 20000]], np.uint16), (0, 0, 3 * z), {**_ge_common(), **ge, "RescaleSlope": str(2 + z)})
            for z in range(2)
        ],
    )
    assert _factor(medio.read(both)) == pytest.approx(_bqml(3000), rel=1e-6)


def _ge_common() -> dict[Any, Any]:
    return {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "Modality": "PT",
        "Units": "BQML",
        "CorrectedImage": ["ATTN", "DECY"],
        "DecayCorrection": "START",
        "PatientWeight": "70",
        "SeriesDate": "20240105",
        "SeriesTime": "110000",
        "AcquisitionDate": "20240105",
        "AcquisitionTime": "093000",
        "RescaleIntercept": "0",
        "RadiopharmaceuticalInformationSequence": [_isotope()],
    }


def test_a_series_made_afterwards_is_traced_back_by_its_frame_reference_time(write_series: WriteSeries, tmp_path: Path) -> None:
    folder = _write(write_series, tmp_path / "pet", SeriesTime="110000", FrameReferenceTime="1200000", ActualFrameDuration="120000")
    # The count rate of a 120 s frame is its average at t = ln(r T / (1 - exp(-r T))) / r, r = ln 2 / 6588 s; to second
    # order T / 2 - r T^2 / 24 = 60 - 0.0631 = 59.9369 s. So the scan began 1200 s - 59.9369 s before 09:30:00, 2459.9369 s after the injection.
    assert _factor(medio.read(folder)) == pytest.approx(_bqml(2459.9369), rel=1e-6)


def test_philips_counts_have_factors_of_their_own(write_series: WriteSeries, tmp_path: Path) -> None:
    direct = {(PHILIPS, 0x7053, 0x00): ("DS", "0.000123")}
    activity = {(PHILIPS, 0x7053, 0x09): ("DS", "1.5")}
    image = medio.read(_write_philips(write_series, tmp_path / "a", direct))
    assert _factor(image) == pytest.approx(0.000123, rel=1e-6)
    # counts to Bq/ml first, then as Bq/ml
    assert _factor(medio.read(_write_philips(write_series, tmp_path / "b", activity))) == pytest.approx(1.5 * _bqml(3600), rel=1e-6)
    with pytest.raises(UnsupportedError, match=r"Units are CNTS without Philips' factors \(7053,xx00\) or \(7053,xx09\)"):
        medio.read(_write_philips(write_series, tmp_path / "c", {}), pet="suv")


def _write_philips(write_series: WriteSeries, folder: Path, private: dict[Any, Any]) -> Path:
    pixels = np.array([[0, 100], [5000, 20000]], np.uint16)
    common = {**_ge_common(), "Units": "CNTS", "SeriesTime": "093000", **private}
    write_series(folder, [(pixels, (0, 0, 3 * z), {**common, "RescaleSlope": str(2 + z)}) for z in range(2)])
    return folder


def test_grams_per_ml_are_suv_by_weight_already_unless_they_say_otherwise(write_series: WriteSeries, tmp_path: Path) -> None:
    assert _factor(medio.read(_write(write_series, tmp_path / "a", Units="GML", PatientWeight=None))) == 1
    lean = _write(write_series, tmp_path / "b", Units="GML", SUVType="LBM")
    image = medio.read(lean)
    assert image.unit == "GML"
    assert image.meta["suv"].startswith("has no SUV: its values are SUV by LBM, not by body weight")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PatientWeight": None}, "PatientWeight is missing or not positive"),
        ({"PatientWeight": "0"}, "PatientWeight is missing or not positive"),
        ({"isotope": {"RadionuclideTotalDose": None}}, "RadionuclideTotalDose is missing"),
        ({"isotope": {"RadionuclideTotalDose": "370"}}, "RadionuclideTotalDose is 370 Bq, less than any injection: it is written in MBq"),
        ({"AcquisitionDate": None}, "AcquisitionDate or AcquisitionTime is missing"),
        ({"isotope": {"RadionuclideHalfLife": "0"}}, "RadionuclideHalfLife is missing"),
        ({"isotope": {"RadiopharmaceuticalStartTime": None}}, "RadiopharmaceuticalStartTime is missing"),
        ({"RadiopharmaceuticalInformationSequence": None}, "RadionuclideTotalDose is missing"),
        ({"CorrectedImage": ["DECY"]}, r"not corrected for attenuation \(CorrectedImage DECY\)"),
        ({"CorrectedImage": None}, r"not corrected for attenuation and decay \(CorrectedImage missing\)"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection is NONE, not START or ADMIN"),
        ({"DecayCorrection": None}, "DecayCorrection is missing"),
        ({"AcquisitionTime": None}, "AcquisitionDate or AcquisitionTime is missing"),
        ({"Units": "PROPCPS"}, "Units are PROPCPS; BQML, CNTS .* and GML can be converted"),
    ],
)
def test_whatever_is_missing_is_named_and_nothing_is_assumed(write_series: WriteSeries, tmp_path: Path, changes: dict, said: str) -> None:
    folder = _write(write_series, tmp_path / "pet", **changes)
    with pytest.raises(UnsupportedError, match=f'pet: has no SUV: .*{said}.*; read it with pet="stored"'):
        medio.read(folder, pet="suv")
    image = medio.read(folder)
    assert image.unit == changes.get("Units", "BQML")
    assert image.array[0, 1, 0] == 10000
