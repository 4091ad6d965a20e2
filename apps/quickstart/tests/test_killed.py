"""Killed anywhere and started again, a run ends with the figures of one that nobody disturbed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("source.patients=6", "recipe.model=resunet_tiny", "recipe.steps=3", "recipe.pretrain_steps=2", "intervals=100", "tracker=none")
# Headings of stages, and moments inside those that can resume. Each comes in a stage that the kills before it cannot have finished.
MOMENTS = (
    "phantom patients: 2/",
    "] indexing",
    "de-identified cases: 2/",
    "volumes checked: 3/",
    "pretrain: 1/",
    "] fine-tuning",
    "finetune: 2/",
    "] predicting",
    "] exporting",
    "] registering",
    "] running the deployed model",
    "] writing the report",
)


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "med_quickstart", f"out={out}", *SMALL]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ, start_new_session=True)


def kill_at(moment: str, out: Path) -> bool:
    """Start the run and kill its whole process group when it says `moment`; False where it ended before."""
    process = start(out)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if moment in line and "done before" not in line:
                os.killpg(process.pid, signal.SIGKILL)
                return True
        return False
    finally:
        process.stdout.close()
        process.wait(timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_killed_in_every_stage_ends_with_the_same_figures_and_one_model(tmp_path):
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    assert start(calm).communicate(timeout=600)[0].count("report.html")
    assert [moment for moment in MOMENTS if kill_at(moment, shaken)] == list(MOMENTS)
    said, _ = start(shaken).communicate(timeout=600)
    assert "done before" in said
    assert (shaken / "summary.json").read_bytes() == (calm / "summary.json").read_bytes()
    assert len(list((shaken / "registry" / "models").rglob("[0-9]*.json"))) == 1
