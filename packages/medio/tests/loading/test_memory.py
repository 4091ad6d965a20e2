"""What workers add to memory: not the index."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="/proc tells memory on Linux alone")]

SCRIPT = """
import gc, json, os, sys
import numpy as np, pyarrow as pa
import medio
from medio.shards.rows import Rows

class Indexed:
    def __init__(self, rows):
        report = "finding " * 1250  # 10 kB a row
        self.rows = Rows(pa.table({"sample_id": [f"s{i}" for i in range(rows)], "report": [report + str(i) for i in range(rows)]}))
    @property
    def sample_ids(self):
        return self.rows.texts("sample_id")
    def __getitem__(self, draw):
        return {"image": np.zeros((1, 8, 8), np.int16), "report": self.rows.row(draw.index)["report"], "key": draw.key}

def memory(pid, kind):
    return next(int(line.split()[1]) * 1024 for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith(kind + ":"))

if __name__ == "__main__":
    method, rows, counts = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    dataset = Indexed(rows)
    gc.collect()
    found = {"index": dataset.rows.table.nbytes}
    for workers in counts:
        with medio.make_loader(dataset, medio.Sampler(dataset, 16, 0), workers=workers, transport="ring", start_method=method) as loader:
            iterator = iter(loader)
            for _ in range(20 * workers):
                next(iterator)
            pids = iterator.batches.pids
            found[f"total {workers}"] = sum(memory(pid, "Pss") for pid in (os.getpid(), *pids))
            found[f"own {workers}"] = max(memory(pid, "Pss_Anon") for pid in pids)
    print(json.dumps(found))
"""


def measure(tmp_path: Path, method: str, rows: int, counts: list[int]) -> dict[str, int]:
    script = tmp_path / "measure.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, method, str(rows), json.dumps(counts)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eight_forked_workers_add_less_than_a_tenth_of_the_index_to_one(tmp_path: Path) -> None:
    found = measure(tmp_path, "fork", 60_000, [1, 8])
    assert found["index"] > 600e6
    assert found["total 8"] - found["total 1"] < 0.1 * found["index"]


def test_a_spawned_worker_holds_no_copy_of_the_index(tmp_path: Path) -> None:
    small, large = (measure(tmp_path, "spawn", rows, [1]) for rows in (200, 15_000))
    assert large["index"] > 150e6
    assert large["own 1"] - small["own 1"] < 0.1 * large["index"]
