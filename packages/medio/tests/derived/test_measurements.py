"""Measurement reports: what is written is what is read, by us, by highdicom, and from other makers."""

from collections.abc import Callable
from dataclasses import replace
from math import hypot, isnan, sqrt
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file

import medio
from medio import (
    CorruptFileError,
    GeometryError,
    ImageReference,
    Measurement,
    MedioError,
    Region,
    Region3D,
    SegmentReference,
    UnsupportedError,
)

WriteCT = Callable[..., list[Path]]
SHAPE = (5, 30, 40)
AFFINE = np.array([[0, 0, 0.5, -90], [0, 0.25, 0, 50], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])
NODULE = ("27925004", "SCT", "Nodule")
LUNG = ("39607008", "SCT", "Lung")
LEFT = ("7771000", "SCT", "Left")
LESION = ("49755003", "SCT", "Morphologically Abnormal Structure")
AREA = ("42798000", "SCT", "Area")
MM2 = ("mm2", "UCUM", "square millimeter")
MEAN = ("373098007", "SCT", "Mean")
HU = ("[hnsf'U]", "UCUM", "Hounsfield unit")
TRACK: dict[str, Any] = {"tracking_id": "lesion 1", "tracking_uid": "2.25.111", "finding": NODULE, "sites": (LUNG,), "laterality": LEFT}


@pytest.fixture
def source(write_ct: WriteCT, tmp_path: Path) -> list[Path]:
    return write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)


def _uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _frame_of_reference(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).FrameOfReferenceUID)


def _segmentation(source: list[Path], folder: Path) -> Path:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 5:9, 5:9] = 1
    segment = medio.Segment(number=1, label="lesion", code=NODULE, category=LESION, tracking_id="lesion 1", tracking_uid="2.25.111")
    return medio.write_segmentation(mask, source, [segment], folder / "seg.dcm", affine=AFFINE)


def _all_kinds(source: list[Path], seg: Path) -> list[Measurement]:
    image, frame = _uid(source[2]), _frame_of_reference(source[0])
    line = Region("POLYLINE", ((3.0, 4.0), (6.0, 8.0)), image)
    across = Region("POLYLINE", ((3.0, 8.0), (6.0, 4.0)), image)
    square = ((1.0, 1.0), (1.0, 4.0), (4.0, 4.0), (4.0, 1.0), (1.0, 1.0))
    ring = ((0.0, 0, 35), (10, 0, 35), (10, 10, 35), (0, 0, 35))
    common = {"name": AREA, "value": 9.0, "unit": MM2, **TRACK}
    return [
        Measurement.long_axis(line, spacing=(0.25, 0.5), method=("112029", "DCM", "RECIST"), time_point="baseline", **TRACK),
        Measurement.short_axis(across, spacing=(0.25, 0.5), time_point="baseline", **TRACK),
        Measurement.volume(0.75, SegmentReference.of(seg, 1), category=LESION, **TRACK),
        Measurement(geometry=(SegmentReference(_uid(seg), frames=(2,)),), **common),
        Measurement(geometry=(Region("POLYLINE", square, image),), **common),
        Measurement(geometry=(Region("CIRCLE", ((9.0, 9.0), (9.0, 12.5)), image),), **common),
        Measurement(geometry=(Region("ELLIPSE", ((9.0, 2.0), (9.0, 12), (7, 7), (11, 7)), image),), **common),
        Measurement(geometry=(Region("POLYLINE", square, image), Region("POLYLINE", square, _uid(source[3]))), **common),
        Measurement(geometry=(Region("POINT", ((2.5, 3.25),), image),), **common),
        Measurement.long_axis(Region3D("POLYLINE", ((0, 0, 35), (3, 4, 35)), frame), **TRACK),
        Measurement(geometry=(Region3D("POLYGON", ring, frame),), **common),
        Measurement(geometry=(Region3D("ELLIPSE", ((0, 5, 35), (10, 5, 35), (5, 2, 35), (5, 8, 35)), frame),), **common),
        Measurement(
            geometry=(Region3D("POLYGON", ring, frame), Region3D("POLYGON", tuple((x, y, 37.5) for x, y, _ in ring), frame)), **common
        ),
        Measurement(
            geometry=(Region3D("ELLIPSOID", ((0, 5, 35), (10, 5, 35), (5, 2, 35), (5, 8, 35), (5, 5, 30), (5, 5, 40)), frame),), **common
        ),
        Measurement(geometry=(ImageReference(image), ImageReference(_uid(source[1]))), **common),
        Measurement(name=AREA, value=-119.07385253906, unit=HU, derivation=MEAN, tracking_id="aorta", tracking_uid="2.25.7"),
    ]


