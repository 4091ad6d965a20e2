"""DICOM SEG of other makers (dcmqi, highdicom, dcmjs): read as highdicom reads them."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.data import get_testdata_file

import medio
from medio import GeometryError, UnsupportedError

PLACED = [
    "dcmqi/data/segmentations/23x38x3/seg/label.seg",
    "dcmqi/data/segmentations/24x38x3/seg/label.seg",
    "dcmqi/data/segmentations/partial_overlaps.dcm",
    "dcmqi/data/segmentations/sparse-labelmap-noppv.dcm",
    "dcmqi/data/segmentations/sparse-labelmap-ppv5.dcm",
    "dcmqi/data/sr-example/seg.dcm",
    "highdicom/data/test_files/seg_image_ct_binary.dcm",
    "highdicom/data/test_files/seg_image_ct_binary_fractional.dcm",
    "highdicom/data/test_files/seg_image_ct_binary_overlap.dcm",
    "highdicom/data/test_files/seg_image_ct_binary_single_frame.dcm",
    "highdicom/data/test_files/seg_image_ct_true_fractional.dcm",
    "pydicom/liver.dcm",
]
SLIDES = [
    "control",
    "control_labelmap",
    "control_labelmap_palette_color",
    "dots",
    "dots_tiled_full",
    "numbers",
]


@pytest.mark.parametrize("name", PLACED)
def test_a_placed_seg_holds_what_highdicom_reads_where_highdicom_reads_it(shared_data: Path, name: str) -> None:
    path = Path(get_testdata_file("liver.dcm", download=False)) if name.startswith("pydicom") else shared_data / "dicom_decode" / name
    ours = medio.read_segmentation(path, overlap="stack")
    volume = highdicom.seg.segread(path).get_volume(
        segment_numbers=[segment.number for segment in ours.meta["segments"]],
        combine_segments=False,
        rescale_fractional=True,
        rtol=0.05,
        allow_missing_positions=True,
    )
    theirs, affine = np.moveaxis(volume.array, -1, 0), volume.affine
    if theirs.shape[1] > 1:  # their slices run against the normal, ours along it
        theirs = theirs[:, ::-1]
        assert np.allclose(affine[:3, 3] + (ours.array.shape[1] - 1) * affine[:3, 0], ours.affine[:3, 3], atol=1e-4)
        assert np.allclose(affine[:3, 0], -ours.affine[:3, 0], atol=1e-4)
    assert np.array_equal(ours.array, theirs)
    assert np.allclose(affine[:3, 1:3], ours.affine[:3, 1:3], atol=1e-6)
    assert ours.array.any()


@pytest.mark.parametrize("name", SLIDES)
def test_a_seg_of_a_slide_holds_what_highdicom_reads(shared_data: Path, name: str) -> None:
    path = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / f"seg_image_sm_{name}.dcm"
    ours = medio.read_segmentation(path, overlap="stack")
    seg = highdicom.seg.segread(path)
    theirs = seg.get_total_pixel_matrix(segment_numbers=[s.number for s in ours.meta["segments"]], combine_segments=False)
    assert ours.affine is None
    assert np.array_equal(ours.array, np.moveaxis(theirs, -1, 0))
    assert ours.array.any()


def test_a_seg_on_a_film_lies_on_that_film(shared_data: Path) -> None:
    path = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "seg_image_cr_binary.dcm"
    film = medio.Image(np.zeros((16, 16)), None, (0.2, 0.2))
    ours = medio.read_segmentation(path, like=film)
    source = dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID
    theirs = highdicom.seg.segread(path).get_pixels_by_source_instance([source], combine_segments=True)
    assert np.array_equal(ours.array, theirs[0])
    assert ours.spacing == (0.2, 0.2)
    with pytest.raises(GeometryError, match="says no PixelSpacing; pass like= the film"):
        medio.read_segmentation(path)
    with pytest.raises(GeometryError, match=r"one plane of 16x16, `like` has the shape \(8, 8\)"):
        medio.read_segmentation(path, like=medio.Image(np.zeros((8, 8)), None, (0.2, 0.2)))


@pytest.mark.parametrize("name", ["noppv", "ppv5"])
def test_absent_frames_of_a_sparse_label_map_are_background(shared_data: Path, name: str) -> None:
    folder = shared_data / "dicom_decode" / "dcmqi" / "data" / "segmentations"
    ours = medio.read_segmentation(folder / f"sparse-labelmap-{name}.dcm")
    truth = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"sparse_labelmap_{name}_seg.nrrd")))
    assert np.array_equal(ours.array, truth == 1)  # dcmqi fills absent frames with the padding value 5, which is no segment


@pytest.mark.parametrize(("name", "number"), [("1", (1,)), ("2", (2,)), ("3", (3,))])
def test_partial_overlaps_equal_the_reference_of_dcmqi(shared_data: Path, name: str, number: tuple[int, ...]) -> None:
    folder = shared_data / "dicom_decode" / "dcmqi" / "data" / "segmentations"
    files = sorted((folder / "ct-3slice").glob("*.dcm"))
    stack = medio.read_segmentation(folder / "partial_overlaps.dcm", like=medio.read(files), overlap="stack")
    truth = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"partial_overlaps-{name}.nrrd")))
    # each reference file holds a group of segments that do not overlap, as labels of their own
    for label in np.unique(truth[truth > 0]):
        assert any(np.array_equal(mask, truth == label) for mask in stack.array)


def test_labels_of_overlapping_segments_are_refused_and_one_segment_is_read(shared_data: Path) -> None:
    path = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "seg_image_ct_binary_overlap.dcm"
    with pytest.raises(UnsupportedError, match=r"segments 1 and 2 overlap.*segments="):
        medio.read_segmentation(path)
    assert set(np.unique(medio.read_segmentation(path, segments=[2]).array)) == {0, 2}
    with pytest.raises(UnsupportedError, match=r"holds segments \[1, 2\], not \[3\]"):
        medio.read_segmentation(path, segments=[3])
