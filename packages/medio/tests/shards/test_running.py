"""Where shards are built: processes of the build's own, any executor, a Dask cluster; whose workers die; on full disks; in little memory."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from medio.errors import MedioError
from medio.shards.build import build_shards
from medio.shards.dataset import ShardDataset
from medio.shards.sample import ShardSample


def indexes(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.parquet"))


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="session")
def serial_version(spawned: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Version of six items, two a shard, built in this process."""
    return build_shards(range(6), spawned.make, tmp_path_factory.mktemp("serial"), per_shard=2).version


def test_a_worker_that_is_killed_once_is_replaced_and_the_build_is_the_serial_one(
    spawned: ModuleType, serial_version: str, tmp_path: Path
) -> None:
    recipe = spawned.Dying(3, tmp_path / "killed")
    report = build_shards(range(6), recipe, tmp_path / "out", per_shard=2, workers=2)
    assert (tmp_path / "killed").exists()
    assert (report.version, report.samples, report.quarantined) == (serial_version, 6, ())
    assert leftovers(tmp_path / "out") == []


@pytest.mark.slow
def test_an_item_that_kills_its_process_each_time_is_quarantined_and_the_rest_is_built(spawned: ModuleType, tmp_path: Path) -> None:
    report = build_shards(range(6), spawned.Dying(3), tmp_path, per_shard=2, workers=2)
    ((item, reason),) = [(q.item, q.reason) for q in report.quarantined]
    assert item == "3"
    assert "the process that read it died 2 times" in reason
    assert list(ShardDataset(tmp_path).sample_ids) == ["s0", "s1", "s2", "s4", "s5"]
    assert leftovers(tmp_path) == []


def test_an_executor_whose_process_dies_says_so_keeps_what_is_finished_and_goes_on(
    spawned: ModuleType, serial_version: str, tmp_path: Path
) -> None:
    recipe = spawned.Dying(3, tmp_path / "killed")
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool,
        pytest.raises(MedioError, match=r"00000[12]\.b2z: a worker process died .*workers=N"),
    ):
        build_shards(range(6), recipe, tmp_path / "out", per_shard=2, executor=pool)
    assert indexes(tmp_path / "out") == ["000000"]
    report = build_shards(range(6), recipe, tmp_path / "out", per_shard=2)
    assert (report.reused, report.version) == (1, serial_version)
    assert leftovers(tmp_path / "out") == []


def test_an_executor_that_is_broken_already_says_so(spawned: ModuleType, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        with pytest.raises(MedioError, match="a worker process died"):
            build_shards([3], spawned.Dying(3), tmp_path, executor=pool)
        with pytest.raises(MedioError, match="a worker process died"):
            build_shards([3], spawned.make, tmp_path, executor=pool)


class Counting(ThreadPoolExecutor):
    """Counts the futures that are made and not yet done."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.lock = threading.Lock()
        self.open = self.most = self.all = 0

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        with self.lock:
            self.open += 1
            self.all += 1
            self.most = max(self.most, self.open)
        future = super().submit(function, *arguments, **options)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        with self.lock:
            self.open -= 1


def tiny(item: int) -> ShardSample:
    return ShardSample(sample_id=f"s{item}", patient_id="p", arrays={"image": np.full((1, 2, 2), item % 200, np.uint8)}, spacing=(1, 1))


def test_jobs_are_made_as_places_become_free(tmp_path: Path) -> None:
    made: list[int] = []
    with Counting(3) as pool:
        report = build_shards(
            range(60), tiny, tmp_path, per_shard=1, executor=pool, progress=lambda done, total: made.append(pool.all - done)
        )
    assert report.samples == 60
    assert pool.all == 60
    assert pool.most <= 3 + 2
    assert max(made) <= 3 + 2


def test_an_error_in_one_shard_stops_the_submission_of_others(tmp_path: Path) -> None:
    def broken(item: int) -> ShardSample:
        if item == 5:
            raise ZeroDivisionError("a bug")
        return tiny(item)

    with Counting(2) as pool, pytest.raises(ZeroDivisionError, match="a bug"):
        build_shards(range(60), broken, tmp_path, per_shard=1, executor=pool)
    assert pool.all <= 5 + 1 + 2 + 2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"workers": 0}, ValueError, "workers must be at least 1"),
        ({"workers": 2, "executor": ThreadPoolExecutor(1)}, ValueError, "not both"),
        ({"executor": 7}, TypeError, "got int"),
    ],
)
def test_a_wrong_executor_is_refused(tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build_shards([1], tiny, tmp_path, **options)


@pytest.fixture(scope="module")
def cluster(spawned: ModuleType) -> Iterator[Any]:
    """A Dask cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, memory_limit=0, silence_logs=50
    ) as made:
        yield made


