"""Several volumes in one series: told apart by what the headers say, named, and never mixed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

import medio
from medio import GeometryError, UnsupportedError

WriteSeries = Callable[..., list[Path]]
DEPTH = 3


def _volume(number: int, depth: int = DEPTH) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 4000, (depth, 6, 5)).astype(np.uint16)


def _slices(volumes: list[dict[Any, Any]], depth: int = DEPTH) -> list:
    """Slices of volumes that differ in the elements given, interleaved as scanners write them: all volumes at one position, then the next."""
    return [(_volume(v, depth)[z], (-10, -20, 30 + 2.5 * z), elements) for z in range(depth) for v, elements in enumerate(volumes)]


def _check(folder: Path, names: list[str], order: list[int] | None = None) -> medio.Volumes:
    found = medio.read_series(folder)
    assert list(found) == names
    for name, number in zip(names, order or range(len(names)), strict=True):
        assert np.array_equal(found[name].array, _volume(number))
        assert found[name].meta["volume"] == name
        assert found[name].affine[2, 3] == 30
    return found


KINDS: list[tuple[str, list[dict[Any, Any]], list[str], str, list[Any]]] = [
    (
        "echo",
        [{"EchoTime": "4.92", "EchoNumbers": 1}, {"EchoTime": "9.84", "EchoNumbers": 2}],
        ["echo 1 (4.92 ms)", "echo 2 (9.84 ms)"],
        "echo_time_ms",
        [4.92, 9.84],
    ),
    (
        "complex",
        [{"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}],
        ["magnitude", "phase"],
        "kind",
        ["magnitude", "phase"],
    ),
    (
        "dixon",
        [{"ImageType": ["DERIVED", "PRIMARY", "DIXON", kind]} for kind in ("FAT", "IN_PHASE", "OPP_PHASE", "WATER")],
        ["fat", "in phase", "opposed phase", "water"],
        "kind",
        ["fat", "in phase", "opposed phase", "water"],
    ),
    (
        "derived",
        [{"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", kind]} for kind in ("ADC", "TRACEW")],
        ["ADC", "trace"],
        "kind",
        ["ADC", "trace"],
    ),
    (
        "unknown type",
        [{"ImageType": ["DERIVED", "PRIMARY", kind]} for kind in ("AB", "CD")],
        ["DERIVED/PRIMARY/AB", "DERIVED/PRIMARY/CD"],
        "b_value",
        [None] * 2,
    ),
    ("inversion", [{"InversionTime": "100"}, {"InversionTime": "900"}], ["TI 100 ms", "TI 900 ms"], "inversion_time_ms", [100, 900]),
    ("flip angle", [{"FlipAngle": "2"}, {"FlipAngle": "15"}], ["flip 2 degrees", "flip 15 degrees"], "flip_angle", [2, 15]),
    ("energy", [{"Modality": "CT", "KVP": "80"}, {"Modality": "CT", "KVP": "140"}], ["80 kV", "140 kV"], "kvp", [80, 140]),
    (
        "kernel",
        [{"Modality": "CT", "ConvolutionKernel": k} for k in ("B30f", "B70s")],
        ["kernel B30f", "kernel B70s"],
        "kernel",
        ["B30f", "B70s"],
    ),
    ("time position", [{"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}], ["time 1", "time 2"], "phase", [None, None]),
    ("acquisition", [{"AcquisitionNumber": 7}, {"AcquisitionNumber": 9}], ["time 1", "time 2"], "phase", [None, None]),
    (
        "acquisition time",
        [{"AcquisitionDate": "20240101", "AcquisitionTime": t} for t in ("235959.5", "101112")],
        ["time 1", "time 2"],
        "time_s",
        # 10:11:12 is the earlier: 13 h 48 min 47.5 s before
        [0.0, 49727.5],
    ),
    (
        "pet frames",
        [{"Modality": "PT", "FrameReferenceTime": "5000"}, {"Modality": "PT", "FrameReferenceTime": "65000"}],
        ["time 1", "time 2"],
        "kind",
        ["", ""],
    ),
    ("instance number", [{}, {}], ["time 1", "time 2"], "time_s", [None, None]),
]


@pytest.mark.parametrize(("kind", "volumes", "names", "key", "values"), KINDS, ids=[k[0] for k in KINDS])
def test_each_kind_of_series_is_split_and_named(
    write_series: WriteSeries, tmp_path: Path, kind: str, volumes: list, names: list[str], key: str, values: list
) -> None:
    write_series(tmp_path / kind, _slices(volumes))
    found = _check(tmp_path / kind, names, [1, 0] if kind == "acquisition time" else None)
    assert [image.meta[key] for image in found.values()] == values


def _standard(b: float, g: tuple | None) -> dict[Any, Any]:
    return {"DiffusionBValue": b, **({} if g is None else {"DiffusionGradientOrientation": list(g)})}


def test_heart_phases_are_ranked_by_trigger_time_though_it_differs_from_slice_to_slice(write_series: WriteSeries, tmp_path: Path) -> None:
    slices = [
        (pixels, position, {"TriggerTime": str(40 * (number % 3) + (number // 3) * 1.5)})
        for number, (pixels, position, _) in enumerate(_slices([{}, {}, {}]))
    ]
    write_series(tmp_path / "heart", slices)
    found = _check(tmp_path / "heart", ["phase 1", "phase 2", "phase 3"])
    assert [image.meta["phase"] for image in found.values()] == [1, 2, 3]


def test_kinds_echoes_and_times_together_are_all_named(write_series: WriteSeries, tmp_path: Path) -> None:
    volumes = [
        {"EchoTime": te, "ImageType": ["ORIGINAL", "PRIMARY", part], "AcquisitionNumber": time}
        for part in ("M", "P")
        for te in ("2", "4")
        for time in (1, 2)
    ]
    write_series(tmp_path / "all", _slices(volumes))
    names = [f"{kind}, echo {e} ({te} ms), time {t}" for kind in ("magnitude", "phase") for e, te in ((1, 2), (2, 4)) for t in (1, 2)]
    _check(tmp_path / "all", names)


def test_what_differs_from_slice_to_slice_splits_nothing(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = _volume(0)
    slices = [
        (
            pixels[z],
            (0, 0, 2.5 * z),
            {"AcquisitionNumber": z + 1, "EchoTime": f"4.{z}", "AcquisitionDate": "20240101", "AcquisitionTime": f"10000{z}"},
        )
        for z in range(DEPTH)
    ]
    write_series(tmp_path / "one", slices)
    assert np.array_equal(medio.read(tmp_path / "one").array, pixels)
    assert list(medio.read_series(tmp_path / "one")) == ["volume"]


def test_two_slabs_apart_are_two_acquisitions(write_series: WriteSeries, tmp_path: Path) -> None:
    slabs = [(_volume(n)[z], (0, 0, 100 * n + 2.5 * z), {"AcquisitionNumber": n + 1}) for n in range(2) for z in range(DEPTH)]
    write_series(tmp_path / "slabs", slabs)
    found = medio.read_series(tmp_path / "slabs")
    assert list(found) == ["acquisition 1", "acquisition 2"]
    assert [image.affine[2, 3] for image in found.values()] == [0, 100]
    assert np.array_equal(found["acquisition 2"].array, _volume(1))


def test_three_planes_of_a_localizer_are_three_volumes(write_series: WriteSeries, tmp_path: Path) -> None:
    planes = {"axial": [1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1], "sagittal": [0, 1, 0, 0, 0, -1]}
    slices = [
        (_volume(n)[0], (0, 0, 0), {"ImageOrientationPatient": plane, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
        for n, plane in enumerate(planes.values())
    ]
    write_series(tmp_path / "scout", slices)
    found = medio.read_series(tmp_path / "scout")
    assert list(found) == [f"localizer {plane}" for plane in planes]
    assert [image.array.shape for image in found.values()] == [(1, 6, 5)] * 3
    assert found["localizer coronal"].affine[:3, 0] == pytest.approx([0, 2.5, 0])


def test_an_aborted_last_time_point_is_read_as_far_as_it_goes_and_said(write_series: WriteSeries, tmp_path: Path) -> None:
    slices = [s for n, s in enumerate(_slices([{"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}])) if n != 5]
    write_series(tmp_path / "cut", slices)
    found = medio.read_series(tmp_path / "cut")
    assert [len(image.array) for image in found.values()] == [3, 2]
    assert found["time 2"].meta["findings"] == ("time 2: 2 slices, other volumes have 3: it is not complete",)
    assert "time 2: 2 slices, other volumes have 3" in str(found.report)
    with pytest.raises(GeometryError, match="'time 1' and 'time 2' lie on different grids"):
        found.stack()


def test_a_stack_puts_the_volumes_on_a_leading_axis(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "dwi", _slices([_standard(0, None), _standard(900, (1, 0, 0)), _standard(900, (0, 1, 0))]))
    found = medio.read_series(tmp_path / "dwi")
    stack = found.stack()
    assert np.array_equal(stack.array, np.stack([_volume(n) for n in range(3)]))
    assert stack.meta["b_value"] == (0, 900, 900)
    assert stack.meta["gradient"] == (None, (1, 0, 0), (0, 1, 0))
    assert stack.meta["volumes"] == ("b0", "b900 #1", "b900 #2")
    assert "sop_instance_uids" not in stack.meta
    assert np.array_equal(found.stack(["b900 #2", "b0"]).array[0], _volume(2))
    with pytest.raises(UnsupportedError, match="has no volume 'b7'; it has b0, b900 #1, b900 #2"):
        found.stack(["b7"])


def test_read_takes_one_volume_by_name_and_lists_them_otherwise(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "dwi", _slices([_standard(0, None), _standard(1000, (1, 0, 0))]))
    assert np.array_equal(medio.read(tmp_path / "dwi", volume="b1000").array, _volume(1))
    with pytest.raises(UnsupportedError, match=r"2 volumes: 'b0' \(3 slices\), 'b1000' \(3 slices\); choose one, e\.g\. volume='b0'"):
        medio.read(tmp_path / "dwi")
    with pytest.raises(UnsupportedError, match="has no volume 'b7'; it holds 'b0'"):
        medio.read(tmp_path / "dwi", volume="b7")
    assert list(medio.read_series(tmp_path / "dwi", volumes=["b1000"])) == ["b1000"]


def test_one_broken_volume_stops_the_series_or_is_reported(write_series: WriteSeries, tmp_path: Path) -> None:
    slices = _slices([{"EchoTime": "1"}, {"EchoTime": "2"}], depth=5)
    write_series(tmp_path / "echo", [s for n, s in enumerate(slices) if n != 5])  # the third slice of echo 2
    with pytest.raises(
        GeometryError, match=r"echo \[echo 2 \(2 ms\)\]: slices are not evenly spaced.*5\.00 mm between .*: 1 slice is missing"
    ):
        medio.read_series(tmp_path / "echo")
    found = medio.read_series(tmp_path / "echo", on_error="report")
    assert list(found) == ["echo 1 (1 ms)"]
    assert "1 slice is missing" in found.refused["echo 2 (2 ms)"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(echoes=st.integers(1, 3), times=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_order_of_files_and_names_does_not_matter(
    write_series: WriteSeries, tmp_path_factory: pytest.TempPathFactory, echoes: int, times: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("mix")
    volumes = [{"EchoTime": str(1 + e), "AcquisitionNumber": t} for e in range(echoes) for t in range(times)]
    slices = _slices(volumes)
    paths = write_series(folder, slices)
    shuffled = [paths[n] for n in np.random.default_rng(seed).permutation(len(paths))]
    found = medio.read_series(shuffled)
    assert len(found) == echoes * times
    for number, image in enumerate(found.values()):
        assert np.array_equal(image.array, _volume(number))


def test_copies_of_whole_files_among_time_points_are_dropped(write_series: WriteSeries, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "times", _slices([{"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}]))
    (tmp_path / "times" / "again.dcm").write_bytes(paths[3].read_bytes())
    found = _check(tmp_path / "times", ["time 1", "time 2"])
    assert found.report.findings == ("again.dcm is a copy of 003.dcm: dropped",)


def test_inspection_reads_no_pixels_and_says_what_it_takes_for_copies(write_series: WriteSeries, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "times", _slices([{"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}]))
    (tmp_path / "times" / "again.dcm").write_bytes(paths[3].read_bytes()[:-30])  # pixels cut short: nobody looks
    report = medio.inspect_series(tmp_path / "times")
    assert [volume.name for volume in report.volumes] == ["time 1", "time 2"]
    assert report.findings == ("again.dcm has the SOPInstanceUID of 003.dcm: a copy, if their pixels agree",)
    assert not report.is_regular


def _functional(frames: list[dict[str, Any]]) -> list[Dataset]:
    groups = []
    for frame in frames:
        group = Dataset()
        for sequence, elements in frame.items():
            inner = Dataset()
            for keyword, value in elements.items():
                setattr(inner, keyword, value)
            setattr(group, sequence, [inner])
        groups.append(group)
    return groups


def test_an_enhanced_file_of_interleaved_frames_equals_the_classic_files(write_series: WriteSeries, tmp_path: Path) -> None:
    weights = [(0, None), (700, (0.0, 0.0, 1.0))]
    slices = _slices([_standard(b, g) for b, g in weights])
    write_series(tmp_path / "classic", slices)
    frames = []
    for number, (_, position, _elements) in enumerate(slices):
        b, g = weights[number % 2]
        diffusion: dict[str, Any] = {"DiffusionBValue": float(b)}
        if g:
            inner = Dataset()
            inner.DiffusionGradientOrientation = list(g)
            diffusion["DiffusionGradientDirectionSequence"] = [inner]
        frames.append(
            {
                "PlanePositionSequence": {"ImagePositionPatient": list(position)},
                "MRDiffusionSequence": diffusion,
                "PixelValueTransformationSequence": {"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "US"},
            }
        )
    shared = _functional(
        [
            {
                "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
                "PixelMeasuresSequence": {"PixelSpacing": [0.8, 0.7], "SliceThickness": 2.5},
            }
        ]
    )
    pixels = np.stack([pixels for pixels, _, _ in slices])
    (path,) = write_series(
        tmp_path / "enhanced",
        [(pixels, (0, 0, 0), {})],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        NumberOfFrames=len(slices),
        PerFrameFunctionalGroupsSequence=_functional(frames),
        SharedFunctionalGroupsSequence=shared,
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        SliceThickness=None,
    )
    assert dcmread(path).NumberOfFrames == 6
    classic, enhanced = medio.read_series(tmp_path / "classic"), medio.read_series(tmp_path / "enhanced")
    assert list(enhanced) == list(classic) == ["b0", "b700"]
    for name, image in classic.items():
        assert np.array_equal(enhanced[name].array, image.array)
        assert np.allclose(enhanced[name].affine, image.affine, atol=1e-9)
        assert enhanced[name].meta["gradient"] == image.meta["gradient"]


def test_colour_slices_make_a_volume_of_three_channels(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3), np.uint8)
    write_series(tmp_path / "rgb", [(pixels[z], (0, 0, 2 * z), {}) for z in range(3)])
    image = medio.read(tmp_path / "rgb")
    assert np.array_equal(image.array, np.moveaxis(pixels, -1, 0))
    assert image.spacing == (2, 0.8, 0.7)


def test_a_ct_without_uids_is_read(shared_data: Path) -> None:
    paths = sorted((shared_data / "ct_totalseg" / "example_ct_dicom").iterdir())
    assert not dcmread(paths[0]).SOPInstanceUID
    image = medio.read(paths)
    assert image.array.shape == (20, 512, 512)
    assert image.unit == "HU"


def test_a_capture_among_the_slices_is_left_out_and_said(write_series: WriteSeries, tmp_path: Path) -> None:
    nowhere = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ImagePositionPatient": None, "ImageOrientationPatient": None}
    slices = [(_volume(1)[0], (0, 0, 0), nowhere), *((_volume(0)[z], (0, 0, 2 * z), {}) for z in range(DEPTH))]
    write_series(tmp_path / "mr", slices)
    image = medio.read(tmp_path / "mr")
    assert np.array_equal(image.array, _volume(0))
    assert image.meta["findings"] == ("000.dcm has no place in the patient (a capture or a film): left out",)


def test_positions_rounded_differently_are_the_same_place(write_series: WriteSeries, tmp_path: Path) -> None:
    slices = [
        (pixels, (x, y, z + 0.003 * (number % 2)), elements)
        for number, (pixels, (x, y, z), elements) in enumerate(_slices([{"EchoTime": "1"}, {"EchoTime": "2"}]))
    ]
    write_series(tmp_path / "echo", slices)
    assert list(medio.read_series(tmp_path / "echo")) == ["echo 1 (1 ms)", "echo 2 (2 ms)"]


def test_the_one_volume_of_a_series_may_be_named(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "mr", _slices([{}]))
    assert np.array_equal(medio.read(tmp_path / "mr", volume="volume").array, _volume(0))
    with pytest.raises(UnsupportedError, match="holds one volume, none of the name 'b0'; leave volume= out"):
        medio.read(tmp_path / "mr", volume="b0")


def test_two_acquisitions_that_overlap_are_not_mixed(write_series: WriteSeries, tmp_path: Path) -> None:
    # the first covers z = 0 to 12.5, the second 7.5 to 20: three positions are in both
    slabs = [(_volume(n, 6)[z], (0, 0, 7.5 * n + 2.5 * z), {"AcquisitionNumber": n + 1}) for n in range(2) for z in range(6)]
    write_series(tmp_path / "slabs", slabs)
    found = medio.read_series(tmp_path / "slabs")
    assert list(found) == ["acquisition 1", "acquisition 2"]
    for number, image in enumerate(found.values()):
        assert np.array_equal(image.array, _volume(number, 6))
        assert image.affine[2, 3] == 7.5 * number


def test_overlapping_slices_that_only_their_numbers_tell_apart_are_refused(write_series: WriteSeries, tmp_path: Path) -> None:
    slabs = [(_volume(n, 6)[z], (0, 0, 7.5 * n + 2.5 * z), {}) for n in range(2) for z in range(6)]
    write_series(tmp_path / "slabs", slabs)
    with pytest.raises(
        GeometryError, match=r"12 slices at 9 positions, e\.g\. 003\.dcm and 006\.dcm at the same one with different pixels"
    ):
        medio.read_series(tmp_path / "slabs")