def test_every_kind_of_measurement_comes_back_equal_and_in_order(source: list[Path], tmp_path: Path) -> None:
    seg = _segmentation(source, tmp_path)
    given_ = _all_kinds(source, seg)
    path = medio.write_measurements(given_, source, tmp_path / "sr.dcm", segmentations=[seg], observer="Doe^Jane")
    assert medio.read_measurements(path) == tuple(given_)


def test_highdicom_finds_the_groups_numbers_and_drawings(source: list[Path], tmp_path: Path) -> None:
    seg = _segmentation(source, tmp_path)
    path = medio.write_measurements(_all_kinds(source, seg), source, tmp_path / "sr.dcm", segmentations=[seg])
    content = highdicom.sr.srread(path).content
    planar, volumetric, image = (
        content.get_planar_roi_measurement_groups(),
        content.get_volumetric_roi_measurement_groups(),
        content.get_image_measurement_groups(),
    )
    # planar: frame of a segment, square, circle, ellipse, 3D polygon, 3D ellipse; volumetric: segment, two squares, two polygons, ellipsoid;
    # image: both axes in one, point and 3D line in one, images, no place
    assert (len(planar), len(volumetric), len(image)) == (6, 4, 4)
    assert {str(group.tracking_uid) for group in (*planar, *volumetric)} == {"2.25.111"}
    axes = image[0].get_measurements()
    assert [axis.name.value for axis in axes] == ["103339001", "103340004"]
    # SCOORD counts (column, row) from the corner of the first pixel: row 3, column 4 is (4.5, 3.5)
    assert axes[0].referenced_coordinates[0].value.tolist() == [[4.5, 3.5], [8.5, 6.5]]
    assert volumetric[0].get_measurements()[0].value == 0.75
    assert volumetric[0].finding_sites[0].laterality.value == "7771000"


def test_a_reference_to_a_file_is_one_to_its_uid(source: list[Path], tmp_path: Path) -> None:
    seg = _segmentation(source, tmp_path)
    assert SegmentReference.of(seg, frames=(2, 3)) == SegmentReference(_uid(seg), None, (2, 3))
    with pytest.raises(ValueError, match="names a segment or frames"):
        SegmentReference.of(seg)


def test_diameters_follow_the_spacing_of_their_image(source: list[Path]) -> None:
    # 3 rows of 0.25 mm and 4 columns of 0.5 mm; in the patient a 3-4-5 triangle
    line = Region("POLYLINE", ((3.0, 4.0), (6.0, 8.0)), "1.2")
    assert Measurement.long_axis(line, spacing=(0.25, 0.5), **TRACK).value == pytest.approx(hypot(0.75, 2.0))
    assert Measurement.short_axis(Region3D("POLYLINE", ((0, 0, 35), (3, 4, 35)), "1.3"), **TRACK).value == 5.0
    with pytest.raises(ValueError, match=r"pass spacing=\(row, column\)"):
        Measurement.long_axis(line, **TRACK)
    with pytest.raises(ValueError, match="two points, got a POLYLINE of 3"):
        Measurement.long_axis(Region3D("POLYLINE", ((0, 0, 0), (1, 0, 0), (2, 0, 0)), "1.3"), **TRACK)


