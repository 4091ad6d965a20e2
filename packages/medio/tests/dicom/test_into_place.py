"""Frames straight into one array, on any number of threads, and rescaled there."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import medio
from medio.dicom.instances import open_instance
from medio.dicom.pixels import read_frames_into
from medio.dicom.rescale import read_rescaled

sys.path.insert(0, str(Path(__file__).parent / "making"))
from dicom_encoding import BIG, DEFLATED, EXPLICIT, HTJ2K, JPEG_2000, JPEG_LS, RLE, dataset, encode, items, made, write, write_encoded


class TestIntoPlace:
    """Frames of many files, straight into one array."""

    @pytest.mark.parametrize("threads", [1, 2, 5, None])
    @pytest.mark.parametrize("syntax", [EXPLICIT, BIG, DEFLATED, RLE, JPEG_LS, HTJ2K])
    def test_any_number_of_threads_gives_the_same_array(self, tmp_path: Path, syntax: str, threads: int | None) -> None:
        truth = made("i2", 12, count=6)
        paths = [write_encoded(tmp_path / f"{i}.dcm", truth[2 * i : 2 * i + 2], syntax, bits=12) for i in range(3)]
        out = np.empty_like(truth)
        done: list[int] = []
        places = [[4, 5], [2, 3], [0, 1]]
        read_frames_into([open_instance(p) for p in paths], out, places, threads=threads, after=lambda z, plane: done.append(z))
        assert np.array_equal(out, truth[[4, 5, 2, 3, 0, 1]])
        assert sorted(done) == [0, 1, 2, 3, 4, 5]

    def test_frames_without_a_place_are_left(self, tmp_path: Path) -> None:
        truth = made("u2", 12, count=3)
        out = np.full((1, 24, 30), 7, np.uint16)
        read_frames_into([open_instance(write_encoded(tmp_path / "a.dcm", truth, RLE, bits=12))], out, [[None, 0, None]])
        assert np.array_equal(out[0], truth[1])

    def test_a_wider_type_takes_the_values(self, tmp_path: Path) -> None:
        truth = made("u2", 16)
        out = np.empty((1, 24, 30), np.int32)
        read_frames_into([open_instance(write_encoded(tmp_path / "a.dcm", truth, EXPLICIT))], out, [[0]])
        assert np.array_equal(out, truth)

    def test_a_narrower_type_is_refused(self, tmp_path: Path) -> None:
        instance = open_instance(write_encoded(tmp_path / "a.dcm", made("u2", 16), EXPLICIT))
        with pytest.raises(medio.UnsupportedError, match="uint16 do not fit in an array of int16"):
            read_frames_into([instance], np.empty((1, 24, 30), np.int16), [[0]])

    def test_another_size_is_refused(self, tmp_path: Path) -> None:
        instance = open_instance(write_encoded(tmp_path / "a.dcm", made("u2", 16), EXPLICIT))
        with pytest.raises(medio.GeometryError, match="frames of 24x30 where 30x24 is asked for"):
            read_frames_into([instance], np.empty((1, 30, 24), np.uint16), [[0]])

    @pytest.mark.parametrize("threads", [1, 3])
    def test_the_error_names_the_file_that_is_broken(self, tmp_path: Path, threads: int) -> None:
        truth = made("u2", 12, count=4)
        paths = [write_encoded(tmp_path / f"{i}.dcm", truth[i : i + 1], JPEG_LS, bits=12) for i in range(4)]
        instances = [open_instance(p) for p in paths]
        paths[2].write_bytes(paths[2].read_bytes()[:-40])
        with pytest.raises(medio.CorruptFileError, match=r"2\.dcm: "):
            read_frames_into(instances, np.empty_like(truth), [[i] for i in range(4)], threads=threads)


class TestRescaled:
    """Values in int16 where that is exact, whatever the headers promise."""

    @given(
        bits=st.sampled_from([8, 12, 16]),
        signed=st.booleans(),
        slopes=st.lists(st.sampled_from([1.0, 2.0, -1.0, 0.5, 40.0]), min_size=3, max_size=3),
        intercepts=st.lists(st.sampled_from([0.0, -1024.0, 1000.5, 30000.0]), min_size=3, max_size=3),
        syntax=st.sampled_from([EXPLICIT, BIG, RLE, JPEG_LS]),
    )
    def test_every_slice_is_slope_times_stored_plus_intercept(
        self, tmp_path_factory: pytest.TempPathFactory, bits: int, signed: bool, slopes: list[float], intercepts: list[float], syntax: str
    ) -> None:
        folder = tmp_path_factory.mktemp("rescaled")
        truth = made("i2" if signed else "u2", bits, count=3, shape=(6, 5))
        instances = [open_instance(write_encoded(folder / f"{i}.dcm", truth[i : i + 1], syntax, bits=bits)) for i in range(3)]
        found = read_rescaled(instances, [[0], [1], [2]], truth.shape, slopes, intercepts)
        exact = truth * np.array(slopes)[:, None, None] + np.array(intercepts)[:, None, None]
        whole = all(float(v).is_integer() for v in (*slopes, *intercepts))
        fits = whole and exact.min() >= -32768 and exact.max() <= 32767
        assert found.dtype == (np.int16 if fits else np.float32)
        assert np.array_equal(found, exact.astype(found.dtype))

    def test_floats_stay_floats(self, tmp_path: Path) -> None:
        truth = np.random.default_rng(0).normal(size=(1, 6, 5)).astype(np.float32)
        described = dataset(truth)
        path = write(tmp_path / "a.dcm", described, truth.tobytes(), vr="OF")
        path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 0x7FE0, 0x0010), struct.pack("<HH", 0x7FE0, 0x0008)))
        found = read_rescaled([open_instance(path)], [[0]], (1, 6, 5), [1.0], [0.0])
        assert found.dtype == np.float32
        assert np.array_equal(found, truth)

    def test_codestreams_deeper_than_bits_stored_are_looked_at(self, tmp_path: Path) -> None:
        # The header promises 12 bit, the codestream holds 40000: with an intercept of -1024 that does not fit in int16.
        truth = np.full((1, 6, 5), 40000, np.uint16)
        path = write(
            tmp_path / "a.dcm", dataset(truth, bits=12), items(b"", [encode(JPEG_2000, truth[0], 16)]), JPEG_2000, vr="OB", undefined=True
        )
        found = read_rescaled([open_instance(path)], [[0]], (1, 6, 5), [1.0], [-1024.0])
        assert (found == 38976).all()
