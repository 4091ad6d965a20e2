"""Populations: the same bytes for any number of processes and after any kill, and a table that says what is in the files."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest

import medio
from medio.keyed import keyed_generator
from medphantom import population as population_module
from medphantom.anatomy import draw_anatomy
from medphantom.errors import PhantomError
from medphantom.findings.drawing import draw_findings
from medphantom.population import Population, make_population
from medphantom.records import make_records
from medphantom.sites import SITES

SMALL = Population(
    seed=3,
    visits=2,
    spacing_mm=(12.0, 10.0, 10.0),
    contents=("ct", "dx"),
    sites=tuple(replace(site, prevalence={**site.prevalence, "nodule": 1.0}) for site in SITES),
)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    report = make_population(SMALL, 3, folder)
    assert (report.made, report.kept) == (3, 0)
    return folder


def test_two_processes_write_the_same_bytes_as_one(whole, tmp_path):
    seen = []
    make_population(SMALL, 3, tmp_path / "two", workers=2, progress=lambda done, of: seen.append((done, of)))
    assert digests(tmp_path / "two") == digests(whole)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_more_patients_later_leave_the_first_as_they_are(whole, tmp_path):
    folder = tmp_path / "grown"
    make_population(SMALL, 1, folder)
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "PHANTOM-3-00000").rglob("*") if path.is_file()}
    report = make_population(SMALL, 3, folder)
    assert (report.made, report.kept) == (2, 1)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert digests(folder) == digests(whole)


RUN_UNTIL_KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from medphantom import population

write = population.write_visit

def write_and_die(record, place, **options):
    files = write(record, place, **options)
    if (record.index, record.visit) == (1, 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return files

population.write_visit = write_and_die
population.make_population(pickle.loads(Path(sys.argv[1]).read_bytes()), 3, sys.argv[2])
"""


def test_a_run_killed_in_a_patient_goes_on_to_the_same_bytes(whole, tmp_path):
    folder, plan = tmp_path / "killed", tmp_path / "plan"
    plan.write_bytes(pickle.dumps(SMALL))
    assert subprocess.run([sys.executable, "-c", RUN_UNTIL_KILLED, str(plan), str(folder)], check=False).returncode == -signal.SIGKILL
    # the patient in work is lost, the one before is not
    assert (folder / "PHANTOM-3-00000" / "patient.json").is_file()
    assert (folder / ".PHANTOM-3-00001.partial" / "visit-0" / "ct").is_dir()
    assert not (folder / "PHANTOM-3-00001").exists()
    assert not (folder / "patients.jsonl").exists()
    report = make_population(SMALL, 3, folder)
    assert (report.made, report.kept) == (2, 1)
    assert digests(folder) == digests(whole)


def test_a_folder_of_other_options_is_refused_and_the_error_names_them(whole):
    other = replace(SMALL, visits=1, identifiers=False)
    with pytest.raises(PhantomError, match=r"made with other options \(identifiers, visits\); choose another folder"):
        make_population(other, 3, whole)


def test_the_table_says_what_the_files_hold(whole):
    rows = [json.loads(line) for line in (whole / "patients.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["synthetic"] is True
        assert len(row["visits"]) == 2
        for visit in row["visits"]:
            home = whole / row["patient_id"]
            for place in visit["files"].values():
                assert (home / place).exists()
            image = medio.read(home / visit["files"]["ct_dicom"])
            ds = pydicom.dcmread(next((home / visit["files"]["ct_dicom"]).glob("*.dcm")))
            assert (ds.Manufacturer, ds.InstitutionName, ds.StudyDate, ds.PatientSex) == (
                row["vendor"],
                row["site"],
                visit["study_date"],
                row["sex"],
            )
            for finding in visit["findings"]:
                z0, y0, x0, z1, y1, x1 = finding["box"]
                assert 0 <= z0 < z1 <= image.array.shape[0]
                center = image.index(np.array(finding["center_mm"]))
                assert all(low - 0.5 <= c <= high - 0.5 for low, c, high in zip((z0, y0, x0), center, (z1, y1, x1), strict=True))
            assert set(visit["reports"]) == {"CT", *(name.removeprefix("film_") for name in visit["files"] if name.startswith("film_"))}
        first, second = row["visits"]
        assert first["day"] == 0 < second["day"]
        same = {f["tracking_id"]: f["tracking_uid"] for f in first["findings"]}
        assert all(same.get(f["tracking_id"], f["tracking_uid"]) == f["tracking_uid"] for f in second["findings"])
        assert second["reports"]["CT"]["dialogue"]
    assert "SYNTHETIC" in (whole / "README.txt").read_text()


def test_one_visit_shows_what_the_sites_prevalence_drew_and_nothing_else():
    for index in range(4):
        (record,) = make_records(6, index, spacing_mm=(9.0, 9.0, 9.0))
        rng = partial(keyed_generator, (6, 0, f"phantom-{index}", 0))
        anatomy = draw_anatomy(rng("anatomy"), sex=record.person.sex, enlarged_heart=False)
        drawn = {finding.tracking_id: finding.kind for finding in draw_findings(rng("findings"), anatomy, record.site.prevalence)}
        shown = {truth.tracking_id: truth.kind for truth in record.truths}
        # a nodule between the voxels' centres is not seen; all else is larger
        assert shown.items() <= drawn.items()
        assert {kind for name, kind in drawn.items() if name not in shown} <= {"nodule"}


def test_records_speak_of_their_prior_and_know_the_way_back():
    first, second = make_records(3, 1, sites=SMALL.sites, visits=2, spacing_mm=(12.0, 10.0, 10.0))
    assert first.prior is None
    assert first.displacement_mm is None
    assert second.prior == first.truths
    assert "comparison" in second.reports["CT"].sections
    assert f"{second.day} days earlier" in second.reports["CT"].text
    # every landmark's tissue is carried by the field to where it lay: the field is smooth, so the nearest voxel's way is its own to 1.5 mm
    assert second.displacement_mm.shape == (*second.labels.shape, 3)
    for name, point in second.landmarks_mm.items():
        if name not in first.landmarks_mm:
            continue
        z, y, x = np.rint(second.ct.index(np.array(point))).astype(int)
        if all(0 <= i < n for i, n in zip((z, y, x), second.labels.shape, strict=True)):
            assert np.array(point) + second.displacement_mm[z, y, x] == pytest.approx(np.array(first.landmarks_mm[name]), abs=1.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sites": ()}, "one site or more"),
        ({"visits": 0}, "visits and interval_days must be 1 or more"),
        ({"labels": "all"}, "labels must be 'basic' or 'full'"),
        ({"format": "png"}, "format must be 'dicom', 'nifti' or 'both'"),
    ],
)
def test_options_that_cannot_be_are_refused(change, said):
    with pytest.raises(PhantomError, match=said):
        replace(SMALL, **change)


def test_no_patient_and_no_worker_are_refused(tmp_path):
    for patients, workers in ((0, 1), (1, 0)):
        with pytest.raises(PhantomError, match="must be 1 or more"):
            make_population(SMALL, patients, tmp_path, workers=workers)


def test_an_error_in_one_patient_ends_the_run_and_keeps_the_whole_ones(tmp_path, monkeypatch):
    make = population_module.make_one

    def fail(population: Population, root: Path, index: int) -> None:
        if index == 1:
            raise OSError("disk full")
        make(population, root, index)

    monkeypatch.setattr(population_module, "make_one", fail)
    with pytest.raises(OSError, match="disk full"):
        make_population(replace(SMALL, visits=1), 2, tmp_path)
    assert (tmp_path / "PHANTOM-3-00000" / "patient.json").is_file()