def test_a_lesion_keeps_its_tracking_uid_over_time(write_ct: WriteCT, tmp_path: Path) -> None:
    reports = []
    for visit, size in (("baseline", 10.0), ("week 8", 6.0)):
        files = write_ct(tmp_path / visit, np.zeros(SHAPE, np.uint16), AFFINE)
        line = Region3D("POLYLINE", ((0, 0, 35), (size, 0, 35)), _frame_of_reference(files[0]))
        reports.append(medio.write_measurements([Measurement.long_axis(line, time_point=visit, **TRACK)], files, tmp_path / f"{visit}.dcm"))
    (before,), (after,) = (medio.read_measurements(report) for report in reports)
    assert before.tracking_uid == after.tracking_uid == "2.25.111"
    assert (before.time_point, before.value, after.time_point, after.value) == ("baseline", 10.0, "week 8", 6.0)
    studies = {str(dcmread(report).StudyInstanceUID) for report in reports}
    assert len(studies) == 2


_NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=64)
_PIXEL = st.tuples(st.floats(-0.5, 29.5), st.floats(-0.5, 39.5))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_NUMBER, points=st.lists(_PIXEL, min_size=2, max_size=5), text=st.text("abcäßé ^=1", min_size=1, max_size=20))
def test_any_number_and_line_comes_back_exactly(source: list[Path], tmp_path: Path, value: float, points: list[Any], text: str) -> None:
    text = text.strip() or "x"
    line = Region("POLYLINE", tuple(points), _uid(source[0]))
    measurement = Measurement(name=AREA, value=value, unit=MM2, tracking_id=text, tracking_uid="2.25.5", geometry=(line,))
    path = medio.write_measurements([measurement], source, tmp_path / "sr.dcm")
    assert medio.read_measurements(path) == (measurement,)
    assert np.allclose(line.points, points, atol=4e-6)  # float32 at 40 pixels


def test_a_radiograph_takes_outlines_in_its_pixels(shared_data: Path, tmp_path: Path) -> None:
    film = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "dx_image.dcm"
    header = dcmread(film, stop_before_pixels=True)
    circle = Region("CIRCLE", ((5.0, 5.0), (5.0, 8.0)), str(header.SOPInstanceUID))
    found = Measurement(name=AREA, value=28.3, unit=MM2, geometry=(circle,), **TRACK)
    score = Measurement(
        name=("113011", "99TEST", "Probability of pneumothorax"),
        value=0.93,
        unit=("1", "UCUM", "no units"),
        tracking_id="image",
        tracking_uid="2.25.9",
        geometry=(ImageReference(str(header.SOPInstanceUID)),),
    )
    path = medio.write_measurements([found, score], film, tmp_path / "sr.dcm")
    assert medio.read_measurements(path) == (found, score)
    assert dcmread(path).SOPClassUID.name == "Comprehensive SR Storage"  # nothing in 3D: the older class, which more viewers know


def test_a_report_of_dcmqi_is_read_whole(shared_data: Path) -> None:
    path = shared_data / "dicom_decode" / "dcmqi" / "data" / "sr-example" / "sr.dcm"
    found = medio.read_measurements(path)
    assert len(found) == sum(1 for _ in _numbers(dcmread(path)))
    assert {m.tracking_id for m in found} == {"primary tumor"}
    first = found[0]
    assert (first.name, first.value) == (("126401", "DCM", "SUVbw"), 6.01529)
    assert first.unit == ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    assert first.finding == ("M-80003", "SRT", "Neoplasm, Primary")
    assert first.sites == (("T-C5300", "SRT", "pharyngeal tonsil (adenoid)"),)
    assert first.method == ("126410", "DCM", "SUV body weight calculation method")
    assert first.derivation is not None
    assert first.time_point == "1"
    assert first.geometry == (SegmentReference("1.2.276.0.7230010.3.1.4.8323329.18591.1440001312.777033", 1),)


def _numbers(item: Any) -> Any:
    for child in item.get("ContentSequence", []):
        if child.get("ConceptNameCodeSequence") and child.ConceptNameCodeSequence[0].CodeValue == "126010":
            yield from (c for group in child.ContentSequence for c in group.ContentSequence if c.ValueType == "NUM")


