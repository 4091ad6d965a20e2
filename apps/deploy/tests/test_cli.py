import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from med_deploy.cli import main
from medio import Image, read, read_segmentation, write


@pytest.fixture
def command(monkeypatch, capsys):
    """Run med-deploy with arguments; gives exit code, standard output and error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["med-deploy", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def one_line(err):
    """The error, which must be the only line beside progress, and no traceback."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("med-deploy: error:")]
    assert len(lines) == 1, err
    return lines[0]


def dicom(image: Image, folder: Path) -> Path:
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for z, plane in enumerate(image.array):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.PatientID, ds.PatientName = "CT", "P1", "Phantom^One"
        ds.InstanceNumber = z + 1
        ds.Rows, ds.Columns = plane.shape
        ds.PixelSpacing, ds.SliceThickness = list(image.spacing[1:]), image.spacing[0]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = (image.affine @ [z, 0, 0, 1])[:3].tolist()
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = plane.astype(np.int16).tobytes()
        ds.save_as(folder / f"{z:03d}.dcm", enforce_file_format=True)
    return folder


def test_export_verify_and_info_go_together(command, segmentation, tmp_path):
    code, out, _ = command("export", "--artifact", segmentation.artifact, "--out", tmp_path / "b")
    assert code == 0
    assert f"bundle: {tmp_path / 'b'}" in out
    code, out, _ = command("verify", "--bundle", tmp_path / "b", "--artifact", segmentation.artifact)
    assert code == 0
    assert out.rstrip().endswith("passed")
    assert float(re.search(r"largest difference\W+([\d.e+-]+)", out).group(1)) < 1e-4
    code, out, _ = command("info", "--bundle", tmp_path / "b")
    assert code == 0
    assert re.search(r"classes\W+background, ball", out)
    assert re.search(r"spacing, mm\W+2 x 2 x 2", out)


def test_a_bundle_of_other_weights_does_not_verify(command, segmentation, classification):
    code, _, err = command("verify", "--bundle", classification.bundle, "--artifact", segmentation.artifact)
    assert code == 2
    assert "does not say what" in one_line(err)
    assert "classes differ" in one_line(err)


def test_a_dicom_series_becomes_a_dicom_seg(command, segmentation, scan, tmp_path):
    source = dicom(scan, tmp_path / "ct")
    codes = tmp_path / "codes.json"
    codes.write_text(
        json.dumps({"ball": {"code": ["27925004", "SCT", "Nodule"], "category": ["49755003", "SCT", "Morphologically Abnormal Structure"]}})
    )
    code, out, err = command(
        "run", "--bundle", segmentation.bundle, "--input", source, "--out", tmp_path / "seg.dcm", "--codes", codes, "--threads", 1
    )
    assert code == 0, err
    assert "answer:" in out
    seg = read_segmentation(tmp_path / "seg.dcm", like=read(source))
    assert seg.meta["segments"][0].code == ("27925004", "SCT", "Nodule")
    # the same image as NIfTI gives the same mask
    write(read(source), tmp_path / "ct.nii.gz")
    assert command("run", "--bundle", segmentation.bundle, "--input", tmp_path / "ct.nii.gz", "--out", tmp_path / "m.nii.gz")[0] == 0
    mask = read(tmp_path / "m.nii.gz")
    assert 0 < (mask.array > 0).sum() == (seg.array > 0).sum()
    write(Image(seg.array, seg.affine, seg.spacing), tmp_path / "seg.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "seg.nii.gz").array, mask.array)
    np.testing.assert_allclose(read(tmp_path / "seg.nii.gz").affine, mask.affine, atol=1e-4)


def test_a_dicom_seg_without_codes_is_refused_before_any_work(command, segmentation, tmp_path):
    code, _, err = command("run", "--bundle", segmentation.bundle, "--input", tmp_path, "--out", tmp_path / "seg.dcm")
    assert code == 2
    assert "needs the code of each class (ball); give --codes FILE" in one_line(err)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must map class names"),
        ("{}", "lacks the classes ball"),
        ('{"ball": ["1", "SCT"]}', "the code of ball cannot be used"),
    ],
)
def test_a_table_of_codes_that_cannot_be_used_is_refused(command, segmentation, tmp_path, content, message):
    codes = tmp_path / "codes.json"
    codes.write_text(content)
    code, _, err = command("run", "--bundle", segmentation.bundle, "--input", tmp_path, "--out", tmp_path / "seg.dcm", "--codes", codes)
    assert code == 2
    assert f"{codes}: {message}" in one_line(err)


