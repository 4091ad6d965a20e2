from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medio.errors import MissingFileError
from medio.shards.build import ShardSample, build_shards
from medio.shards.verification import verify_shards


def make(item: int) -> ShardSample:
    image = np.random.default_rng(item).integers(0, 4000, (1, 20, 20, 20)).astype(np.int16)
    arrays = {"image": image, "points": np.empty((0, 3))}
    return ShardSample(sample_id=f"s{item}", patient_id="p", arrays=arrays, spacing=(1, 1, 1), affine=np.eye(4))


def test_a_sound_dataset_has_no_problems(tmp_path: Path) -> None:
    build_shards(range(3), make, tmp_path, per_shard=2)
    seen: list[tuple[int, int]] = []
    report = verify_shards(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert (report.shards, report.arrays, report.problems) == (2, 6, ())
    assert seen == [(1, 2), (2, 2)]


def test_swapped_damaged_and_missing_shards_are_found(tmp_path: Path) -> None:
    build_shards(range(4), make, tmp_path, per_shard=1)
    first, second = (tmp_path / f"00000{n}.b2z" for n in (0, 1))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())  # opens well, holds another sample
    second.write_bytes(content[:100])
    (tmp_path / "000002.b2z").unlink()
    problems = verify_shards(tmp_path).problems
    assert [Path(p.item.split(": ")[0]).name for p in problems] == ["000000.b2z", "000001.b2z", "000002.b2z"]
    assert "s0/image" in problems[0].item
    assert "differs from what was stored" in problems[0].reason


def test_an_edited_index_is_found(tmp_path: Path) -> None:
    build_shards([0], make, tmp_path)
    path = tmp_path / "000000.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("patient_id")
    pq.write_table(table.set_column(place, "patient_id", pa.array(["another"])).replace_schema_metadata(table.schema.metadata), path)
    assert [p.reason for p in verify_shards(tmp_path).problems] == ["its rows were changed after it was written; delete it and build again"]
    with pytest.raises(MissingFileError):
        verify_shards(tmp_path / "absent")
