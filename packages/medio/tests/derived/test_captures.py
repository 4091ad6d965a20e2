"""Secondary captures and key image notes."""

from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

import medio
from medio import UnsupportedError

WriteCT = Callable[..., list[Path]]
AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.8, 0, 50], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])


@pytest.fixture
def source(write_ct: WriteCT, tmp_path: Path) -> list[Path]:
    return write_ct(tmp_path / "ct", np.zeros((3, 9, 11), np.uint16), AFFINE)


@pytest.mark.parametrize(("shape", "dtype"), [((13, 17), np.uint8), ((13, 17), np.uint16), ((13, 17, 3), np.uint8)])
def test_a_capture_holds_its_pixels_and_names_its_sources(source: list[Path], tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    picture = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    path = medio.write_capture(picture, source, tmp_path / "sc.dcm", description="lung overlay of net 1.2")
    ds = dcmread(path)
    assert np.array_equal(ds.pixel_array, picture)
    assert (ds.Modality, ds.BurnedInAnnotation, list(ds.ImageType)) == ("OT", "YES", ["DERIVED", "SECONDARY"])
    assert ds.DerivationDescription == "lung overlay of net 1.2"
    assert {item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence} == {dcmread(p).SOPInstanceUID for p in source}
    assert (ds.PatientID, ds.StudyInstanceUID) == ("P1", dcmread(source[0]).StudyInstanceUID)
    image = medio.read(path, spacing=(1.0, 1.0))
    assert np.array_equal(image.array, picture if len(shape) == 2 else np.moveaxis(picture, -1, 0))


def test_captures_of_one_series_share_it_and_a_clean_one_says_so(source: list[Path], tmp_path: Path) -> None:
    picture = np.zeros((8, 8), np.uint8)
    made = []
    for number in (1, 2):
        uids = medio.keyed_uids(f"overlay {number}")
        made.append(
            medio.write_capture(
                picture,
                source,
                tmp_path / f"{number}.dcm",
                description="x",
                burned_in=False,
                instance_number=number,
                uid=lambda role, uids=uids: "2.25.77" if role == "series" else uids(role),
            )
        )
    first, second = (dcmread(path) for path in made)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID == "2.25.77"
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.BurnedInAnnotation == "NO"


def test_a_capture_of_a_radiograph_is_written(shared_data: Path, tmp_path: Path) -> None:
    film = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "dx_image.dcm"
    path = medio.write_capture(np.zeros((8, 8, 3), np.uint8), film, tmp_path / "sc.dcm", description="heat map")
    assert dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID == dcmread(film).SOPInstanceUID


def test_arrays_that_are_no_picture_and_pictures_without_words_are_refused(source: list[Path], tmp_path: Path) -> None:
    for bad in (np.zeros((8, 8), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.uint16), np.zeros((2, 8, 8), np.uint8)):
        with pytest.raises(UnsupportedError, match="a capture is"):
            medio.write_capture(bad, source, tmp_path / "sc.dcm", description="x")
    with pytest.raises(UnsupportedError, match="say what it shows"):
        medio.write_capture(np.zeros((8, 8), np.uint8), source, tmp_path / "sc.dcm", description="")


def test_a_key_image_note_points_to_its_images(source: list[Path], tmp_path: Path) -> None:
    path = medio.write_key_images(source[:2], tmp_path / "ko.dcm", description="two slices with the nodule", observer="Doe^Jane")
    note = highdicom.ko.KeyObjectSelectionDocument.from_dataset(dcmread(path))
    assert {str(reference.referenced_sop_instance_uid) for reference in note.content.get_references()} == {
        str(dcmread(p).SOPInstanceUID) for p in source[:2]
    }
    assert dcmread(path).ConceptNameCodeSequence[0].CodeValue == "113000"
    assert dcmread(path).Modality == "KO"
