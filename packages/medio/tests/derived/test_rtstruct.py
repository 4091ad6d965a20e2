"""Structure sets: outlines to masks and back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage
from scipy.spatial.transform import Rotation

import medio
from medio import CorruptFileError, GeometryError, Image, Structure, UnsupportedError, index_to_world

WriteCT = Callable[..., list[Path]]
SHAPE = (12, 30, 40)
AXIAL = np.array([[0, 0, 1.5, -90], [0, 1.0, 0, 50], [3.0, 0, 0, 30], [0, 0, 0, 1.0]])
ROTATED = np.eye(4)
ROTATED[:3, :3] = Rotation.from_euler("zyx", (20, -10, 5), degrees=True).as_matrix() @ AXIAL[:3, :3]
ROTATED[:3, 3] = (-20, 10, 5)


def _image(affine: np.ndarray = AXIAL, shape: tuple[int, ...] = SHAPE, **meta: object) -> Image:
    spacing = tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    return Image(np.broadcast_to(np.uint8(0), shape), affine, spacing, "", {"frame_of_reference_uid": "1.2.3", "patient_id": "P1", **meta})


def _write(
    path: Path, structures: dict[str, list[tuple[str, np.ndarray]]], *, images: tuple[str, ...] = (), thickness: float | None = None
) -> Path:
    """Write a structure set: by name, outlines as (type, points in LPS mm)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID, ds.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.9"
    ds.SOPClassUID, ds.Modality, ds.PatientID, ds.StudyInstanceUID = RTStructureSetStorage, "RTSTRUCT", "P1", "1.2.8"
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (name, outlines) in enumerate(structures.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, "1.2.3"
        ds.StructureSetROISequence.append(roi)
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for kind, points in outlines:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
            item.ContourData = [f"{v:.6f}" for v in np.asarray(points).ravel()]
            if images:
                item.ContourImageSequence = [Dataset()]
                item.ContourImageSequence[0].ReferencedSOPInstanceUID = images[0]
            if thickness:
                item.ContourSlabThickness = thickness
            drawn.ContourSequence.append(item)
        ds.ROIContourSequence.append(drawn)
    ds.save_as(path, enforce_file_format=True)
    return path


def _box(affine: np.ndarray, z: float, rows: tuple[float, float], columns: tuple[float, float]) -> tuple[str, np.ndarray]:
    (a, b), (c, d) = rows, columns
    return "CLOSED_PLANAR", index_to_world(affine, [(z, a, c), (z, a, d), (z, b, d), (z, b, c)])


@pytest.mark.parametrize("affine", [AXIAL, ROTATED], ids=["axial", "oblique"])
def test_boxes_fill_the_voxels_whose_centres_they_hold(tmp_path: Path, affine: np.ndarray) -> None:
    path = _write(
        tmp_path / "rs.dcm",
        {
            "ring": [_box(affine, z, (2.5, 20.5), (3.5, 30.5)) for z in (4, 5, 6)] + [_box(affine, 5, (5.5, 9.5), (7.5, 12.5))],
            "one": [_box(affine, z, (1.6, 2.4), (1.6, 2.4)) for z in (4, 5)],
        },
    )
    back = medio.read_rtstruct(path, like=_image(affine))
    expected = np.zeros((2, *SHAPE), np.uint8)
    expected[0, 4:7, 3:21, 4:31] = 1
    expected[0, 5, 6:10, 8:13] = 0
    expected[1, 4:6, 2, 2] = 1
    assert np.array_equal(back.array, expected)
    assert [s.name for s in back.meta["structures"]] == ["ring", "one"]
    assert np.array_equal(medio.read_rtstruct(path, like=_image(affine), names=["one"]).array, expected[1:])


@pytest.mark.parametrize("axis", [1, 2], ids=["coronal", "sagittal"])
def test_planes_across_other_axes_of_the_grid_are_filled(tmp_path: Path, axis: int) -> None:
    outlines = []
    for place in (7, 8, 9):
        corners = [(1.5, 3.5), (1.5, 8.5), (6.5, 8.5), (6.5, 3.5)]
        index = np.array([np.insert(np.array(corner), axis, place) for corner in corners])
        outlines.append(("CLOSED_PLANAR", index_to_world(ROTATED, index)))
    back = medio.read_rtstruct(_write(tmp_path / "rs.dcm", {"s": outlines}), like=_image(ROTATED))
    expected = np.zeros(SHAPE, np.uint8)
    np.moveaxis(expected, axis, 0)[7:10, 2:7, 4:9] = 1
    assert np.array_equal(back.array[0], expected)


def test_a_sphere_has_its_volume_and_its_centre(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]]
    centre, radius = np.array([40.2, 39.7, 41.1]), 30.0
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    outlines = []
    for z in range(12, 71):
        r = np.sqrt(max(radius**2 - (z - centre[2]) ** 2, 0))
        if r > 0:
            points = np.stack([centre[0] + r * np.cos(angle), centre[1] + r * np.sin(angle), np.full(360, float(z))], axis=1)
            outlines.append(("CLOSED_PLANAR", points))
    back = medio.read_rtstruct(_write(tmp_path / "rs.dcm", {"sphere": outlines}), like=_image(affine, (80, 80, 80)))
    assert back.array.sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=2e-3)
    assert np.allclose(index_to_world(affine, np.argwhere(back.array[0]).mean(axis=0)), centre, atol=0.05)


