"""Images read for a look at them, beside SimpleITK, which reads by other code."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image

from medaug.errors import AugmentationError
from medaug.show.reading import read_picture

DATA = Path(__file__).resolve().parents[4].parent / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real images beside the checkout are absent")


def in_lps(path: Path) -> SimpleITK.Image:
    """The image by SimpleITK, its axes turned to left, back, head."""
    return SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")


@needs_data
@pytest.mark.parametrize("name", ["ct_totalseg/example_ct_sm.nii.gz", "ct_totalseg/example_mr_sm.nii.gz"])
def test_a_nifti_volume_lies_as_simpleitk_turns_it(name):
    picture, oracle = read_picture(DATA / name), in_lps(DATA / name)
    np.testing.assert_allclose(picture.array[0], SimpleITK.GetArrayFromImage(oracle), atol=1e-4)
    np.testing.assert_allclose(picture.spacing, oracle.GetSpacing()[::-1], rtol=1e-5)


@needs_data
def test_a_folder_of_slices_is_the_volume_that_simpleitk_reads():
    folder = DATA / "ct_totalseg/example_ct_dicom"
    picture = read_picture(folder)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    oracle = reader.Execute()
    array = SimpleITK.GetArrayFromImage(oracle)
    assert array.min() < -500  # HU: there is air
    np.testing.assert_allclose(picture.array[0], array, atol=1e-3)
    np.testing.assert_allclose(picture.spacing, oracle.GetSpacing()[::-1], rtol=1e-4)


@needs_data
def test_tilted_uneven_slices_are_refused_not_stacked():
    with pytest.raises(AugmentationError, match=r"ct_ge_hispeed\S*: has slices .* mm apart or tilted ones; make an even volume"):
        read_picture(DATA / "dicom_multivendor/ct_ge_hispeed_variable_spacing_tilt")


@needs_data
def test_a_film_is_its_pixels():
    path = sorted((DATA / "cxr_nih/images_512").iterdir())[0]
    picture = read_picture(path)
    with Image.open(path) as image:
        assert np.array_equal(picture.array[0], np.asarray(image.convert("L")))
    assert picture.spacing is None


def test_a_negative_film_is_turned_and_values_take_their_unit(tmp_path):
    stored = np.arange(12, dtype=np.uint16).reshape(3, 4)
    film = pydicom.Dataset()
    film.file_meta = pydicom.dataset.FileMetaDataset()
    film.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = pydicom.uid.DigitalXRayImageStorageForPresentation, "1.2.3"
    film.Rows, film.Columns, film.SamplesPerPixel, film.PixelRepresentation = 3, 4, 1, 0
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 16, 15
    film.RescaleSlope, film.RescaleIntercept, film.ImagerPixelSpacing = 2, -5, [0.2, 0.3]
    film.PixelData = stored.tobytes()
    for photometric, expected in (
        ("MONOCHROME2", stored * 2.0 - 5),
        ("MONOCHROME1", 12 - (stored * 2.0 - 5)),
    ):  # turned about -5 .. 17: 17 - 5 - v
        film.PhotometricInterpretation = photometric
        film.save_as(tmp_path / "film", enforce_file_format=True)
        picture = read_picture(tmp_path / "film")
        assert np.array_equal(picture.array[0], expected)
        assert picture.spacing == (0.2, 0.3)


def test_archives_of_arrays_hold_image_mask_and_spacing(tmp_path):
    image, mask = np.arange(24.0).reshape(1, 2, 3, 4), np.ones((2, 3, 4), np.int8)
    np.savez(tmp_path / "a.npz", image=image, mask=mask, spacing=(3.0, 1.0, 2.0))
    picture = read_picture(tmp_path / "a.npz")
    assert np.array_equal(picture.array, image)
    assert picture.spacing == (3.0, 1.0, 2.0)
    assert np.array_equal(picture.mask, mask)
    np.save(tmp_path / "a.npy", image[0])
    assert np.array_equal(read_picture(tmp_path / "a.npy").array, image)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.png", "a.nii.gz", "a.dcm", "a"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"neither this nor that" * 20)
    with pytest.raises(AugmentationError, match=f"/{name}: ") as error:
        read_picture(tmp_path / name)
    assert "\n" not in str(error.value)
    with pytest.raises(AugmentationError, match="does not exist; check the path"):
        read_picture(tmp_path / f"no-{name}")


def test_what_is_no_single_image_is_refused(tmp_path):
    np.save(tmp_path / "line.npy", np.zeros(4))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    with pytest.raises(AugmentationError, match="one image of 2 or 3 axes"):
        read_picture(tmp_path / "line.npy")
    with pytest.raises(AugmentationError, match="holds a, b; name the one to show `image`"):
        read_picture(tmp_path / "two.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AugmentationError, match="holds no DICOM image"):
        read_picture(tmp_path / "empty")
