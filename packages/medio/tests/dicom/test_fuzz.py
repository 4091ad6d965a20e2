"""Mutated files: an image equal to pydicom's or a medio error; never a hang, a crash, or memory beyond a bound.

`python packages/medio/tests/dicom/test_fuzz.py 100000` reads as many files as it is told and prints what came of them.

Equal means: every value of every frame that both give. pydicom is no measure where it has no answer; where it does not look at HighBit; and for HTJ2K, whose
decoder there (OpenJPEG) conceals damage within a codestream otherwise than the one here (OpenJPH).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "making"))
from dicom_fuzzing import RESIDENT, SECONDS_A_FILE

_PROGRAM = Path(__file__).parent / "making" / "dicom_fuzzing.py"
_BATCH = 2000


def read_mutated(first: int, last: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Read the files of some numbers in child processes; returns what came of them, and what must not have."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    while first < last:
        end = min(first + _BATCH, last)
        command = [sys.executable, str(_PROGRAM), str(first), str(end), str(folder)]
        child = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False, timeout=SECONDS_A_FILE * _BATCH)
        reading, by, first = f"{first} (before any)", "medio", end
        for line in child.stdout.splitlines():
            if line.startswith("file "):
                reading, by = line.removeprefix("file "), "medio"
            elif line == "pydicom":
                by = "pydicom"
            else:
                _judge(json.loads(line), reading, counts, failures)
                by = "none"
        if child.returncode != 0:
            if by == "medio":
                failures.append(f"{reading}: the process ended with {child.returncode}: {child.stderr[-300:]}")
            elif by == "pydicom":  # its plugin's affair; the file was read
                counts["image that ends pydicom's process"] += 1
            if not reading.endswith("(before any)"):
                first = int(reading.split()[0]) + 1
    return counts, failures


def _judge(found: dict[str, object], reading: str, counts: Counter[str], failures: list[str]) -> None:
    if int(str(found["grown"])) > RESIDENT:
        failures.append(f"{reading}: memory grew by {found['grown']} bytes")
    if found["kind"] == "error":
        counts["error"] += 1
    elif "pydicom" in found:
        counts["image without one of pydicom's"] += 1
    elif found["same"]:
        counts["image equal to pydicom's"] += 1
    elif found["why"]:
        counts[f"image, where {found['why']}"] += 1
    else:
        failures.append(f"{reading}: an image that differs from pydicom's")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are set as on Linux")
def test_600_mutated_files_give_an_image_equal_to_pydicoms_or_a_medio_error(tmp_path: Path) -> None:
    counts, failures = read_mutated(0, 600, tmp_path)
    assert not failures
    assert counts["image equal to pydicom's"] >= 60
    assert counts["error"] >= 150
    assert sum(counts.values()) == 600


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are set as on Linux")
def test_10_000_mutated_files_give_an_image_equal_to_pydicoms_or_a_medio_error(tmp_path: Path) -> None:
    counts, failures = read_mutated(600, 10_600, tmp_path)
    assert not failures
    assert counts["image equal to pydicom's"] >= 1500
    assert counts["error"] >= 3000
    assert sum(counts.values()) == 10_000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        outcome, wrong = read_mutated(0, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, Path(place))
    for kind, number in outcome.most_common():
        print(f"{number:>8}  {kind}")
    for fault in wrong:
        print(f"WRONG {fault}")
    raise SystemExit(bool(wrong))
