import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_example_of_the_readme_runs_as_it_stands(tmp_path):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    # the rule is known: half of the 990 voxels of 3 mm3 lie above 100, about 1.5 ml
    assert re.fullmatch(r"True \{'bright': 1\.[345]\d*\}\n", done.stdout), done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
