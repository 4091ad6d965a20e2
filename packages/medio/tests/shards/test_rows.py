"""The rows of a dataset cost no Python objects, and processes share them."""

import copy
import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medio.shards import rows as rows_module
from medio.shards.build import build_shards
from medio.shards.dataset import ShardDataset
from medio.shards.rows import Column, Rows
from medio.shards.sample import ShardSample


def table(count: int) -> pa.Table:
    spacing = np.stack([np.ones(count), np.full(count, 2.0), np.arange(count, dtype=float)], axis=1)
    shape = pa.FixedSizeListArray.from_arrays(pa.array(np.full(count * 4, 64)), 4).cast(pa.list_(pa.int64()))
    entry = pa.StructArray.from_arrays([pa.array(["image"] * count), pa.array(["<i2"] * count), shape], ["name", "dtype", "shape"])
    return pa.table(
        {
            "sample_id": [f"sample-{n:08d}" for n in range(count)],
            "spacing": pa.FixedSizeListArray.from_arrays(pa.array(spacing.ravel()), 3).cast(pa.list_(pa.float64())),
            "arrays": pa.ListArray.from_arrays(pa.array(np.arange(count + 1), pa.int32()), entry),
        }
    )


@settings(max_examples=50)
@given(st.lists(st.text(max_size=5), max_size=20), st.integers(-25, 25), st.slices(20))
def test_a_column_is_the_tuple_of_its_texts(texts: list[str], at: int, part: slice) -> None:
    column = Column(pa.array(texts, pa.string()))
    assert column == texts
    assert column == tuple(texts)
    assert tuple(column) == tuple(texts)
    assert hash(column) == hash(tuple(texts))
    assert column != [*texts, "x"]
    if -len(texts) <= at < len(texts):
        assert column[at] == texts[at]
    else:
        with pytest.raises(IndexError):
            column[at]
    if part.step is None or part.step > 0:
        assert column[part] == texts[part]


def test_small_rows_travel_in_the_pickle_and_large_ones_by_a_file_that_ends_with_its_owner() -> None:
    small = Rows(table(10))
    assert pickle.loads(pickle.dumps(small)).table.equals(small.table)
    large = Rows(table(30000))
    data = pickle.dumps(large)
    assert len(data) < 1000
    other = pickle.loads(data)
    assert other.row(12345) == large.row(12345) == table(30000).slice(12345, 1).to_pylist()[0]
    assert pickle.dumps(large) == data  # written once
    file = other._file
    assert file is not None
    assert file.exists()
    del large
    gc.collect()
    assert not file.exists()
    assert other.row(29999)["sample_id"] == "sample-00029999"  # mapped pages outlive the name
    copied = copy.copy(other)
    assert copied.row(0) == other.row(0)


MEMORY = """
import pickle, sys
from pathlib import Path

def own_kilobytes():
    # memory of its own: pages of a file that it maps belong to the system, once for all processes
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous"))

import medio.shards.rows
before = own_kilobytes()
rows = pickle.loads(sys.stdin.buffer.read())
total = sum(len(rows.row(n)["sample_id"]) for n in range(0, len(rows), 97))
print(own_kilobytes() - before, total)
"""


def test_a_spawned_worker_shares_the_rows_instead_of_holding_a_copy() -> None:
    if not Path("/proc/self/smaps_rollup").is_file():
        pytest.skip("no /proc to measure private memory in")
    shared = Rows(table(300_000))
    size = shared.table.nbytes // 1024
    assert size > 20_000
    run = subprocess.run([sys.executable, "-c", MEMORY], input=pickle.dumps(shared), capture_output=True, check=True)
    grown, total = map(int, run.stdout.split())
    assert total == len(range(0, 300_000, 97)) * len("sample-00000000")
    assert grown < size / 10


def make(item: int) -> ShardSample:
    return ShardSample(
        sample_id=f"s{item}",
        patient_id=f"p{item}",
        arrays={"image": np.full((1, 3, 3), item, np.uint8)},
        spacing=(1, 1),
        split=["train", "test"][item % 2],
        labels={"odd": item % 2},
    )


def test_a_dataset_whose_maker_has_ended_reads_its_indexes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_SHARE_FROM", 0)
    build_shards(range(6), make, tmp_path / "shards", per_shard=2)
    dataset = ShardDataset(tmp_path / "shards", split="test")
    data = pickle.dumps(dataset)
    assert pickle.loads(data)[2]["image"].max() == 5
    del dataset
    gc.collect()
    again = pickle.loads(data)
    assert again.sample_ids == ("s1", "s3", "s5")
    assert again[2]["image"].max() == 5
    build_shards(range(4), make, tmp_path / "shards", per_shard=2)
    with pytest.raises(Exception, match="was built anew since this dataset was pickled"):
        pickle.loads(data)


def test_a_forked_child_that_ends_first_leaves_the_file_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_SHARE_FROM", 0)
    rows = Rows(table(10))
    pickle.dumps(rows)
    child = os.fork() if hasattr(os, "fork") else pytest.skip("no fork here")
    if child == 0:
        finalizers = list(rows_module.weakref.finalize._registry)
        for finalizer in finalizers:
            finalizer()
        os._exit(0)
    os.waitpid(child, 0)
    assert rows._file is not None
    assert rows._file.exists()
