import os
import re
import subprocess
import sys
from pathlib import Path


def test_the_example_of_the_readme_runs_in_an_empty_folder(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    run = subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "1 samples in 1 shards" in run.stdout
    assert run.stdout.splitlines()[-1] == "(1, 16, 16, 16)"
