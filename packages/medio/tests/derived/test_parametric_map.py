"""Parametric maps: what is written is what is read, in the same place."""

from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

import medio
from medio import CorruptFileError, GeometryError, UnsupportedError

WriteCT = Callable[..., list[Path]]
SHAPE = (4, 9, 11)
AFFINE = np.array([[0, 0, 0.7, -90], [0, 0.8, 0, 50], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])
ADC = ("113041", "DCM", "Apparent Diffusion Coefficient")
UNIT = ("um2/s", "UCUM", "um2/s")


@pytest.fixture
def source(write_ct: WriteCT, tmp_path: Path) -> Path:
    write_ct(tmp_path / "ct", np.zeros(SHAPE, np.uint16), AFFINE)
    return tmp_path / "ct"


def _values() -> np.ndarray:
    values = np.random.default_rng(5).normal(900, 300, SHAPE).astype(np.float32)
    values[1, 2, 3] = np.nan
    return values


def test_float_values_come_back_exactly_where_they_were(source: Path, tmp_path: Path) -> None:
    image = medio.read(source)
    path = medio.write_parametric_map(_values(), source, tmp_path / "pm.dcm", affine=image.affine, quantity=ADC, unit=UNIT)
    for like in (image, None):
        back = medio.read_parametric_map(path, like=like)
        assert back.array.dtype == np.float32
        assert np.array_equal(back.array, _values(), equal_nan=True)
        assert np.allclose(back.affine, image.affine, atol=1e-6)
    assert (back.unit, back.meta["quantity"], back.meta["unit_code"]) == ("um2/s", ADC, UNIT)


def test_scaled_values_come_back_within_half_a_step(source: Path, tmp_path: Path) -> None:
    values = np.nan_to_num(_values(), nan=-40)
    path = medio.write_parametric_map(values, source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit=UNIT, stored="uint16")
    back = medio.read_parametric_map(path).array
    step = (values.max() - values.min()) / 65535
    assert np.abs(back - values).max() <= 0.51 * step
    assert dcmread(path).BitsAllocated == 16
    flat = np.full(SHAPE, 7.5)
    path = medio.write_parametric_map(flat, source, tmp_path / "flat.dcm", affine=AFFINE, quantity=ADC, unit=UNIT, stored="uint16")
    assert (medio.read_parametric_map(path).array == 7.5).all()


@pytest.mark.parametrize("stored", ["float32", "uint16"])
def test_highdicom_reads_the_same_values_and_codes(source: Path, tmp_path: Path, stored: str) -> None:
    values = np.nan_to_num(_values(), nan=0)
    path = medio.write_parametric_map(values, source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit=UNIT, stored=stored)
    theirs = highdicom.imread(path).get_volume(apply_real_world_transform=True)
    ours = medio.read_parametric_map(path)
    assert np.allclose(theirs.array[::-1], ours.array, rtol=1e-6, atol=1e-6)  # their slices run against the normal
    item = dcmread(path).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert item.MeasurementUnitsCodeSequence[0].CodeValue == "um2/s"
    assert item.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "113041"


def test_real_tilted_ct_takes_a_map_and_its_frames_name_their_source(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt"
    values = np.random.default_rng(0).normal(size=(28, 512, 512)).astype(np.float32)
    path = medio.write_parametric_map(values, source, tmp_path / "pm.dcm", affine=None, quantity=ADC, unit=UNIT)
    ds = dcmread(path)
    pixels = np.frombuffer(ds.FloatPixelData, "<f4").reshape(values.shape)
    files = sorted(source.glob("*.dcm"), key=lambda p: float(dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]))
    uids = [str(dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in files]
    named = [g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for g in ds.PerFrameFunctionalGroupsSequence]
    assert [np.array_equal(pixels[i], values[uids.index(uid)]) for i, uid in enumerate(named)] == [True] * 28
    with pytest.raises(GeometryError, match="no single affine is right"):
        medio.read_parametric_map(path)


def test_a_real_adc_slice_takes_the_map_of_dcmqi(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_decode" / "dcmqi" / "data" / "paramaps"
    slice_ = folder / "pm-example-slice.dcm"
    image = medio.read(slice_)
    truth = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "pm-example-3slices-256x256.nrrd")))
    path = medio.write_parametric_map(truth[:1], slice_, tmp_path / "pm.dcm", affine=image.affine, quantity=ADC, unit=UNIT)
    assert np.array_equal(medio.read_parametric_map(path, like=image).array, truth[:1].astype(np.float32))


