"""The commands of the documentation run as they stand, in the order of the page, from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # The page says `uv run`; the environment that runs this test is that one.
    line = re.sub(r"^uv run ", "", line)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_page_step_by_step_runs_from_top_to_bottom(tmp_path: Path):
    shutil.copytree(ROOT / "docs" / "how-to", tmp_path / "docs" / "how-to")
    lines = commands(ROOT / "docs/how-to/step-by-step.md")
    used = {word for line in lines for word in re.findall(r"\bmed-[a-z]+", line)}
    assert used >= {"med-ingest", "med-pretrain", "med-finetune", "med-vlm", "med-evaluate", "med-deploy", "med-review", "med-registry"}
    for line in lines:
        done = run(line, tmp_path)
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    for left in (
        "answer.dcm",
        "predicted/PHANTOM-0-00000.nii.gz",
        "evaluated/report.html",
        "review.html",
        "thorax/evaluation.json",
        "vlm/reports.jsonl",
    ):
        assert (tmp_path / "runs/steps" / left).stat().st_size > 0, left


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_guide_to_archives_runs_from_top_to_bottom(tmp_path: Path):
    page = ROOT / "docs/how-to/dicom-archive.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    here = [
        block for block in blocks if "pacs.hospital" not in block
    ]  # packages/medio/tests/pacs proves those calls against a real archive
    assert len(here) == len(blocks) - 1
    session = tmp_path / "session.py"
    session.write_text("\n".join(here))
    done = run(f"python {session}", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "leaks=()" in done.stdout
    for line in commands(page):
        done = run(line, tmp_path)
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert (tmp_path / "shards2.html").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["augmentation", "phantoms"])
def test_a_guide_runs_from_top_to_bottom(name: str, tmp_path: Path):
    page = ROOT / f"docs/how-to/{name}.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    session = tmp_path / "session.py"
    session.write_text("\n".join(blocks))
    for line in (f"python {session}", *commands(page)):
        done = run(line, tmp_path)
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "med-quickstart",
        "med-pretrain",
        "med-finetune",
        "med-vlm",
        "med-ingest",
        "med-evaluate",
        "med-deploy",
        "med-review",
        "med-registry",
        "med-phantom",
    ],
)
def test_every_command_helps_a_newcomer_and_answers_a_wrong_word(command: str, tmp_path: Path):
    shown = run(f"{command} --help", tmp_path)
    assert shown.returncode == 0
    assert command in shown.stdout
    wrong = "ouut=x" if command in ("med-quickstart", "med-pretrain", "med-finetune", "med-vlm") else "--hepl"
    refused = run(f"{command} {wrong}", tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert "id you mean" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.iterdir())
