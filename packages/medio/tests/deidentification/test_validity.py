"""A copy is as valid as its original: dciodvfy (dicom3tools) finds no error in it that it did not find before."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from medio.deidentification.dataset import deidentify
from medio.deidentification.policy import Policy

pytestmark = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is absent; Debian has it in dicom3tools")
POLICY = Policy(key="a secret of 24 letters..", clean_structured=True, clean_graphics=True)
OURS = ["CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "rtstruct.dcm", "test-SR.dcm", "reportsi.dcm", "liver.dcm", "emri_small.dcm"]
REAL = ["dicom_multivendor/mr_siemens_vida_xa10_enhanced/6_1.dcm", "dicom_multivendor/mr_uih*/*1.dcm", "dicom_multivendor/ct_ge*/*.dcm"]
REAL += ["dicom_decode/**/sr.dcm", "dicom_decode/**/sr_document.dcm"]


def errors(path: Path) -> set[str]:
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False).stderr.decode(errors="replace")
    return {re.sub(r"\d+(\.\d+){2,}", "UID", line) for line in said.splitlines() if line.startswith("Error")}


def prove(path: Path, folder: Path, policy: Policy) -> None:
    result, _ = deidentify(dcmread(path, force=True), policy)
    dcmwrite(folder / "copy.dcm", result, enforce_file_format=True)
    assert errors(folder / "copy.dcm") - errors(path) == set()


@pytest.mark.parametrize("name", OURS)
def test_a_copy_of_a_test_file_has_no_error_that_the_original_has_not(name: str, tmp_path: Path) -> None:
    prove(Path(str(get_testdata_file(name, download=False))), tmp_path, POLICY)


@pytest.mark.parametrize("pattern", REAL)
def test_a_copy_of_a_real_file_has_no_error_that_the_original_has_not(pattern: str, tmp_path: Path, shared_data: Path) -> None:
    path = sorted(shared_data.glob(pattern))[0]
    prove(path, tmp_path, POLICY)
    prove(
        path,
        tmp_path,
        Policy(key=POLICY.key, clean_structured=True, clean_descriptors=True, keep_safe_private=True, dates="keep", keep_device=True),
    )


def test_dciodvfy_sees_an_error(tmp_path: Path) -> None:
    dataset = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    del dataset.Modality
    dcmwrite(tmp_path / "bad.dcm", dataset)
    assert any("Modality" in error for error in errors(tmp_path / "bad.dcm"))
