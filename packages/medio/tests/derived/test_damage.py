"""Damaged derived objects: an answer or one of our errors, never anything else."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

import medio
from medio import CorruptFileError, GeometryError, Image, Measurement, MedioError, Region, Region3D, Segment, SegmentReference

WriteCT = Callable[..., list[Path]]
SHAPE = (4, 9, 11)
AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.8, 0, 50], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])
NODULE = ("27925004", "SCT", "Nodule")
SEGMENTS = [Segment(number=n, label=f"s{n}", code=NODULE, tracking_id=f"{n}", tracking_uid=f"2.25.{n}") for n in (1, 2)]
WIDE = Image(
    np.zeros((10, 20, 20), np.uint8), np.array([[0, 0, 20, -200], [0, 20.0, 0, -200], [10, 0, 0, -200], [0, 0, 0, 1]]), (10, 20, 20)
)

Reader = Callable[[Path], Any]


def _objects(files: list[Path], folder: Path) -> list[tuple[bytes, Reader]]:
    stack = np.zeros((2, *SHAPE), np.uint8)
    stack[0, 1:3, 2:8, 2:9], stack[1, 2:4, 4:6, 4:6] = 1, 1
    labels = stack[0] * (1 - stack[1]) + 2 * stack[1]
    quantity, unit = ("113041", "DCM", "ADC"), ("um2/s", "UCUM", "um2/s")
    seg = medio.write_segmentation(stack, files, SEGMENTS, folder / "b.dcm", affine=AFFINE)
    header = dcmread(files[0])
    uid, frame = str(header.SOPInstanceUID), str(header.FrameOfReferenceUID)
    track: dict[str, Any] = {"tracking_id": "1", "tracking_uid": "2.25.1", "finding": NODULE, "sites": (NODULE,)}
    measurements = [
        Measurement.long_axis(Region("POLYLINE", ((3, 4), (6, 8)), uid), spacing=(0.8, 0.7), **track),
        Measurement.long_axis(Region3D("POLYLINE", ((3, 4, 1), (6, 8, 1)), frame), **track),
        Measurement.volume(0.7, SegmentReference(str(dcmread(seg).SOPInstanceUID), 1), **track),
    ]

    def masks(path: Path) -> Any:
        return medio.read_segmentation(path, overlap="stack")

    made: list[tuple[Path, Reader]] = [
        (seg, masks),
        (medio.write_segmentation(stack, files, SEGMENTS, folder / "f.dcm", affine=AFFINE, kind="FRACTIONAL", compressed=True), masks),
        (medio.write_segmentation(labels, files, SEGMENTS, folder / "l.dcm", affine=AFFINE, kind="LABELMAP"), masks),
        (
            medio.write_parametric_map(stack[0], files, folder / "p.dcm", affine=AFFINE, quantity=quantity, unit=unit),
            medio.read_parametric_map,
        ),
        (medio.write_measurements(measurements, files, folder / "m.dcm", segmentations=[seg]), medio.read_measurements),
        (Path(get_testdata_file("rtstruct.dcm", download=False)), lambda path: medio.read_rtstruct(path, like=WIDE)),
    ]
    return [(path.read_bytes(), reader) for path, reader in made]


def _mutate(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    place = int(rng.integers(len(out)))
    match int(rng.integers(4)):
        case 0:
            return bytes(out[:place])
        case 1:
            for at in rng.integers(min(len(out), 8000), size=int(rng.integers(1, 6))):
                out[at] ^= 1 << int(rng.integers(8))
        case 2:
            out[place : place + int(rng.integers(1, 5))] = rng.bytes(4)
        case _:
            del out[place : place + int(rng.integers(1, 40))]
    return bytes(out)


def _survive(objects: list[tuple[bytes, Reader]], folder: Path, count: int, seed: int) -> int:
    refused: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of each odd value
        for number in range(count):
            data, read = objects[number % len(objects)]
            path = folder / "damaged.dcm"
            path.write_bytes(_mutate(data, np.random.default_rng([seed, number])))
            try:
                read(path)
            except MedioError as error:
                refused.append(str(error))
    assert [text for text in refused if "\n" in text] == []  # one line each
    return len(refused)


def test_damaged_objects_are_read_or_refused_in_one_line(write_ct: WriteCT, tmp_path: Path) -> None:
    objects = _objects(write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE), tmp_path)
    refused = _survive(objects, tmp_path, 240, 0)
    assert 60 < refused < 220


@pytest.mark.slow
def test_two_thousand_more_damaged_objects_are_read_or_refused(write_ct: WriteCT, tmp_path: Path) -> None:
    objects = _objects(write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE), tmp_path)
    _survive(objects, tmp_path, 2000, 1)


def test_every_shortening_of_a_seg_is_refused(write_ct: WriteCT, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)
    mask = np.ones(SHAPE, np.uint8)
    path = medio.write_segmentation(mask, files, SEGMENTS[:1], tmp_path / "seg.dcm", affine=AFFINE)
    data = path.read_bytes()
    for end in range(140, len(data) - 2, 97):
        path.write_bytes(data[:end])
        with pytest.raises(MedioError):
            medio.read_segmentation(path)


def test_a_frame_a_kilometre_away_claims_no_memory(write_ct: WriteCT, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)
    path = medio.write_segmentation(np.ones(SHAPE, np.uint8), files, SEGMENTS[:1], tmp_path / "seg.dcm", affine=AFFINE)
    ds = dcmread(path)
    ds.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient = [-90, 50, 1e6]
    ds.save_as(path)
    with pytest.raises(GeometryError, match=r"its 4 frames lie .* slices apart"):
        medio.read_segmentation(path)


def test_a_segment_without_its_number_and_fractions_without_pixels_are_corrupt(write_ct: WriteCT, tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)
    path = medio.write_segmentation(np.ones(SHAPE, np.uint8), files, SEGMENTS[:1], tmp_path / "seg.dcm", affine=AFFINE)
    ds = dcmread(path)
    for group in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
        group.pop("SegmentIdentificationSequence", None)
    ds.save_as(path)
    with pytest.raises(CorruptFileError, match="frame 1 does not say its segment"):
        medio.read_segmentation(path)