def test_a_film_gets_calibrated_probabilities_as_json(command, classification, tmp_path):
    film = np.random.default_rng(0).integers(0, 255, (64, 60), dtype=np.uint8)
    write(Image(film, None, (0.2, 0.2)), tmp_path / "film.png")
    arguments = ("run", "--bundle", classification.bundle, "--input", tmp_path / "film.png", "--out", tmp_path / "o" / "answer.json")
    code, out, _ = command(*arguments, "--spacing", "0.2,0.2")
    assert code == 0
    answer = json.loads((tmp_path / "o" / "answer.json").read_text())
    assert answer["calibrated"] is True
    assert answer["probabilities"].keys() == {"effusion", "nodule"}
    assert all(0 < p < 1 for p in answer["probabilities"].values())
    assert "effusion" in out
    # a PNG says nothing of its pixels' size: it is asked for, never guessed
    code, _, err = command(*arguments)
    assert code == 2
    assert "film.png" in one_line(err)
    assert "spacing" in one_line(err)


def test_volumes_as_json_are_those_of_the_mask(command, segmentation, scan, tmp_path):
    write(scan, tmp_path / "ct.nii.gz")
    for out in ("m.nii.gz", "m.json"):
        assert command("run", "--bundle", segmentation.bundle, "--input", tmp_path / "ct.nii.gz", "--out", tmp_path / out)[0] == 0
    voxels = int((read(tmp_path / "m.nii.gz").array == 1).sum())
    answer = json.loads((tmp_path / "m.json").read_text())
    assert answer["volumes_ml"]["ball"] == pytest.approx(voxels * 3 * 1.5 * 1.5 / 1000, rel=1e-5)


def test_an_unknown_option_is_answered_with_the_one_that_was_meant(command):
    code, _, err = command("run", "--bundel", "x")
    assert code == 2
    assert "--bundel" in one_line(err)
    assert "--bundle" in one_line(err).split("--bundel", 1)[1]


def test_a_missing_bundle_or_artifact_is_one_line(command, tmp_path):
    for arguments in (("info", "--bundle", tmp_path / "nowhere"), ("export", "--artifact", tmp_path / "nowhere", "--out", tmp_path / "b")):
        code, _, err = command(*arguments)
        assert code == 2
        assert "nowhere" in one_line(err)
    assert not (tmp_path / "b").exists()


def test_a_corrupted_graph_is_refused_by_its_hash(command, segmentation, tmp_path):
    folder = Path(shutil.copytree(segmentation.bundle, tmp_path / "copy"))
    content = bytearray((folder / "model.onnx").read_bytes())
    content[1000] ^= 255
    (folder / "model.onnx").write_bytes(content)
    code, _, err = command("run", "--bundle", folder, "--input", tmp_path, "--out", tmp_path / "o.json")
    assert code == 2
    assert "model.onnx: has sha256" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--input", "nowhere", "--out", "m.nii.gz"), "nowhere: no such file or folder"),
        (("--input", "x.png", "--out", "m.txt"), "end it in .dcm, .nii.gz, .png or .json"),
        (("--input", "x.png", "--out", "m.json", "--spacing", "1"), "--spacing 1: give two numbers"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(command, segmentation, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = command("run", "--bundle", segmentation.bundle, *arguments)
    assert code == 2
    assert message in one_line(err)
    assert not list(tmp_path.iterdir())


def test_a_classification_writes_no_mask(command, classification, tmp_path):
    code, _, err = command("run", "--bundle", classification.bundle, "--input", tmp_path, "--out", tmp_path / "m.nii.gz")
    assert code == 2
    assert "a classification has no mask; write its probabilities to a .json" in one_line(err)


def test_help_names_every_verb(command):
    code, out, _ = command("--help")
    assert code == 0
    for verb in ("export", "verify", "run", "info"):
        assert verb in out


def test_help_does_not_wait_for_torch():
    program = "import sys, med_deploy.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
