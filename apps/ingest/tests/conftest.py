"""What the tests of med-ingest share: the command in this process, and a small archive."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from med_ingest.cli import app
from medrun.cli import run_typer


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # `scan` writes beside the reader where no --out is given

    def call(*words: object) -> Result:
        with pytest.raises(SystemExit) as stop:
            run_typer(app, name="med-ingest", errors=("medio.errors.MedioError",), argv=[str(w) for w in words])
        out, err = capsys.readouterr()
        return Result(int(stop.value.code or 0), out, err)

    return call


def ct(folder: Path, patient: str, slices: int = 4, *, date: str = "20240102", visit: str = "") -> None:
    folder.mkdir(parents=True)
    for z in range(slices):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=[patient, visit, str(z)])
        data.StudyInstanceUID, data.SeriesInstanceUID = (generate_uid(entropy_srcs=[patient, visit, what]) for what in ("study", "series"))
        data.FrameOfReferenceUID = generate_uid(entropy_srcs=[patient, visit, "frame"])
        data.PatientID, data.PatientName, data.Modality, data.StudyDate = patient, f"Name^{patient}", "CT", date
        data.StudyTime = "101112"
        data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing = [0, 0, 2 * z], [1, 0, 0, 0, 1, 0], [1, 1]
        data.SliceThickness, data.InstanceNumber = 2, z + 1
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 8, 8, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = np.full((8, 8), 10 * len(patient) + z, np.int16).tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dcmwrite(folder / f"{z}.dcm", data, enforce_file_format=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for patient in ("ONE111", "FOUR444", "THREE333"):
        ct(tmp_path / "archive" / patient, patient)
    (tmp_path / "archive" / "notes.txt").write_text("not DICOM")
    return tmp_path / "archive"
