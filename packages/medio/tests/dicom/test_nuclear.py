"""Nuclear medicine: reconstructed tomograms in one file, gates and energy windows, planar images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage

import medio
from medio import GeometryError

WriteSeries = Callable[..., list[Path]]


def _detector(position: list[float] | None = None) -> Dataset:
    item = Dataset()
    item.ImagePositionPatient = [10, 20, 30] if position is None else position
    item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    return item


def _write(write_series: WriteSeries, folder: Path, pixels: np.ndarray, **changes: Any) -> Path:
    elements = {
        "SOPClassUID": NuclearMedicineImageStorage,
        "Modality": "NM",
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "NumberOfFrames": len(pixels),
        "SpacingBetweenSlices": "4",
        "DetectorInformationSequence": [_detector()],
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        **changes,
    }
    write_series(folder, [(pixels, (0, 0, 0), elements)])
    return folder


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_the_spacing_says_where_the_slices_go(write_series: WriteSeries, tmp_path: Path, sign: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (5, 4, 6)).astype(np.uint16)
    image = medio.read(_write(write_series, tmp_path / "nm", pixels, SpacingBetweenSlices=str(4 * sign)))
    for number in range(5):
        # slice `number` lies at z = 30 + 4 * sign * number (PS3.3 C.8.4.15)
        place = medio.world_to_index(image.affine, [10, 20, 30 + 4 * sign * number])
        assert np.allclose(place, [round(float(place[0])), 0, 0], atol=1e-9)
        assert np.array_equal(image.array[round(float(place[0]))], pixels[number])
    assert image.spacing == (4, 0.8, 0.7)


def test_a_slice_vector_orders_the_frames(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.arange(3, dtype=np.uint16)[:, None, None] * np.ones((3, 2, 2), np.uint16)
    image = medio.read(_write(write_series, tmp_path / "nm", pixels, SliceVector=[3, 1, 2]))
    assert image.array[:, 0, 0].tolist() == [1, 2, 0]
    assert image.affine[:3, 3] == pytest.approx([10, 20, 30])


def test_gates_and_energy_windows_are_volumes(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (8, 4, 6)).astype(np.uint16)
    vectors = {
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"],
        "SliceVector": [1, 2] * 4,
        "TimeSlotVector": [1, 1, 2, 2] * 2,
        "EnergyWindowVector": [1] * 4 + [2] * 4,
    }
    found = medio.read_series(_write(write_series, tmp_path / "nm", pixels, **vectors))
    assert list(found) == [f"energy window {w}, phase {p}" for w in (1, 2) for p in (1, 2)]
    for number, image in enumerate(found.values()):
        assert np.array_equal(image.array, pixels[2 * number : 2 * number + 2])
        assert image.meta["phase"] == number % 2 + 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SpacingBetweenSlices": None}, "SpacingBetweenSlices is missing: its slices have no distance"),
        ({"SliceVector": [1, 2]}, "SliceVector places 2 frames, the file holds 3"),
        ({"DetectorInformationSequence": None}, "ImagePositionPatient is missing"),
    ],
)
def test_slices_without_a_place_are_refused(write_series: WriteSeries, tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(GeometryError, match=said):
        medio.read(_write(write_series, tmp_path / "nm", np.zeros((3, 2, 2), np.uint16), **changes))


def test_a_planar_image_is_a_film(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (1, 4, 6)).astype(np.uint16)
    image = medio.read(_write(write_series, tmp_path / "nm", pixels, ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]))
    assert np.array_equal(image.array, pixels[0])
    assert image.affine is None
