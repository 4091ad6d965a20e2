"""The first Python example of each README, and all of the front page, run as a reader would run them: pasted, in an empty folder, offline."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READMES = sorted([*ROOT.glob("packages/*/README.md"), *ROOT.glob("apps/*/README.md")])


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run_alone(code: str, folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.parent.name)
def test_the_example_of_a_member_runs_and_prints(readme: Path, tmp_path: Path):
    blocks = python_blocks(readme.read_text())
    if readme.parent.parent.name == "apps" and not blocks:
        pytest.skip("a command without a Python example; tests/test_commands.py runs its commands")
    assert blocks, f"{readme.parent.name}/README.md has no example"
    assert run_alone(blocks[0], tmp_path).strip()


def test_the_examples_of_the_front_page_run(tmp_path: Path):
    blocks = python_blocks((ROOT / "README.md").read_text())
    assert len(blocks) >= 9, "the front page shows one example a package"
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run_alone(block, folder).strip(), block
