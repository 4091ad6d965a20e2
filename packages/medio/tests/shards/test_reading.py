"""Reading parts of arrays: by Blosc2's library and by its package alike, into buffers, from threads, from damaged files."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medio.errors import CorruptFileError, MedioError, SampleError
from medio.loading.sampler import Draw
from medio.shards import native
from medio.shards.build import build_shards
from medio.shards.crop import Crop
from medio.shards.dataset import ShardDataset
from medio.shards.reader import ShardReader
from medio.shards.sample import ShardSample

SHAPE = (2, 70, 40, 66)  # more than one chunk of 64 along z and x


def image(item: int) -> np.ndarray:
    smooth = np.add.outer(np.arange(70) * 9, np.add.outer(np.arange(40) * 5, np.arange(66)))
    return (smooth + np.random.default_rng(item).integers(0, 30, SHAPE)).astype(np.int16)


def make(item: int) -> ShardSample:
    mask = (image(item)[0] > 800).astype(np.uint8)
    return ShardSample(
        sample_id=f"s{item}", patient_id="p", arrays={"image": image(item), "mask": mask}, spacing=(1, 1, 1), affine=np.eye(4)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    build_shards(range(4), make, folder, per_shard=2)
    return folder


@pytest.fixture(params=["library", "package"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "package":
        monkeypatch.setattr(native, "load", lambda: None)
    return str(request.param)


def test_the_installed_package_has_a_library_that_proves_itself() -> None:
    # Without it all still works, but threads gain nothing: a release of blosc2 that moves it must be noticed here.
    assert native.load() is not None


def test_a_library_of_another_version_or_one_that_answers_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    (path, *_) = native._candidates()
    with monkeypatch.context() as patch:
        patch.setattr(blosc2, "blosclib_version", "3.99.0 ($Date:: 2030-01-01 #$)")
        with pytest.raises(OSError, match=r"the blosc2 package has 3\.99\.0"):
            native.Library(path)
    with monkeypatch.context() as patch:
        patch.setattr(native.Library, "read", lambda *args: None)
        assert native.load.__wrapped__() is None
    with monkeypatch.context() as patch:
        patch.setattr(native, "_candidates", list)
        assert native.load.__wrapped__() is None


bound = st.one_of(st.none(), st.integers(-80, 80))


@settings(max_examples=40)
@given(st.lists(st.builds(slice, bound, bound), max_size=4), st.integers(0, 3), st.booleans())
def test_a_region_read_into_a_buffer_equals_slicing_the_whole_array(root: Path, region: list[slice], index: int, library: bool) -> None:
    expected = image(index)[tuple(region)]
    dataset = ShardDataset(root)
    with pytest.MonkeyPatch.context() as patch:
        if not library:
            patch.setattr(native, "load", lambda: None)
        out = np.full(expected.shape, -7, np.int16)
        dataset.read_into(index, "image", region, out)
        np.testing.assert_array_equal(out, expected)
        around = np.full((*expected.shape[:3], expected.shape[3] + 5), -7, np.int16)  # rows apart: not contiguous
        dataset.read_into(index, "image", region, around[..., 2:-3])
        np.testing.assert_array_equal(around[..., 2:-3], expected)
        assert (around[..., :2] == -7).all()
        assert (around[..., -3:] == -7).all()


def test_a_buffer_of_another_shape_or_type_is_refused(root: Path) -> None:
    dataset = ShardDataset(root)
    with pytest.raises(ValueError, match=r"the buffer is float32 \(2, 70, 40, 66\), what is read int16"):
        dataset.read_into(0, "image", None, np.empty(SHAPE, np.float32))
    with pytest.raises(ValueError, match=r"int16 \(2, 70, 40, 66\)"):
        dataset.read_into(0, "image", None, np.empty(SHAPE[1:], np.int16))
    with pytest.raises(SampleError, match="s0: ValueError: the buffer is"):
        ShardDataset(root, crop=Crop((80, 9, 9))).load(0, {"image": np.empty((2, 9, 9, 9), np.int16)})


@pytest.mark.parametrize("size", [(16, 16, 16), (80, 20, 90)])
def test_a_sample_loaded_into_buffers_is_the_sample_and_holds_them(root: Path, way: str, size: tuple[int, int, int]) -> None:
    dataset = ShardDataset(root, crop=Crop(size))
    draw = Draw(1, (3, 0, "s1", 0))
    buffers = {"image": np.full((2, *size), -7, np.int16), "mask": np.full(size, 9, np.uint8)}
    sample, expected = dataset.load(draw, buffers), dataset[draw]
    for name, buffer in buffers.items():
        assert sample[name] is buffer
        np.testing.assert_array_equal(buffer, expected[name])


def test_only_the_touched_chunks_are_read(root: Path, tmp_path: Path, way: str) -> None:
    content = bytearray((root / "000000.b2z").read_bytes())
    array = blosc2.DictStore(str(root / "000000.b2z"), mode="r")["/000000/image"]
    chunks = array.schunk  # valid while the array lives, no longer
    assert chunks.nchunks == 8  # 2 channels x 2 x 1 x 2
    for n in range(1, 8):
        chunk = chunks.get_chunk(n)
        at = content.index(chunk)
        content[at : at + len(chunk)] = bytes(len(chunk))
    (tmp_path / "000000.b2z").write_bytes(content)
    (tmp_path / "000000.parquet").write_bytes((root / "000000.parquet").read_bytes())
    region = (slice(0, 1), slice(3, 60), slice(0, 40), slice(0, 64))  # all of the first chunk, nothing else
    np.testing.assert_array_equal(ShardDataset(tmp_path).read(0, "image", region), image(0)[region])
    with pytest.raises(CorruptFileError, match="000000"):
        ShardDataset(tmp_path).read(0, "image")


def test_the_interpreters_lock_is_free_while_the_library_reads(tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 3000, (256, 256, 256)).astype(np.int16)
    path = tmp_path / "large"
    path.write_bytes(blosc2.asarray(large, chunks=(64,) * 3, blocks=(32,) * 3).to_cframe())
    library = native.load()
    assert library is not None
    out, turns, stop = np.empty(large.shape, large.dtype), [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)  # gives the lock away

    counter = threading.Thread(target=count)
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody is made to give the lock away
    try:
        counter.start()
        first = turns[0]
        library.read(path, 0, (0, 0, 0), large.shape, out)
        advanced = turns[0] - first
    finally:
        stop.set()
        sys.setswitchinterval(before)
        counter.join()
    np.testing.assert_array_equal(out, large)
    assert advanced > 50


def test_threads_read_what_one_reads(root: Path, way: str) -> None:
    dataset = ShardDataset(root, crop=Crop((24, 24, 24)))
    draws = [Draw(n % 4, (n, 0, f"s{n % 4}", 0)) for n in range(60)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(dataset.load, draws))
    for draw, sample in zip(draws, together, strict=True):
        np.testing.assert_array_equal(sample["image"], dataset[draw]["image"])


def test_a_flipped_bit_is_told_by_name_once_arrays_are_checked(root: Path, tmp_path: Path, way: str) -> None:
    content = bytearray((root / "000001.b2z").read_bytes())
    array = blosc2.DictStore(str(root / "000001.b2z"), mode="r")["/000001/image"]
    chunk = array.schunk.get_chunk(0)
    content[content.index(chunk) + len(chunk) // 2] ^= 4
    for name in ("000000.b2z", "000000.parquet", "000001.parquet"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / "000001.b2z").write_bytes(content)
    dataset = ShardDataset(tmp_path, crop=Crop((8, 8, 8)), check=True)
    for index in (0, 1, 2):
        assert dataset[index]["image"].shape == (2, 8, 8, 8)
    with pytest.raises(SampleError, match=r"s3: .*000001\.b2z: 000001/image\.b2nd (differs from what was stored|cannot be read)"):
        dataset[3]


@pytest.mark.parametrize("damage", ["row swapped", "type changed", "member lost", "not a zip", "gone"])
def test_a_shard_that_is_not_what_its_index_says_is_told_by_name(root: Path, tmp_path: Path, damage: str, way: str) -> None:
    for name in ("000000.b2z", "000000.parquet"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    dataset = ShardDataset(tmp_path)
    path = tmp_path / "000000.b2z"
    if damage == "gone":
        path.unlink()
    elif damage == "not a zip":
        path.write_bytes(b"no zip at all")
    elif damage == "member lost":
        path.write_bytes(path.read_bytes().replace(b"000000/image.b2nd", b"000000/imagf.b2nd"))
    else:
        other = image(0).astype(np.int32) if damage == "type changed" else image(0)[:, :-1]
        folder = tmp_path / "other"
        build_shards(
            [0], lambda _: ShardSample(sample_id="s0", patient_id="p", arrays={"image": other}, spacing=(1, 1, 1), affine=np.eye(4)), folder
        )
        path.write_bytes((folder / "000000.b2z").read_bytes())
    with pytest.raises(CorruptFileError, match=r"000000\.b2z: .*build again"):
        dataset.read(0, "image")


FUZZ = """
import sys
from pathlib import Path
import numpy as np
from medio.errors import CorruptFileError
from medio.shards import native
from medio.shards.reader import ShardReader

