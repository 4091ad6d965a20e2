"""Each library imports and passes its own tests with nothing installed but itself and what it declares."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = sorted(p.parent.name for p in ROOT.glob("packages/*/pyproject.toml"))


def ask(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, ROOT / ".github/affected.py", *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_passes_its_own_tests_alone(library: str, tmp_path: Path):
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on PATH: isolated environments cannot be made")
    extras = ask("--extras", library).split()
    command = [uv, "run", "--quiet", "--isolated", "--exact", "--no-default-groups", "--package", library, *extras, "--group", "test"]
    run = subprocess.run(
        [*command, "pytest", f"packages/{library}/tests", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-4000:]}\n{run.stderr[-2000:]}"
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_isolated_environment_really_lacks_the_siblings(library: str):
    # Guards the test above: were the workspace installed whole, a missing declaration would go unseen.
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on PATH: isolated environments cannot be made")
    allowed = {library, *ask("--siblings", library).split()}
    run = subprocess.run(
        [uv, "tree", "--quiet", "--package", library, "--no-default-groups", "--depth", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {name for name in LIBRARIES if re.search(rf"^\W*{name} v", run.stdout, flags=re.MULTILINE)}
    assert library in listed
    assert listed <= allowed
