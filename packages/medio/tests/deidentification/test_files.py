"""Many files: any number of workers, a kill, a full disk."""

import errno
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medio.deidentification import files as module
from medio.deidentification.files import deidentify_files
from medio.deidentification.policy import Policy

POLICY = Policy(key="a secret of 24 letters..", clean_structured=True)


def content(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.dcm")}


def same_as_one_worker(plant: Any, folder: Path, **options: Any) -> None:
    plant(folder / "in", 4, 21)
    (folder / "in" / "notes.txt").write_text("none")
    one = deidentify_files(folder / "in", folder / "one", POLICY)
    other = deidentify_files(folder / "in", folder / "other", POLICY, **options)
    assert content(folder / "one") == content(folder / "other")
    assert len(content(folder / "one")) == 8
    assert pq.read_table(one.audit).to_pylist() == pq.read_table(other.audit).to_pylist()
    assert [[q.reason for q in report.quarantined] for report in (one, other)] == [["is not a DICOM file; exclude it"]] * 2


def test_any_executor_gives_the_same_files_and_audit(plant: Any, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        same_as_one_worker(plant, tmp_path, executor=executor)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        deidentify_files(tmp_path / "in", tmp_path / "one", POLICY, workers=0)


@pytest.mark.slow
def test_two_processes_give_the_same_files_and_audit(plant: Any, tmp_path: Path) -> None:
    same_as_one_worker(plant, tmp_path, workers=2)


def test_the_audit_names_every_change_once_and_holds_no_value(plant: Any, scan_bytes: Any, tmp_path: Path) -> None:
    planted = plant(tmp_path / "in", 4, 3)
    report = deidentify_files(tmp_path / "in", tmp_path / "out", POLICY)
    rows = pq.read_table(report.audit).to_pylist()
    assert len(rows) == len({tuple(row.values()) for row in rows})
    text = "\n".join(str(row) for row in rows).encode()
    assert scan_bytes(text, sorted({secret for one in planted for secret in one.secrets})) == []
    first = [row for row in rows if row["file"] == report.written[0].relative_to(tmp_path / "out").as_posix()]
    said = {row["keyword"]: row["action"] for row in first}
    assert said["PatientName"] == "replaced"
    assert said["StudyDate"] == "date shifted"
    assert said["SOPInstanceUID"] == "uid mapped"
    assert said["PatientBirthDate"] == "emptied"
    assert said["OtherPatientIDsSequence"] == "removed"


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_next_and_looks_as_if_it_had_not_been_killed(plant: Any, tmp_path: Path) -> None:
    plant(tmp_path / "in", 60, 9)
    whole = deidentify_files(tmp_path / "in", tmp_path / "whole", POLICY)
    script = (
        "import sys; from medio.deidentification import files\n"
        "files._CHUNK = 16\n"
        "policy = files.Policy(key='a secret of 24 letters..', clean_structured=True)\n"
        "files.deidentify_files(sys.argv[1], sys.argv[2], policy, progress=lambda done, _: print(done, flush=True))"
    )
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "in"), str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any(int(line) >= 40 for line in process.stdout)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = len(list(out.rglob("*.dcm")))
    assert 40 <= there < 120
    assert not (out / "audit.parquet").exists()
    again = deidentify_files(tmp_path / "in", out, POLICY)
    assert there - 1 <= again.skipped <= there
    assert content(out) == content(tmp_path / "whole")
    assert not [path for path in out.rglob("*") if "partial" in path.name or path.name == ".audit"]
    key = lambda row: tuple(row.values())  # noqa: E731
    assert sorted(pq.read_table(again.audit).to_pylist(), key=key) == sorted(pq.read_table(whole.audit).to_pylist(), key=key)


def test_a_full_disk_stops_the_run_and_a_file_that_cannot_be_read_does_not(
    plant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(tmp_path / "in", 4, 2)
    write, calls = module.dcmwrite, []

    def full(path: Path, *args: Any, **options: Any) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *args, **options)

    monkeypatch.setattr(module, "dcmwrite", full)
    with pytest.raises(OSError, match="No space left"):
        deidentify_files(tmp_path / "in", tmp_path / "out", POLICY)
    assert len(content(tmp_path / "out")) == 3
    assert not [path for path in (tmp_path / "out").rglob("*") if "partial" in path.name]
    monkeypatch.setattr(module, "dcmwrite", write)
    planted[3].path.write_bytes(planted[3].path.read_bytes()[:200])
    report = deidentify_files(tmp_path / "in", tmp_path / "out", POLICY)
    assert len(report.written) == 7
    assert report.skipped == 3
    assert [Path(q.item) for q in report.quarantined] == [planted[3].path]


@pytest.mark.parametrize("uid", ["../../../outside", "..", "1..2", "Johanna"])
def test_with_kept_uids_a_uid_that_is_none_is_mapped_and_leads_nowhere_else(plant: Any, tmp_path: Path, uid: str) -> None:
    from pydicom import dcmread

    planted = plant(tmp_path / "in", 1, 2)
    dataset = dcmread(planted[0].path)
    dataset.SeriesInstanceUID = uid
    dataset.save_as(planted[0].path)
    report = deidentify_files(tmp_path / "in", tmp_path / "out", Policy(key=POLICY.key, clean_structured=True, keep_uids=True))
    folders = {path.relative_to(tmp_path / "out").parts[1] for path in report.written}
    assert any(folder.startswith("2.25.") for folder in folders)
    assert all(len(path.relative_to(tmp_path / "out").parts) == 3 for path in report.written)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_folder_of_an_earlier_version_stays_open_to_its_policy() -> None:
    import hashlib

    # How version 0.1.0 named its policies.
    key = hashlib.blake2b(POLICY.key.encode(), digest_size=32).digest()
    old = hashlib.blake2b(b"TrueTrueTrue3650", key=key, person=b"policy", digest_size=16).hexdigest()
    assert Policy(key=POLICY.key).fingerprint() == old
    assert (
        len({Policy(key=POLICY.key, **{name: True}).fingerprint() for name in ("keep_uids", "keep_device", "clean_descriptors")} | {old})
        == 4
    )


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of each broken value
def test_two_hundred_damaged_files_are_copied_or_set_aside_and_never_stop_the_run(plant: Any, tmp_path: Path) -> None:
    from random import Random

    planted = plant(tmp_path / "whole", 3, 4)
    random = Random(0)
    (tmp_path / "in").mkdir()
    for number in range(200):
        data = bytearray(random.choice(planted).path.read_bytes())
        for _ in range(random.choice((1, 3, 20))):
            data[random.randrange(132, len(data))] = random.randrange(256)
        if random.random() < 0.2:
            del data[random.randrange(200, len(data)) :]
        (tmp_path / "in" / f"{number:03d}.dcm").write_bytes(data)
    everything = Policy(key=POLICY.key, clean_structured=True, clean_descriptors=True, keep_safe_private=True, keep_characteristics=True)
    report = deidentify_files(tmp_path / "in", tmp_path / "out", everything)
    assert len(report.written) + len(report.quarantined) == 200
    assert len(report.quarantined) > 50  # copies of one instance, too
    assert len(content(tmp_path / "out")) == len(report.written)


def test_real_secondary_captures_and_ultrasounds_are_set_aside(shared_data: Path, tmp_path: Path) -> None:
    report = deidentify_files(shared_data / "deid", tmp_path / "out", POLICY)
    assert report.written == ()
    reasons = [q.reason for q in report.quarantined if q.item.endswith(".dcm")]
    assert len(reasons) == 4
    assert all("may hold text" in reason for reason in reasons)


def test_a_raw_data_object_beside_a_series_is_set_aside(shared_data: Path, tmp_path: Path) -> None:
    raw = shared_data / "dicom_multivendor" / "mr_philips_elition_mprage" / "1301_WIP_ADNI_Sag3D_MPRAGE_Raw.dcm"
    report = deidentify_files([raw], tmp_path / "out", POLICY)
    assert [q.reason for q in report.quarantined] == [
        "Raw Data Storage is raw or fiducial data of a form that only its vendor knows; exclude it"
    ]