@pytest.mark.parametrize("name", ["sr_document.dcm", "sr_document_with_multiple_groups.dcm"])
def test_a_report_of_highdicom_holds_what_highdicom_reads(shared_data: Path, name: str) -> None:
    path = shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / name
    found = medio.read_measurements(path)
    document = dcmread(path)
    expected = [(c.ConceptNameCodeSequence[0].CodeMeaning, float(c.MeasuredValueSequence[0].NumericValue)) for c in _numbers(document)]
    assert [m.name[2] for m in found] == [name for name, _ in expected]
    # NumericValue rounds to 16 characters what FloatingPointValue holds exactly
    assert [m.value for m in found] == pytest.approx([value for _, value in expected], rel=1e-12)
    assert all(m.tracking_uid for m in found)
    if name == "sr_document.dcm":
        (area,) = found
        assert area.geometry[0] == Region("CIRCLE", ((51.5, 57.5), area.geometry[0].points[1]), area.geometry[0].sop_instance_uid)
        assert area.sites[0][2] == "Cervico-thoracic spine"
    else:
        kinds = [type(m.geometry[0]).__name__ + ":" + getattr(m.geometry[0], "kind", "") for m in found]
        assert kinds == ["ImageReference:", "Region:CIRCLE", "Region:POLYLINE", "Region3D:POINT"]
        groups = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
        theirs = [group.roi.value for group in groups]
        ours = [np.array(m.geometry[0].points)[:, ::-1] + 0.5 for m in found[1:3]]
        assert all(np.allclose(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_is_no_report_says_so(shared_data: Path) -> None:
    with pytest.raises(UnsupportedError, match="not a structured report"):
        medio.read_measurements(shared_data / "dicom_decode" / "highdicom" / "data" / "test_files" / "ct_image.dcm")
    with pytest.raises(UnsupportedError, match="holds no measurement group"):
        medio.read_measurements(Path(get_testdata_file("reportsi.dcm", download=False)))
    with pytest.raises(MedioError):
        medio.read_measurements(Path(get_testdata_file("test-SR.dcm", download=False)))


def test_drawings_on_absent_images_frames_and_segments_are_refused_by_uid(source: list[Path], tmp_path: Path) -> None:
    seg = _segmentation(source, tmp_path)
    here = _frame_of_reference(source[0])
    cases = [
        (Region("POINT", ((1.0, 1.0),), "1.2.99"), GeometryError, r"is drawn on 1\.2\.99, which is not among its sources"),
        (Region("POINT", ((1.0, 1.0),), _uid(source[0]), 2), GeometryError, "is drawn on frame 2 of .*, which has 1"),
        (Region("POINT", ((31.0, 1.0),), _uid(source[0])), GeometryError, "outside the 30x40 pixels"),
        (Region3D("POINT", ((1, 2, 3),), "1.2.98"), GeometryError, rf"FrameOfReferenceUID 1\.2\.98, its sources lie in {here}"),
        (SegmentReference("1.2.97", 1), GeometryError, r"segment 1 of 1\.2\.97, which is not among segmentations="),
        (SegmentReference(_uid(seg), 2), GeometryError, "segment 2 of"),
        (SegmentReference(_uid(seg), frames=(9,)), GeometryError, r"frames \(9,\) of .*, which has 3"),
        (SegmentReference(_uid(seg), 1, (1,)), UnsupportedError, "both a segment and frames"),
    ]
    for drawn, error, message in cases:
        with pytest.raises(error, match=message):
            medio.write_measurements(
                [Measurement(name=AREA, value=1, unit=MM2, geometry=(drawn,), **TRACK)], source, tmp_path / "sr.dcm", segmentations=[seg]
            )
    assert not (tmp_path / "sr.dcm").exists()


def test_measurements_without_tracking_number_or_order_are_refused(source: list[Path], tmp_path: Path) -> None:
    good = Measurement(name=AREA, value=1, unit=MM2, **TRACK)
    point, ring = Region("POINT", ((1.0, 1.0),), _uid(source[0])), Region("CIRCLE", ((5.0, 5.0), (5.0, 6.0)), _uid(source[0]))
    for bad, message in (
        (replace(good, tracking_uid="lesion-1"), "valid tracking_uid, got 'lesion-1'"),
        (replace(good, value=float("nan")), "is nan, which SR cannot hold"),
        (replace(good, geometry=(point, ring)), "mixes drawings"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            medio.write_measurements([bad], source, tmp_path / "sr.dcm")
    with pytest.raises(UnsupportedError, match="empty list"):
        medio.write_measurements([], source, tmp_path / "sr.dcm")
    with pytest.raises(ValueError, match="give sites too"):
        replace(good, sites=())


def test_a_report_of_another_patient_or_frame_of_reference_is_refused(source: list[Path], write_ct: WriteCT, tmp_path: Path) -> None:
    line = Region3D("POLYLINE", ((0, 0, 35), (3, 4, 35)), _frame_of_reference(source[0]))
    path = medio.write_measurements([Measurement.long_axis(line, **TRACK)], source, tmp_path / "sr.dcm")
    assert medio.read_measurements(path, like=medio.read(tmp_path / "ct"))[0].value == 5
    write_ct(tmp_path / "moved", np.zeros(SHAPE, np.uint16), AFFINE, FrameOfReferenceUID="1.2.3")
    with pytest.raises(GeometryError, match=rf"another FrameOfReferenceUID \({line.frame_of_reference_uid}\) than `like` \(1\.2\.3\)"):
        medio.read_measurements(path, like=medio.read(tmp_path / "moved"))
    write_ct(tmp_path / "other", np.zeros(SHAPE, np.uint16), AFFINE, PatientID="P2")
    with pytest.raises(UnsupportedError, match="belongs to another patient"):
        medio.read_measurements(path, like=medio.read(tmp_path / "other"))
    with pytest.raises(UnsupportedError, match="belongs to study"):
        medio.write_measurements(
            [Measurement.long_axis(line, **TRACK)],
            source,
            tmp_path / "no.dcm",
            segmentations=[_segmentation(_other(write_ct, tmp_path), tmp_path)],
        )


def _other(write_ct: WriteCT, folder: Path) -> list[Path]:
    return write_ct(folder / "second", np.zeros(SHAPE, np.uint16), AFFINE, PatientID="P2")


def test_a_number_that_a_report_withholds_is_nan_with_its_reason(source: list[Path], tmp_path: Path) -> None:
    path = medio.write_measurements([Measurement(name=AREA, value=sqrt(2), unit=MM2, **TRACK)], source, tmp_path / "sr.dcm")
    ds = dcmread(path)
    number = next(iter(_numbers(ds)))
    number.MeasuredValueSequence = []
    number.NumericValueQualifierCodeSequence = [highdicom.sr.CodedConcept("114000", "DCM", "Not a number")]
    ds.save_as(path)
    (withheld,) = medio.read_measurements(path)
    assert isnan(withheld.value)
    assert withheld.qualifier == ("114000", "DCM", "Not a number")


def test_a_drawing_that_makes_no_sense_is_corrupt(source: list[Path], tmp_path: Path) -> None:
    circle = Region("CIRCLE", ((5.0, 5.0), (5.0, 8.0)), _uid(source[0]))
    path = medio.write_measurements([Measurement(name=AREA, value=1, unit=MM2, geometry=(circle,), **TRACK)], source, tmp_path / "sr.dcm")
    ds = dcmread(path)
    group = ds.ContentSequence[-1].ContentSequence[0]
    drawn = next(item for item in group.ContentSequence if item.ValueType == "SCOORD")
    drawn.GraphicData = [1.0, 2.0, 3.0]
    ds.save_as(path)
    with pytest.raises(CorruptFileError, match="does not make sense"):
        medio.read_measurements(path)