def _by_highdicom(source: Path, path: Path, pixels: np.ndarray, **mapping: object) -> Path:
    """Write a map without our writer."""
    headers = sorted((dcmread(p) for p in source.iterdir()), key=lambda ds: float(ds.ImagePositionPatient[2]))
    made = highdicom.pm.ParametricMap(
        headers,
        pixels,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "ACME",
        "M",
        "1",
        "0",
        contains_recognizable_visual_features=False,
        voi_lut_transformations=[highdicom.VOILUTTransformation(0.0, 10.0)],
        real_world_value_mappings=[
            highdicom.pm.RealWorldValueMapping("ADC", "map", highdicom.sr.CodedConcept(UNIT[0], UNIT[1], UNIT[2]), **mapping)
        ],
    )
    made.save_as(path)
    return path


def test_maps_that_highdicom_wrote_are_read_with_their_mapping(source: Path, tmp_path: Path) -> None:
    exact = np.random.default_rng(2).normal(size=SHAPE)
    double = medio.read_parametric_map(_by_highdicom(source, tmp_path / "f8.dcm", exact, value_range=(-9.0, 9.0), slope=2.0, intercept=1.0))
    assert double.array.dtype == np.float64
    assert np.allclose(double.array, exact * 2 + 1, rtol=1e-15)
    counts = np.random.default_rng(2).integers(0, 4, SHAPE).astype(np.uint8)
    table = [1.5, -2.0, 7.25]
    looked_up = medio.read_parametric_map(_by_highdicom(source, tmp_path / "lut.dcm", counts, value_range=(1, 3), lut_data=table))
    expected = np.select([counts == 1, counts == 2, counts == 3], table, np.nan)  # 0 is outside the mapped range
    assert np.array_equal(looked_up.array, expected, equal_nan=True)
    assert looked_up.meta["quantity"] is None


def test_a_map_of_another_frame_of_reference_or_kind_is_refused(source: Path, write_ct: WriteCT, tmp_path: Path) -> None:
    path = medio.write_parametric_map(_values(), source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit=UNIT)
    write_ct(tmp_path / "moved", np.zeros(SHAPE, np.uint16), AFFINE, FrameOfReferenceUID="1.2.3")
    with pytest.raises(GeometryError, match=r"another FrameOfReferenceUID \(.*\) than `like` \(1\.2\.3\)"):
        medio.read_parametric_map(path, like=medio.read(tmp_path / "moved"))
    with pytest.raises(UnsupportedError, match="not a DICOM parametric map"):
        medio.read_parametric_map(next(source.iterdir()))
    with pytest.raises(UnsupportedError, match="choose one with label="):
        medio.read_parametric_map(path, label="T1")


def test_values_that_cannot_be_stored_are_refused(source: Path, tmp_path: Path) -> None:
    def write(values: np.ndarray, **extra: str) -> None:
        medio.write_parametric_map(values, source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit=UNIT, **extra)

    with pytest.raises(UnsupportedError, match="uint16 cannot hold NaN"):
        write(_values(), stored="uint16")
    with pytest.raises(UnsupportedError, match="infinite"):
        write(np.full(SHAPE, np.inf))
    with pytest.raises(UnsupportedError, match="float32 cannot"):
        write(np.full(SHAPE, 1e300))
    with pytest.raises(GeometryError, match=r"the map is \(3, 9, 11\), its source has 4 frames"):
        write(_values()[:3])
    with pytest.raises(ValueError, match="unit must be"):
        medio.write_parametric_map(_values(), source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit="mm")  # type: ignore[arg-type]
    assert not (tmp_path / "pm.dcm").exists()


def test_a_cut_map_is_corrupt(source: Path, tmp_path: Path) -> None:
    path = medio.write_parametric_map(_values(), source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit=UNIT)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFileError):
        medio.read_parametric_map(path)


def test_the_check_after_writing_catches_values_that_moved(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(highdicom.pm.ParametricMap):
        def __init__(self, *, pixel_array: np.ndarray, **rest: object) -> None:
            super().__init__(pixel_array=np.roll(pixel_array, 1, axis=2), **rest)

    monkeypatch.setattr("highdicom.pm.ParametricMap", Shifted)
    with pytest.raises(GeometryError, match="came out with other values"):
        medio.write_parametric_map(_values(), source, tmp_path / "pm.dcm", affine=AFFINE, quantity=ADC, unit=UNIT)
    assert [p.name for p in tmp_path.iterdir()] == ["ct"]
