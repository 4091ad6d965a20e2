"""Multi-frame files with functional groups: every class of placed frames equals the classic slices; unplaced ones are films or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

import medio
from medio import GeometryError, UnsupportedError

WriteSeries = Callable[..., list[Path]]
PIXELS = np.random.default_rng(0).integers(0, 4000, (4, 6, 5)).astype(np.uint16)
POSITIONS = [(-10.0, -20.0, 30 + 2.5 * z) for z in range(4)]
_CLASSIC_ONLY = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"))


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, [_item(**value)] if isinstance(value, dict) else value)
    return item


def _groups(*, slopes: list[float] | None = None, kind: str = "HU", **frame: Any) -> dict[str, Any]:
    slopes = slopes or [1.0] * len(PIXELS)
    per_frame = [
        _item(
            PlanePositionSequence={"ImagePositionPatient": list(position)},
            PixelValueTransformationSequence={"RescaleSlope": slope, "RescaleIntercept": -1024 if kind == "HU" else 0, "RescaleType": kind},
            **frame,
        )
        for position, slope in zip(POSITIONS, slopes, strict=True)
    ]
    shared = _item(
        PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        PixelMeasuresSequence={"PixelSpacing": [0.8, 0.7], "SliceThickness": 2.5},
    )
    return {
        "NumberOfFrames": len(PIXELS),
        "PerFrameFunctionalGroupsSequence": per_frame,
        "SharedFunctionalGroupsSequence": [shared],
        **_CLASSIC_ONLY,
    }


def _write(write_series: WriteSeries, folder: Path, elements: dict[Any, Any]) -> Path:
    # frames from the last to the first: their order must come from their positions
    reverse = {**elements, "PerFrameFunctionalGroupsSequence": elements["PerFrameFunctionalGroupsSequence"][::-1]}
    return write_series(folder, [(PIXELS[::-1], (0, 0, 0), reverse)])[0]


@pytest.mark.parametrize(
    ("name", "uid", "modality", "kind", "unit"),
    [
        ("enhanced CT", "1.2.840.10008.5.1.4.1.1.2.1", "CT", "HU", "HU"),
        ("legacy converted CT", "1.2.840.10008.5.1.4.1.1.2.2", "CT", "HU", "HU"),
        ("enhanced MR", "1.2.840.10008.5.1.4.1.1.4.1", "MR", "US", ""),
        ("X-ray 3D angiography", "1.2.840.10008.5.1.4.1.1.13.1.1", "XA", "US", ""),
        ("breast tomosynthesis", "1.2.840.10008.5.1.4.1.1.13.1.3", "MG", "US", ""),
    ],
)
def test_every_enhanced_class_equals_the_classic_slices(
    write_series: WriteSeries, tmp_path: Path, name: str, uid: str, modality: str, kind: str, unit: str
) -> None:
    path = _write(write_series, tmp_path / "e", {"SOPClassUID": uid, "Modality": modality, **_groups(kind=kind)})
    image = medio.read(path)
    assert np.array_equal(image.array, PIXELS.astype(np.int32) - (1024 if kind == "HU" else 0))
    assert image.unit == unit
    assert image.affine[:3, 3] == pytest.approx([-10, -20, 30])
    assert image.spacing == (2.5, 0.8, 0.7)


def test_each_frame_has_its_own_rescale(write_series: WriteSeries, tmp_path: Path) -> None:
    slopes = [1.0, 2.0, 0.5, 4.0]
    path = _write(write_series, tmp_path / "e", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", **_groups(kind="US", slopes=slopes)})
    assert np.allclose(medio.read(path).array, PIXELS * np.array(slopes)[:, None, None])


def test_enhanced_pet_becomes_suv_at_its_decay_correction_time(write_series: WriteSeries, tmp_path: Path) -> None:
    isotope = _item(RadionuclideTotalDose="370000000", RadionuclideHalfLife="6588", RadiopharmaceuticalStartDateTime="20240105083000")
    elements = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.130",
        "Modality": "PT",
        "PatientWeight": "70",
        "AttenuationCorrected": "YES",
        "DecayCorrected": "YES",
        "DecayCorrectionDateTime": "20240105093000",
        "RadiopharmaceuticalInformationSequence": [isotope],
        **_groups(kind="US", RealWorldValueMappingSequence={"MeasurementUnitsCodeSequence": {"CodeValue": "Bq/ml"}}),
    }
    image = medio.read(_write(write_series, tmp_path / "pet", elements))
    # 70 kg, 370 MBq, an hour at a half-life of 6588 s
    factor = 70000 / (370e6 * 2 ** (-3600 / 6588))
    assert image.unit == "SUVbw"
    assert np.allclose(image.array, PIXELS * factor, rtol=1e-6)


def test_frame_windows_are_those_of_the_middle_of_the_stack(write_series: WriteSeries, tmp_path: Path) -> None:
    elements = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", **_groups(kind="US")}
    for z, group in enumerate(elements["PerFrameFunctionalGroupsSequence"]):
        group.FrameVOILUTSequence = [_item(WindowCenter="100", WindowWidth=str(100 + 100 * z))]
    image = medio.read(_write(write_series, tmp_path / "e", elements))
    assert image.meta["voi"].windows == ((100, 300),)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"PerFrameFunctionalGroupsSequence": [Dataset()] * 3}, GeometryError, "places 3 frames and holds 4"),
        ({"PlaneOrientationSequence": None}, GeometryError, "ImageOrientationPatient is missing"),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]},
            UnsupportedError,
            "mosaics inside a multi-frame file do not say where their slices lie",
        ),
        (
            {"PlanePositionVolumeSequence": [Dataset()]},
            UnsupportedError,
            "placed in the volume of the ultrasound transducer, not in the patient",
        ),
    ],
)
def test_frames_without_a_place_in_the_patient_are_refused(
    write_series: WriteSeries, tmp_path: Path, change: dict, error: type[Exception], said: str
) -> None:
    elements = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", **_groups(kind="US")}
    for key, value in change.items():
        shared = elements["SharedFunctionalGroupsSequence"][0]
        if key == "PlaneOrientationSequence":
            del shared.PlaneOrientationSequence
        elif key == "PlanePositionVolumeSequence":
            shared.PlanePositionVolumeSequence = [_item(ImagePositionVolume=[0.0, 0, 0])]
        else:
            elements[key] = value
    with pytest.raises(error, match=said):
        medio.read(_write(write_series, tmp_path / "e", elements))


def test_an_enhanced_angiogram_without_places_is_a_cine(write_series: WriteSeries, tmp_path: Path) -> None:
    elements = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1.1",
        "Modality": "XA",
        **_groups(kind="US"),
        "ImagerPixelSpacing": [0.3, 0.3],
        "FrameTime": "66",
    }
    for group in elements["PerFrameFunctionalGroupsSequence"]:
        del group.PlanePositionSequence
    cine = medio.read_cine(_write(write_series, tmp_path / "xa", elements))
    assert np.array_equal(cine.array, PIXELS[::-1])
    assert cine.times_s == pytest.approx([0, 0.066, 0.132, 0.198])