def test_the_phantom_of_pydicom_has_the_volume_of_its_outlines() -> None:
    path = Path(get_testdata_file("rtstruct.dcm", download=False))
    header = dcmread(path, force=True)
    shape, affine = (61, 80, 100), np.array([[0, 0, 5.0, -247.5], [0, 5.0, 0, -197.5], [10.0, 0, 0, -300], [0, 0, 0, 1.0]])
    like = Image(np.zeros(shape, np.uint8), affine, (10.0, 5.0, 5.0))
    back = medio.read_rtstruct(path, like=like)
    planes = [np.array(c.ContourData, float).reshape(-1, 3)[:, :2] for c in header.ROIContourSequence[0].ContourSequence]
    areas = [abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2 for x, y in (plane.T for plane in planes)]  # shoelace
    assert back.array.sum() * 10 * 5 * 5 == pytest.approx(sum(areas) * 10, rel=1e-6)
    assert sum(areas) > 0
    assert [(s.name, s.algorithm) for s in back.meta["structures"]] == [("patient", "MANUAL")]
    assert [what for _, what in back.meta["not_drawn"]] == ["1 POINT", "1 POINT"]
    assert back.meta["outside"] == ()


def test_a_finer_grid_takes_the_nearest_outline_within_its_slab(tmp_path: Path) -> None:
    # planes 3 mm apart at slices 2, 3 and 7 of the drawn grid (7 stands alone); the grid has slices of 1 mm from the same origin
    fine = AXIAL.copy()
    fine[:3, 0] /= 3
    boxes = [_box(AXIAL, 2, (2.5, 5.5), (2.5, 5.5)), _box(AXIAL, 3, (2.5, 9.5), (2.5, 9.5)), _box(AXIAL, 7, (2.5, 5.5), (2.5, 5.5))]
    back = medio.read_rtstruct(_write(tmp_path / "rs.dcm", {"s": boxes}), like=_image(fine, (36, 30, 40)))
    areas = back.array[0].sum(axis=(1, 2))
    expected = np.zeros(36)
    expected[5:8], expected[8:11], expected[20:23] = 9, 49, 9  # a slab is 3 mm: the slice of the plane, one above, one below
    assert areas.tolist() == expected.tolist()


