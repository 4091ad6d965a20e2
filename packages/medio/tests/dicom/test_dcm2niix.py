"""Every real series against dcm2niix: values, geometry, volumes, gradients."""

import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

import medio

_SERIES = [
    "mr_philips_elition_mprage",
    "mr_philips_enhanced",
    "mr_siemens_skyra_epi_3",
    "mr_siemens_skyra_epi_4",
    "mr_siemens_skyra_epi_5",
    "mr_siemens_skyra_epi_6",
    "mr_siemens_vida_enhanced_agfa_pacs",
    "mr_siemens_vida_xa10_enhanced",
    "mr_uih_umr770_dti",
]
pytestmark = pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")


def _convert(folder: Path, out: Path) -> list[Path]:
    # -p n: the rescale of the header, not Philips' private one; names by series, echo and what dcm2niix adds
    done = subprocess.run(["dcm2niix", "-z", "n", "-p", "n", "-f", "s%s", "-o", str(out), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return sorted(out.glob("*.nii"))


def _volumes(path: Path) -> list[medio.Image]:
    """The volumes of a NIfTI file in our axes: z, y, x and LPS."""
    nifti = nibabel.load(path)
    data = nifti.get_fdata(dtype=np.float64)
    affine = np.diag([-1.0, -1, 1, 1]) @ nifti.affine[:, [2, 1, 0, 3]]
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0))
    return [medio.Image(volume.T, affine, spacing) for volume in np.moveaxis(data.reshape(*data.shape[:3], -1), -1, 0)]


def _farthest_corner_mm(a: medio.Image, b: medio.Image) -> float:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.array.shape], [1], indexing="ij")).reshape(4, -1)
    return float(np.linalg.norm(((a.affine - b.affine) @ corners)[:3], axis=0).max())


@pytest.mark.parametrize("name", _SERIES)
def test_every_real_series_has_the_values_and_places_of_dcm2niix(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = shared_data / "dicom_multivendor" / name
    theirs = [volume for path in _convert(folder, tmp_path) for volume in _volumes(path)]
    ours = list(medio.read_series(folder).values())
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        other = medio.reorient(other, medio.axis_letters(mine.affine))  # they turn columns upside down
        # NIfTI's scale factors are float32
        assert np.allclose(mine.array, other.array, rtol=1e-6, atol=1e-4)
        # NIfTI's affine is float32: 6e-8 of 300 mm is 2e-5 mm
        assert np.abs(mine.affine - other.affine).max() < 1e-4
        # dcm2niix takes the slice distance from two neighbours, we from the first to the last: 8e-6 mm a slice apart in 170 Philips slices
        assert _farthest_corner_mm(mine, other) < max(1e-4, 1e-5 * len(mine.array))


def test_the_slices_of_a_real_tilted_ct_have_the_values_of_dcm2niix(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt"
    plain = next(
        path for path in _convert(folder, tmp_path) if "Tilt" not in path.name
    )  # slices as they are; the other is their own interpolation
    (theirs,) = _volumes(plain)
    slices = [medio.read(path) for path in folder.glob("*.dcm")]
    slices.sort(key=lambda image: image.affine[2, 3])
    letters = medio.axis_letters(slices[0].affine)
    other = medio.reorient(theirs, "S" + letters[1:])
    assert np.array_equal(np.concatenate([image.array for image in slices]), other.array)


def test_real_gradients_are_those_of_dcm2niix_in_the_patients_frame(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_multivendor" / "mr_uih_umr770_dti"
    (path,) = _convert(folder, tmp_path)
    b_values, directions = (np.loadtxt(path.with_suffix(suffix)) for suffix in (".bval", ".bvec"))
    # FSL's directions are along the axes of the written image, x reversed where its affine has a positive determinant.
    axes = nibabel.load(path).affine[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    sign = -1 if np.linalg.det(axes) > 0 else 1
    for number, image in enumerate(medio.read_series(folder).values()):
        assert image.meta["b_value"] == pytest.approx(b_values[number], rel=1e-5)
        if number:
            world = np.diag([-1, -1, 1]) @ axes @ (directions[:, number] * (sign, 1, 1))
            assert np.allclose(image.meta["gradient"], world, atol=1e-4)
    assert next(iter(medio.read_series(folder).values())).meta["gradient"] is None


def test_a_real_field_map_knows_its_echo_times(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_multivendor" / "mr_philips_enhanced"
    said = {json.loads(path.read_text()).get("EchoTime") for path in _convert(folder, tmp_path) for path in [path.with_suffix(".json")]}
    assert medio.read(folder, volume="magnitude").meta["echo_time_ms"] / 1000 in said