@pytest.mark.slow
def test_a_dask_worker_killed_in_mid_build_is_replaced_and_the_build_is_the_serial_one(
    cluster: Any, spawned: ModuleType, serial_version: str, tmp_path: Path
) -> None:
    from distributed import Client

    recipe = spawned.Waiting(3, tmp_path / "begun", tmp_path / "go")
    with Client(cluster) as client, ThreadPoolExecutor(1) as aside:
        build = aside.submit(build_shards, range(6), recipe, tmp_path / "out", per_shard=2, executor=client)
        deadline = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline and not build.done():
            time.sleep(0.01)
        victim = int((tmp_path / "begun").read_text())
        assert victim in client.run(os.getpid).values()
        assert (tmp_path / "out" / "000001.parquet").exists() is False  # in the middle of shard 1
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "go").touch()
        report = build.result(timeout=120)
    assert (report.version, report.samples, report.quarantined) == (serial_version, 6, ())
    assert leftovers(tmp_path / "out") == []


@pytest.mark.slow
def test_a_cluster_is_taken_by_client_executor_or_address(cluster: Any, spawned: ModuleType, serial_version: str, tmp_path: Path) -> None:
    from distributed import Client

    with Client(cluster) as client:
        ways = {"client": client, "executor": client.get_executor(), "address": cluster.scheduler_address}
        for name, way in ways.items():
            for again in range(2):  # a build is never answered from Dask's memory of an equal one
                shutil.rmtree(tmp_path / name, ignore_errors=True)
                report = build_shards(range(6), spawned.make, tmp_path / name, per_shard=2, executor=way)
                assert (report.version, report.reused, again) == (serial_version, 0, again)


@pytest.mark.slow
def test_an_item_that_kills_every_dask_worker_ends_the_build_with_the_name_of_a_shard_it_had(
    cluster: Any, spawned: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    with Client(cluster) as client, pytest.raises(MedioError, match=r"00000\d\.b2z: a worker process died .*workers=N"):
        build_shards(range(6), spawned.Dying(3), tmp_path, per_shard=2, executor=client)
    assert "000001" not in indexes(tmp_path)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    folder.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_no_finished_shard_and_the_build_goes_on_where_there_is_room(
    spawned: ModuleType, serial_version: str, tmp_path: Path
) -> None:
    # Two samples of noise take about 70 kB a shard: the first shard fits into 160 kB, the second does not beside its own staging.
    with small_disk(tmp_path / "disk", 160 * 1024) as disk:
        with pytest.raises(OSError, match="No space left on device"):
            build_shards(range(6), spawned.make, disk, per_shard=2)
        assert indexes(disk) == ["000000"]
        assert leftovers(disk) == []
        assert [sample["image"].max() for sample in (ShardDataset(disk)[0], ShardDataset(disk)[1])] == [
            spawned.image(n).max() for n in (0, 1)
        ]
        shutil.copytree(disk, tmp_path / "larger")
    report = build_shards(range(6), spawned.make, tmp_path / "larger", per_shard=2)
    assert (report.reused, report.version) == (1, serial_version)


def test_a_limit_on_the_size_of_files_ends_the_build_like_a_full_disk(spawned: ModuleType, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            build_shards(range(2), spawned.make, tmp_path, per_shard=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_is_gone_before_the_next_one_is_made(tmp_path: Path) -> None:
    living: list[weakref.ref[np.ndarray]] = []
    most = 0

    def recipe(item: int) -> ShardSample:
        nonlocal most
        volume = np.full((1, 8, 8, 8), item, np.int16)
        living.append(weakref.ref(volume))
        most = max(most, sum(reference() is not None for reference in living))
        return ShardSample(sample_id=f"s{item}", patient_id="p", arrays={"image": volume}, spacing=(1, 1, 1), affine=np.eye(4))

    build_shards(range(8), recipe, tmp_path, per_shard=4)
    assert len(living) == 8
    assert most == 1


PEAK = """
import sys
from pathlib import Path
import medio_spawned
from medio.shards.build import build_shards

def peak():
    # not getrusage: a process inherits the peak of its parent there
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")) / 1024

build_shards([0], medio_spawned.make, sys.argv[1] + "/small")
before = peak()
build_shards(range(int(sys.argv[2])), medio_spawned.large, sys.argv[1] + "/large", per_shard=4)
print(peak() - before)
"""


def test_a_build_holds_at_most_two_volumes_however_many_it_makes(spawned: ModuleType, tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc to measure peak memory in")
    environment = {**os.environ, "PYTHONPATH": str(Path(spawned.__file__).parent)}
    run = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path), "5"], capture_output=True, text=True, check=True, env=environment)
    assert 64 <= float(run.stdout) < 2 * 64 + 16  # MiB; a volume is 64
