"""Compressed frames in their items: found whatever the tables say, counted, and named where they are damaged."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import medio
from medio.dicom.instances import open_instance
from medio.dicom.pixels import frames

sys.path.insert(0, str(Path(__file__).parent / "making"))
from dicom_encoding import EXPLICIT, JPEG_LS, dataset, encode, items, made, write


def read(path: Path) -> np.ndarray:
    return np.stack(list(frames(open_instance(path))))


class TestEncapsulation:
    """The frames of a file lie in fragments; tables may help, mislead or be absent."""

    truth = made("u2", 12, count=3)

    def streams(self) -> list[bytes]:
        return [s + b"\0" * (len(s) % 2) for s in (encode(JPEG_LS, frame, 12) for frame in self.truth)]

    def file(self, folder: Path, pixels: bytes, **changes: object) -> Path:
        return write(folder / "a.dcm", dataset(self.truth, bits=12, **changes), pixels, JPEG_LS, vr="OB", undefined=True)

    def split(self, parts: int) -> tuple[list[bytes], bytes]:
        """Cut each stream in parts; the fragments, and the offset table that is right for them."""
        fragments, offsets, place = [], [], 0
        for stream in self.streams():
            offsets.append(place)
            step = -(-len(stream) // parts // 2) * 2
            cut = [stream[i : i + step] for i in range(0, len(stream), step)]
            fragments += cut
            place += sum(8 + len(part) for part in cut)
        return fragments, struct.pack(f"<{len(offsets)}I", *offsets)

    @pytest.mark.parametrize("table", ["right", "empty", "wrong", "short"])
    @pytest.mark.parametrize("parts", [1, 2, 3])
    def test_frames_are_found_with_any_table_and_any_fragments(self, tmp_path: Path, parts: int, table: str) -> None:
        fragments, right = self.split(parts)
        tables = {"right": right, "empty": b"", "wrong": struct.pack("<3I", 0, 10, 20), "short": right[:4]}
        assert np.array_equal(read(self.file(tmp_path, items(tables[table], fragments))), self.truth)

    def test_the_extended_table_is_used(self, tmp_path: Path) -> None:
        fragments, right = self.split(2)
        offsets = struct.unpack("<3I", right)
        extended = struct.pack("<3Q", *offsets)
        lengths = struct.pack("<3Q", *(len(s) for s in self.streams()))
        path = self.file(tmp_path, items(b"", fragments), ExtendedOffsetTable=extended, ExtendedOffsetTableLengths=lengths)
        assert np.array_equal(read(path), self.truth)

    def test_one_frame_may_be_many_fragments(self, tmp_path: Path) -> None:
        stream = self.streams()[0]
        pixels = items(b"", [stream[i : i + 50] for i in range(0, len(stream), 50)])
        path = write(tmp_path / "a.dcm", dataset(self.truth[:1], bits=12), pixels, JPEG_LS, vr="OB", undefined=True)
        assert np.array_equal(read(path), self.truth[:1])

    def test_fragments_of_odd_length_and_a_missing_delimiter_are_met(self, tmp_path: Path) -> None:
        odd = [encode(JPEG_LS, frame, 12) for frame in self.truth]
        odd = [s if len(s) % 2 else s + b"\0" + b"" for s in odd]
        unpadded = items(b"", odd, delimiter=False)
        assert np.array_equal(read(self.file(tmp_path, unpadded)), self.truth)
        padded = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(s)) + s + b"\0" * (len(s) % 2) for s in (b"", *odd))
        assert np.array_equal(read(self.file(tmp_path, padded)), self.truth)

    def test_too_few_frames_are_counted(self, tmp_path: Path) -> None:
        with pytest.raises(medio.CorruptFileError, match=r"holds 2 of 3 frames \(it is truncated\)"):
            read(self.file(tmp_path, items(b"", self.streams()[:2])))

    def test_more_frames_than_declared_are_left(self, tmp_path: Path) -> None:
        assert np.array_equal(read(self.file(tmp_path, items(b"", self.streams()), NumberOfFrames=2)), self.truth[:2])

    def test_a_cut_in_the_last_fragment_is_told_in_bytes(self, tmp_path: Path) -> None:
        path = self.file(tmp_path, items(b"", self.streams(), delimiter=False))
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(medio.CorruptFileError, match="ends 20 bytes before frame 3 of 3 does"):
            read(path)

    def test_something_else_among_the_items_is_named(self, tmp_path: Path) -> None:
        pixels = items(b"", self.streams()[:1], delimiter=False) + struct.pack("<HHI", 0x0008, 0x0016, 4) + b"abcd"
        with pytest.raises(medio.CorruptFileError, match=r"holds 1 of 3 frames \(\(0008,0016\) stands where an item should\)"):
            read(self.file(tmp_path, pixels))

    def test_fragments_under_an_uncompressed_syntax_are_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.dcm", dataset(self.truth, bits=12), items(b"", self.streams()), EXPLICIT, vr="OB", undefined=True)
        with pytest.raises(medio.CorruptFileError, match="in fragments though transfer syntax"):
            read(path)