source, target, whole = Path(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
if sys.argv[4] == "package":
    native.load = lambda: None
content = source.read_bytes()
told = 0
for seed in range(int(sys.argv[5])):
    rng = np.random.default_rng(seed)
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        # anywhere, in the first kilobytes (headers) and in the last (offsets, directory)
        at = [int(rng.integers(len(content))), int(rng.integers(6000)), len(content) - 1 - int(rng.integers(2000))][seed % 3]
        damaged[at] ^= 1 << int(rng.integers(8))
    target.write_bytes(damaged[: int(rng.integers(len(content)))] if seed % 10 == 0 else damaged)
    out = np.empty(whole.shape, whole.dtype)
    try:
        ShardReader(target).read_into(0, "image", (0,) * 4, whole.shape, out, shape=whole.shape, checksum=sys.argv[6])
        assert np.array_equal(out, whole)
    except CorruptFileError as error:
        assert target.name in str(error)
        told += 1
print(told)
"""


@pytest.mark.parametrize(
    ("way", "count"),
    [("library", 60), pytest.param("package", 200, marks=pytest.mark.slow), pytest.param("library", 2000, marks=pytest.mark.slow)],
)
def test_damaged_shards_are_told_by_name_and_crash_nothing(root: Path, tmp_path: Path, way: str, count: int) -> None:
    from medio.shards.sample import array_hash

    np.save(tmp_path / "whole.npy", image(0))
    arguments = [
        str(root / "000000.b2z"),
        str(tmp_path / "damaged.b2z"),
        str(tmp_path / "whole.npy"),
        way,
        str(count),
        array_hash(image(0)),
    ]
    run = subprocess.run([sys.executable, "-c", FUZZ, *arguments], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout) > count // 2


def test_a_missing_zip_is_told_when_the_dataset_is_opened(root: Path, tmp_path: Path) -> None:
    (tmp_path / "000000.parquet").write_bytes((root / "000000.parquet").read_bytes())
    with pytest.raises(MedioError, match=r"000000\.b2z: is missing while its index exists"):
        ShardDataset(tmp_path)


def test_a_reader_keeps_no_file_open(root: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("no /proc to count open files in")
    before = len(list(descriptors.iterdir()))
    readers: list[Any] = [ShardReader(root / "000000.b2z") for _ in range(20)]
    for reader in readers:
        reader.read_into(0, "image", (0,) * 4, SHAPE, np.empty(SHAPE, np.int16), shape=SHAPE)
    assert len(list(descriptors.iterdir())) == before
