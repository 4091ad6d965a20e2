"""What we write satisfies the validators of others: dciodvfy (dicom3tools), dcmdump and dsrdump (dcmtk)."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

import medio
from medio import ImageReference, Measurement, Region, Region3D, Segment, SegmentReference

WriteCT = Callable[..., list[Path]]
SHAPE = (4, 9, 11)
AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.8, 0, 50], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])
NODULE = ("27925004", "SCT", "Nodule")
LUNG = ("39607008", "SCT", "Lung")
SEGMENTS = [
    Segment(number=1, label="lung", code=LUNG, algorithm="net", algorithm_version="1"),
    Segment(number=2, label="nodule", code=NODULE, sites=(LUNG,), tracking_id="lesion 1", tracking_uid="2.25.1"),
]
TRACK = {"tracking_id": "lesion 1", "tracking_uid": "2.25.1", "finding": NODULE, "sites": (LUNG,)}
AREA, MM2 = ("42798000", "SCT", "Area"), ("mm2", "UCUM", "square millimeter")


def _run(tool: str, *arguments: str) -> tuple[int, list[str]]:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (Debian: dicom3tools for dciodvfy, dcmtk for the others)")
    done = subprocess.run([tool, *arguments], capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()


@pytest.fixture
def source(write_ct: WriteCT, tmp_path: Path) -> list[Path]:
    return write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)


def _stack() -> np.ndarray:
    stack = np.zeros((2, *SHAPE), np.float32)
    stack[0, 1:3, 2:8, 2:9] = 1
    stack[1, 2:4, 4:6, 4:6] = 0.5
    return stack


def _binary(source: list[Path], path: Path) -> Path:
    return medio.write_segmentation(np.ceil(_stack()).astype(np.uint8), source, SEGMENTS, path, affine=AFFINE)


def _fractional(source: list[Path], path: Path) -> Path:
    return medio.write_segmentation(_stack(), source, SEGMENTS, path, affine=AFFINE, kind="FRACTIONAL")


def _label_map(source: list[Path], path: Path) -> Path:
    labels = (_stack()[0] * (_stack()[1] == 0) + 2 * (_stack()[1] > 0)).astype(np.uint8)
    return medio.write_segmentation(labels, source, SEGMENTS, path, affine=AFFINE, kind="LABELMAP")


def _compressed(source: list[Path], path: Path) -> Path:
    return medio.write_segmentation(_stack(), source, SEGMENTS, path, affine=AFFINE, kind="FRACTIONAL", compressed=True)


def _map(source: list[Path], path: Path) -> Path:
    quantity, unit = ("113041", "DCM", "Apparent Diffusion Coefficient"), ("um2/s", "UCUM", "um2/s")
    return medio.write_parametric_map(_stack()[1], source, path, affine=AFFINE, quantity=quantity, unit=unit)


def _scaled_map(source: list[Path], path: Path) -> Path:
    quantity, unit = ("113041", "DCM", "Apparent Diffusion Coefficient"), ("um2/s", "UCUM", "um2/s")
    return medio.write_parametric_map(_stack()[1], source, path, affine=AFFINE, quantity=quantity, unit=unit, stored="uint16")


def _colour(source: list[Path], path: Path) -> Path:
    return medio.write_capture(np.zeros((9, 11, 3), np.uint8), source, path, description="overlay")


def _grey(source: list[Path], path: Path) -> Path:
    return medio.write_capture(np.zeros((9, 11), np.uint16), source, path, description="overlay")


def _note(source: list[Path], path: Path) -> Path:
    return medio.write_key_images(source[:2], path, description="nodule", observer="Doe^Jane")


def _structures(source: list[Path], path: Path) -> Path:
    structures = [
        medio.Structure(number=1, name="lung", kind="ORGAN", algorithm="AUTOMATIC"),
        medio.Structure(number=2, name="nodule", kind="GTV"),
    ]
    return medio.write_rtstruct(np.ceil(_stack()).astype(np.uint8), source, structures, path, affine=AFFINE)


def _report(source: list[Path], path: Path) -> Path:
    header = dcmread(source[2])
    seg = _binary(source, path.parent / "seg.dcm")
    image, frame, uid = str(header.SOPInstanceUID), str(header.FrameOfReferenceUID), str(dcmread(seg).SOPInstanceUID)
    square = Region("POLYLINE", ((1, 1), (1, 4), (4, 4), (4, 1), (1, 1)), image)
    ring = Region3D("POLYGON", ((0, 0, 35), (10, 0, 35), (10, 10, 35)), frame)
    measurements = [
        Measurement.long_axis(Region("POLYLINE", ((3, 4), (6, 8)), image), spacing=(0.8, 0.7), time_point="baseline", **TRACK),
        Measurement.volume(0.75, SegmentReference(uid, 2), **TRACK),
        Measurement(name=AREA, value=9, unit=MM2, geometry=(SegmentReference(uid, frames=(3,)),), **TRACK),
        Measurement(name=AREA, value=9, unit=MM2, geometry=(square,), **TRACK),
        Measurement(name=AREA, value=9, unit=MM2, geometry=(square, Region("CIRCLE", ((2, 2), (2, 3)), image)), **TRACK),
        Measurement(name=AREA, value=9, unit=MM2, geometry=(ring,), **TRACK),
        Measurement(name=AREA, value=9, unit=MM2, geometry=(ImageReference(image),), **TRACK),
    ]
    return medio.write_measurements(measurements, source, path, segmentations=[seg], observer="Doe^Jane")


WRITERS = [_binary, _fractional, _compressed, _map, _scaled_map, _colour, _grey, _note, _report, _structures]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.strip("_"))
def test_dciodvfy_finds_no_error(source: list[Path], tmp_path: Path, write: Callable[[list[Path], Path], Path]) -> None:
    path = write(source, tmp_path / "object.dcm")
    _, lines = _run("dciodvfy", "-new", str(path))
    assert [line for line in lines if line.startswith("Error")] == []


# dciodvfy does not know the label map SOP class yet; dcmdump reads its elements all the same
@pytest.mark.parametrize("write", [*WRITERS, _label_map], ids=lambda write: write.__name__.strip("_"))
def test_dcmdump_reads_every_element(source: list[Path], tmp_path: Path, write: Callable[[list[Path], Path], Path]) -> None:
    code, lines = _run("dcmdump", str(write(source, tmp_path / "object.dcm")))
    assert code == 0
    assert [line for line in lines if line.startswith(("E:", "W:", "F:"))] == []


@pytest.mark.parametrize("write", [_note, _report], ids=lambda write: write.__name__.strip("_"))
def test_dsrdump_prints_the_tree_without_error(source: list[Path], tmp_path: Path, write: Callable[[list[Path], Path], Path]) -> None:
    code, lines = _run("dsrdump", "-Ec", str(write(source, tmp_path / "object.dcm")))
    assert code == 0
    assert [line for line in lines if line.startswith(("E:", "F:"))] == []
    assert any("CONTAINER" in line for line in lines)


def test_dsrdump_shows_the_tracking_uid_and_the_numbers(source: list[Path], tmp_path: Path) -> None:
    _, lines = _run("dsrdump", "+Pl", str(_report(source, tmp_path / "object.dcm")))
    text = "\n".join(lines)
    assert '"Tracking Unique Identifier")="2.25.1"' in text
    assert text.count('"Area")="9.0" (mm2,UCUM') == 5
    assert "Long axis" in text