def test_the_slab_comes_from_the_argument_the_file_or_the_images_before_it_is_inferred(tmp_path: Path) -> None:
    two = {"s": [_box(AXIAL, 2, (2.5, 5.5), (2.5, 5.5)), _box(AXIAL, 6, (2.5, 5.5), (2.5, 5.5))]}

    def slices(path: Path, **extra: object) -> list[int]:
        meta = {"sop_instance_uids": ("1.2.5", "1.2.6")}
        return np.flatnonzero(medio.read_rtstruct(path, like=_image(AXIAL, **meta), **extra).array[0].any(axis=(1, 2))).tolist()

    plain = _write(tmp_path / "plain.dcm", two)
    assert slices(plain) == [0, 1, 2, 3, 4, 5, 6, 7, 8]  # 12 mm between planes, nothing else known
    assert slices(plain, slab=3.0) == [2, 6]
    assert slices(_write(tmp_path / "images.dcm", two, images=("1.2.5",))) == [2, 6]  # drawn on these very slices
    assert slices(_write(tmp_path / "other.dcm", two, images=("1.2.55",))) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert slices(_write(tmp_path / "stated.dcm", two, thickness=9.0)) == [1, 2, 3, 5, 6, 7]
    single = _write(tmp_path / "single.dcm", {"s": two["s"][:1]})
    with pytest.raises(GeometryError, match=r"pass slab= in mm"):
        slices(single)
    assert slices(single, slab=3.0) == [2]


def test_what_is_no_closed_outline_is_listed(tmp_path: Path) -> None:
    points = index_to_world(AXIAL, [(2, 1, 1), (2, 5, 5), (2, 5, 1)])
    path = _write(
        tmp_path / "rs.dcm",
        {
            "organ": [_box(AXIAL, 2, (2.5, 5.5), (2.5, 5.5)), _box(AXIAL, 3, (2.5, 5.5), (2.5, 5.5)), ("OPEN_PLANAR", points)],
            "marker": [("POINT", points[:1])],
            "line": [("OPEN_NONPLANAR", points), ("CLOSED_PLANAR", points[:2])],
            "nothing": [],
        },
    )
    back = medio.read_rtstruct(path, like=_image())
    assert [s.name for s in back.meta["structures"]] == ["organ"]
    assert set(back.meta["not_drawn"]) == {
        ("organ", "1 OPEN_PLANAR"),
        ("marker", "1 POINT"),
        ("line", "1 OPEN_NONPLANAR"),
        ("line", "1 CLOSED_PLANAR"),
        ("nothing", "no outline"),
    }
    with pytest.raises(UnsupportedError, match="no closed outline named 'marker'; it has organ"):
        medio.read_rtstruct(path, like=_image(), names=["marker"])


def test_structures_that_reach_beyond_the_grid_are_cut_and_named(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "rs.dcm",
        {
            "in": [_box(AXIAL, z, (-0.5, 29.5), (2.5, 5.5)) for z in (0, 1)],
            "wide": [_box(AXIAL, z, (2.5, 5.5), (2.5, 45)) for z in (2, 3)],
            "high": [_box(AXIAL, z, (2.5, 5.5), (2.5, 5.5)) for z in (11, 12)],
        },
    )
    back = medio.read_rtstruct(path, like=_image())
    assert back.meta["outside"] == ("wide", "high")
    assert back.array.sum(axis=(1, 2, 3)).tolist() == [2 * 30 * 3, 2 * 3 * 37, 9]


def test_tilted_outlines_and_other_frames_and_patients_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "rs.dcm", {"s": [_box(ROTATED, 2, (2.5, 5.5), (2.5, 5.5))]})
    with pytest.raises(GeometryError, match="an outline of 's' lies in no plane of the grid"):
        medio.read_rtstruct(path, like=_image(AXIAL))
    with pytest.raises(GeometryError, match=r"another FrameOfReferenceUID \(1\.2\.3\) than `like` \(1\.2\.4\)"):
        medio.read_rtstruct(path, like=_image(ROTATED, frame_of_reference_uid="1.2.4"))
    with pytest.raises(UnsupportedError, match=r"belongs to another patient \(study 1\.2\.8\)"):
        medio.read_rtstruct(path, like=_image(ROTATED, patient_id="P2"))
    with pytest.raises(GeometryError, match="`like` is a film"):
        medio.read_rtstruct(path, like=Image(np.zeros((4, 4)), None, (1, 1)))


