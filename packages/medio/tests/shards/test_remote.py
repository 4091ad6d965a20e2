"""Datasets behind URLs: in memory, and in an object store of this machine; staged in a cache that keeps its limit."""

import itertools
import multiprocessing
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import numpy as np
import pytest

from medio.errors import MedioError, MissingFileError, SampleError, UnsupportedError
from medio.loading.sampler import Draw
from medio.shards.build import build_shards
from medio.shards.cache import Cache
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset
from medio.shards.sample import ShardSample
from medio.shards.storage import LocalFolder, RemoteFolder, open_folder
from medio.shards.verification import verify_shards


def image(item: int) -> np.ndarray:
    return np.random.default_rng(item).integers(-1000, 1000, (1, 20, 30, 40)).astype(np.int16)  # noise: 48 kB stay about 35 kB


def make(item: int) -> ShardSample:
    return ShardSample(sample_id=f"s{item}", patient_id=f"p{item}", arrays={"image": image(item)}, spacing=(1, 1, 1), affine=np.eye(4))


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, Any]]:
    """Options of an S3 server on 127.0.0.1 with the bucket `data`."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}", "client_kwargs": {"region_name": "eu-central-1"}}
    fsspec.filesystem("s3", **options).mkdir("data")
    yield options
    server.stop()


_NUMBER = itertools.count()


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any] | None]:
    """A fresh URL and the options of its file system."""
    if request.param == "memory":
        return f"memory://fresh{next(_NUMBER)}/shards", None
    return f"s3://data/fresh{next(_NUMBER)}/shards", request.getfixturevalue("s3")


def files(url: str, options: dict[str, Any] | None) -> dict[str, bytes]:
    folder = open_folder(url, options)
    return dict(folder.contents(sorted(folder.names())))


def test_a_dataset_behind_a_url_is_the_local_one(store: tuple[str, dict[str, Any] | None], tmp_path: Path) -> None:
    url, options = store
    built = build_shards(range(5), make, url, per_shard=2, storage_options=options)
    local = build_shards(range(5), make, tmp_path / "local", per_shard=2)
    assert (built.version, built.samples, built.root) == (local.version, 5, url)
    assert sorted(files(url, options)) == sorted(p.name for p in (tmp_path / "local").iterdir())
    dataset = ShardDataset(url, storage_options=options, cache=Cache(tmp_path / "cache", 1 << 20), crop=Crop((8, 8, 8)))
    assert dataset.version == local.version
    for index in range(5):
        draw = Draw(index, (7, 1, f"s{index}", 0))
        np.testing.assert_array_equal(dataset[draw]["image"], ShardDataset(tmp_path / "local", crop=Crop((8, 8, 8)))[draw]["image"])
    report = verify_shards(url, storage_options=options)
    assert (report.shards, report.arrays, report.problems) == (3, 5, ())
    assert build_shards(range(5), make, url, per_shard=2, storage_options=options).reused == 3
    shorter = build_shards(range(2), make, url, per_shard=2, storage_options=options)
    assert (shorter.reused, sorted(files(url, options))) == (1, ["000000.b2z", "000000.parquet"])


def test_an_index_is_put_last_and_a_changed_shard_loses_it_first(
    store: tuple[str, dict[str, Any] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = store
    asked: list[tuple[str, str]] = []
    for method in ("put", "remove"):
        whole = getattr(RemoteFolder, method)

        def noted(self: RemoteFolder, *arguments: Any, whole: Any = whole, method: str = method) -> None:
            asked.append((method, str(arguments[-1])))
            whole(self, *arguments)

        monkeypatch.setattr(RemoteFolder, method, noted)
    build_shards([0], make, url, storage_options=options)
    first = files(url, options)
    build_shards([1], make, url, storage_options=options)
    assert asked == [("remove", "000000.parquet"), ("put", "000000.b2z"), ("put", "000000.parquet")] * 2
    assert files(url, options)["000000.parquet"] != first["000000.parquet"]


def test_a_build_whose_store_fails_between_arrays_and_index_has_no_shard_and_goes_on(
    store: tuple[str, dict[str, Any] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = store
    whole = RemoteFolder.put

    def failing(self: RemoteFolder, source: Path, name: str) -> None:
        if name == "000001.parquet":
            raise OSError(28, "No space left on device")
        whole(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "put", failing)
        with pytest.raises(OSError, match="No space left"):
            build_shards(range(4), make, url, per_shard=2, storage_options=options)
    assert sorted(files(url, options)) == ["000000.b2z", "000000.parquet", "000001.b2z"]
    assert build_shards(range(4), make, url, per_shard=2, storage_options=options).reused == 1


@pytest.mark.slow
def test_spawned_processes_build_to_and_read_from_an_object_store(s3: dict[str, Any], tmp_path: Path, spawned: ModuleType) -> None:
    url = f"s3://data/fresh{next(_NUMBER)}"
    report = build_shards(range(6), spawned.make, url, per_shard=2, workers=2, storage_options=s3)
    assert report.version == build_shards(range(6), make, tmp_path / "local", per_shard=2).version
    dataset = ShardDataset(url, storage_options=s3)  # its cache is a temporary folder of this process
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(spawned.read, (dataset, 5)), image(5))
    staged = dataset.root.parent
    assert list(staged.glob("*.b2z"))
    del dataset
    assert not staged.exists()


def test_the_cache_keeps_its_limit_and_what_was_used_last(tmp_path: Path) -> None:
    url = f"memory://fresh{next(_NUMBER)}"
    build_shards(range(6), make, url, per_shard=1)
    sizes = [len(content) for name, content in files(url, None).items() if name.endswith(".b2z")]
    cache = Cache(tmp_path, int(2.5 * max(sizes)))  # room for two shards
    dataset = ShardDataset(url, cache=cache)
    fetched: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        whole = RemoteFolder.fetch
        patch.setattr(RemoteFolder, "fetch", lambda self, name, target: fetched.append(name[:6]) or whole(self, name, target))
        for index in (0, 1, 0, 2, 0, 1):
            np.testing.assert_array_equal(dataset[index]["image"], image(index))
            assert cache.used_bytes() <= cache.limit_bytes
    # 2 takes the place of 1, as 0 was used after it; 0 is never fetched again
    assert fetched == ["000000", "000001", "000002", "000001"]
    with pytest.raises(SampleError, match="the cache may hold 100; raise limit_bytes"):
        ShardDataset(url, cache=Cache(tmp_path / "small", 100))[0]


def test_a_staged_copy_that_vanishes_or_is_damaged_is_fetched_again(tmp_path: Path) -> None:
    url = f"memory://fresh{next(_NUMBER)}"
    build_shards(range(2), make, url, per_shard=1)
    dataset = ShardDataset(url, cache=Cache(tmp_path))
    assert dataset[0]["image"].max() == image(0).max()
    (staged,) = tmp_path.glob("*/000000.*.b2z")
    staged.unlink()
    np.testing.assert_array_equal(dataset[0]["image"], image(0))
    staged.write_bytes(staged.read_bytes()[:200])
    np.testing.assert_array_equal(dataset[0]["image"], image(0))
    fs = fsspec.filesystem("memory")
    fs.pipe(f"{url.removeprefix('memory:/')}/000001.b2z", b"no zip at all")
    with pytest.raises(SampleError, match=r"s1: CorruptFileError: .*000001\."):
        dataset[1]
    (problem,) = verify_shards(url).problems
    assert problem.item == f"{url}/000001.b2z"
    assert "cannot be opened" in problem.reason


def test_a_rebuilt_dataset_is_not_read_from_old_copies(tmp_path: Path) -> None:
    url = f"memory://fresh{next(_NUMBER)}"
    build_shards([0], make, url)
    old = ShardDataset(url, cache=Cache(tmp_path))
    assert old[0]["image"].max() == image(0).max()
    build_shards([1], make, url)
    new = ShardDataset(url, cache=Cache(tmp_path))
    np.testing.assert_array_equal(new[0]["image"], image(1))
    np.testing.assert_array_equal(old[0]["image"], image(0))  # its copy is still there


KILLED = """
import os, signal, sys
from pathlib import Path
from medio.shards.cache import Cache
from medio.shards.storage import RemoteFolder

