"""`med-phantom`: one command writes a population, says so, and tells mistakes in one line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import medio
from medphantom.cli import main
from medphantom.records import make_records
from medphantom.sheet import contact_sheet
from medphantom.sites import SITES

COARSE = ("--spacing", "14,12,12", "--seed", "4")


ARGUMENTS = (
    "--sites",
    "2",
    "--visits",
    "2",
    "--prevalence",
    "nodule=1,effusion=0",
    "--modalities",
    "ct,dx,mr",
    "--format",
    "both",
    *COARSE,
)


def run(*arguments: str) -> int:
    """Run the command in this process, which has imported what takes a second."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    command = [sys.executable, "-m", "medphantom.cli", "make", str(out), "--patients", "2", *ARGUMENTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "2 synthetic patients" in done.stdout
    assert "patients: 2 of 2" in done.stderr
    return out


def test_one_command_writes_every_patient_visit_and_modality(made):
    rows = [json.loads(line) for line in (made / "patients.jsonl").read_text().splitlines()]
    assert [(row["patient_id"], len(row["visits"])) for row in rows] == [("PHANTOM-4-00000", 2), ("PHANTOM-4-00001", 2)]
    for row in rows:
        for visit in row["visits"]:
            assert {"ct_dicom", "mr_T1w_dicom", "mr_T2w_dicom", "organs", "identifiers", "ct", "mr_T1w", "labels", "lobes"} <= set(
                visit["files"]
            )
            assert ("displacement" in visit["files"]) == (visit["visit"] == 1)
            assert "effusion" not in {finding["kind"] for finding in visit["findings"]}
        # a nodule may be new on the second visit
        assert "nodule" in {finding["kind"] for visit in row["visits"] for finding in visit["findings"]}
    options = json.loads((made / "population.json").read_text())
    assert len(options["sites"]) == 2
    assert options["spacing_mm"] == [14.0, 12.0, 12.0]


def test_the_same_command_again_keeps_what_is_there(made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("PHANTOM*/**/*") if path.is_file()}
    assert run("make", str(made), "--patients", "2", *ARGUMENTS) == 0
    assert "(0 made, 2 kept)" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_command_into_the_same_folder_is_refused(made, capsys):
    assert run("make", str(made), "--patients", "2", *COARSE) == 2
    error = capsys.readouterr().err
    assert "was made with other options" in error
    assert len(error.splitlines()) == 1


def test_only_the_findings_that_were_named_occur(tmp_path):
    named = ("--findings", "pacemaker,nodule", "--prevalence", "pacemaker=1", "--no-identifiers")
    assert run("make", str(tmp_path / "out"), "--patients", "1", *named, *COARSE) == 0
    row = json.loads((tmp_path / "out" / "patients.jsonl").read_text())
    kinds = {finding["kind"] for finding in row["visits"][0]["findings"]}
    assert "pacemaker" in kinds <= {"pacemaker", "nodule"}
    assert not list(tmp_path.rglob("identifiers.json"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--patiens", "2"), "--patients, "),
        (("--findings", "nodul"), "--findings: no 'nodul'. Did you mean nodule?"),
        (("--prevalence", "efusion=0.2"), "Did you mean effusion?"),
        (("--prevalence", "effusion=often"), "is not KIND=SHARE"),
        (("--prevalence", "effusion=2"), "is a share of its patients"),
        (("--modalities", "ct,xr"), "--modalities: no 'xr'. Use ct, dx, mr"),
        (("--modalities", ""), "--modalities names nothing"),
        (("--spacing", "1,2"), "neither one positive number nor three"),
        (("--size", "0"), "neither one positive number nor three"),
        (("--labels", "some"), "labels must be 'basic' or 'full'"),
        (("--format", "png"), "format must be"),
        (("--patients", "0"), "--patients"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_code_2(arguments, said, tmp_path, capsys):
    assert run("make", str(tmp_path / "out"), *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("med-phantom: error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_show_draws_the_patient_that_make_writes(tmp_path, capsys):
    assert run("show", str(tmp_path / "sheet.png"), "--seed", "4", "--index", "1", "--spacing", "12", "--prevalence", "effusion=1") == 0
    assert capsys.readouterr().out.startswith("PHANTOM-4-00001, synthetic, ")
    drawn = medio.read(tmp_path / "sheet.png", spacing=(1.5, 1.5))
    sites = [replace(site, prevalence={**site.prevalence, "effusion": 1.0}) for site in SITES]
    (record,) = make_records(4, 1, sites=sites, spacing_mm=(12.0, 12.0, 12.0), labels="full", mr=True)
    assert np.array_equal(drawn.array, contact_sheet(record))


def test_help_names_every_option(capsys):
    assert run("make", "--help") == 0
    said = capsys.readouterr().out
    for option in ("--patients", "--sites", "--visits", "--workers", "--prevalence", "--no-identifiers"):
        assert option in said