def test_a_tilted_structure_does_not_keep_another_from_being_read(tmp_path: Path) -> None:
    straight = [_box(AXIAL, z, (2.5, 5.5), (2.5, 5.5)) for z in (2, 3)]
    path = _write(tmp_path / "rs.dcm", {"tilted": [_box(ROTATED, 2, (2.5, 5.5), (2.5, 5.5))], "straight": straight})
    with pytest.raises(GeometryError, match="an outline of 'tilted'"):
        medio.read_rtstruct(path, like=_image())
    assert medio.read_rtstruct(path, like=_image(), names=["straight"]).array.sum() == 2 * 9


def test_broken_outlines_and_other_objects_are_refused(tmp_path: Path, shared_data: Path) -> None:
    path = _write(tmp_path / "rs.dcm", {"s": [("CLOSED_PLANAR", np.zeros(10))]})
    with pytest.raises(CorruptFileError, match="holds 10 numbers, not three a point"):
        medio.read_rtstruct(path, like=_image(), slab=1.0)
    with pytest.raises(UnsupportedError, match="not an RTSTRUCT"):
        medio.read_rtstruct(shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "ct_image.dcm", like=_image())


@pytest.mark.parametrize("affine", [AXIAL, ROTATED], ids=["axial", "oblique"])
def test_written_structures_come_back_exactly(write_ct: WriteCT, tmp_path: Path, affine: np.ndarray) -> None:
    files = write_ct(tmp_path / "ct", np.zeros((5, 30, 40), np.uint16), affine)
    image = medio.read(files)
    masks = (np.random.default_rng(4).random((2, 5, 30, 40)) < 0.5).astype(np.uint8)  # holes, islands and corners that touch
    masks[0, 1] = 0
    structures = [
        Structure(number=1, name="PTV", kind="PTV", algorithm="AUTOMATIC"),
        Structure(number=7, name="Lunge rechts", kind="ORGAN"),
    ]
    path = medio.write_rtstruct(masks, files, structures, tmp_path / "rs.dcm", affine=image.affine)
    back = medio.read_rtstruct(path, like=image)
    assert np.array_equal(back.array, masks)
    assert back.meta["structures"] == tuple(structures)
    ds = dcmread(path)
    assert (ds.PatientID, ds.StudyInstanceUID) == ("P1", dcmread(files[0]).StudyInstanceUID)
    drawn = {c.ContourImageSequence[0].ReferencedSOPInstanceUID for roi in ds.ROIContourSequence for c in roi.ContourSequence}
    assert drawn == set(image.meta["sop_instance_uids"])


def test_masks_that_outlines_cannot_say_are_refused(write_ct: WriteCT, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", np.zeros((5, 30, 40), np.uint16), AXIAL)
    one = Structure(number=1, name="a")
    with pytest.raises(UnsupportedError, match="the masks of a are empty"):
        medio.write_rtstruct(np.zeros((1, 5, 30, 40), np.uint8), files, [one], tmp_path / "rs.dcm", affine=AXIAL)
    with pytest.raises(UnsupportedError, match="2 masks for 1 structures"):
        medio.write_rtstruct(np.ones((2, 5, 30, 40), np.uint8), files, [one], tmp_path / "rs.dcm", affine=AXIAL)
    with pytest.raises(GeometryError, match="does not lie on a slice of the masks"):
        medio.write_rtstruct(np.ones((1, 5, 30, 40), np.uint8), files, [one], tmp_path / "rs.dcm", affine=ROTATED)
    assert not (tmp_path / "rs.dcm").exists()