class Dying(RemoteFolder):
    def size(self, name): return 1000
    def fetch(self, name, target):
        target.write_bytes(bytes(500))
        os.kill(os.getpid(), signal.SIGKILL)

Cache(Path(sys.argv[1]), 1500).stage(Dying("memory://x"), "000000.b2z", "token")
"""


def test_what_a_killed_process_left_in_the_cache_makes_room_and_is_no_shard(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    (left,) = tmp_path.glob("*/.*.tmp")
    assert not list(tmp_path.glob("*/*.b2z"))

    class Living(RemoteFolder):
        def size(self, name: str) -> int:
            return 1200

        def fetch(self, name: str, target: Path) -> None:
            target.write_bytes(bytes(1200))

    staged = Cache(tmp_path, 1500).stage(Living("memory://x"), "000000.b2z", "token")
    assert staged.stat().st_size == 1200
    assert not left.exists()


@pytest.mark.slow
def test_processes_that_share_a_cache_too_small_for_all_read_right_and_keep_the_limit(
    s3: dict[str, Any], tmp_path: Path, spawned: ModuleType
) -> None:
    url = f"s3://data/fresh{next(_NUMBER)}"
    build_shards(range(8), make, url, per_shard=1, storage_options=s3)
    largest = max(len(content) for name, content in files(url, s3).items() if name.endswith(".b2z"))
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        peaks = pool.starmap(spawned.read_all, [(url, s3, tmp_path, 4 * largest, seed) for seed in range(3)])
    # a shard in the making counts before room is made for it: one in each of the two other processes
    assert 0 < max(peaks) <= (4 + 2) * largest


def test_a_pickled_dataset_of_a_url_reads_where_its_cache_is_gone(tmp_path: Path) -> None:
    url = f"memory://fresh{next(_NUMBER)}"
    build_shards([0, 1], make, url)
    dataset = ShardDataset(url)
    data = pickle.dumps(dataset)
    del dataset
    np.testing.assert_array_equal(pickle.loads(data)[1]["image"], image(1))


def test_urls_that_lead_nowhere_say_so(tmp_path: Path, s3: dict[str, Any]) -> None:
    with pytest.raises(MissingFileError, match=r"memory://nothing: holds no shard"):
        ShardDataset("memory://nothing")
    with pytest.raises(MissingFileError, match="holds no shard"):
        verify_shards("s3://data/nothing", storage_options=s3)
    with pytest.raises(UnsupportedError, match="fsspec opens no such URL"):
        ShardDataset("quux://x")
    with pytest.raises(ValueError, match="a cache stages the shards of a URL"):
        ShardDataset(tmp_path, cache=Cache(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = {**s3, "endpoint_url": f"http://127.0.0.1:{free.getsockname()[1]}", "config_kwargs": {"retries": {"max_attempts": 0}}}
    with pytest.raises(MedioError, match=r"s3://data/x/: cannot be reached"):
        ShardDataset("s3://data/x", storage_options=dead)


def test_a_file_url_is_a_path_and_other_file_systems_rename_into_place(tmp_path: Path) -> None:
    assert open_folder(f"file://{tmp_path}") == LocalFolder(tmp_path)
    folder = RemoteFolder(f"local://{tmp_path}/far")  # no object store: what is put shows up whole, by a rename
    source = tmp_path / "source"
    source.write_bytes(b"content")
    folder.put(source, "000000.b2z")
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["000000.b2z"]
    assert not source.exists()
    folder.remove("000000.b2z")
    folder.remove("000000.b2z")
    assert folder.names() == []
    with pytest.raises(MissingFileError, match="does not exist"):
        folder.size("000000.b2z")
