"""One shard, open for reading: any part of any array, into the caller's buffer, from any number of threads."""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

from medio.errors import CorruptFileError
from medio.shards import native
from medio.shards.sample import array_hash, member_name

Array = npt.NDArray[Any]

_MEND = "delete the file and its .parquet and build again"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then the lengths of name and extra field, which the data follows


class ShardReader:
    """The arrays of one shard.

    A shard is a zip of uncompressed members, each a Blosc2 array, so an array is read where it lies in the file, by file input and not by a memory map
    (a cold crop takes a third of the time). Nothing is kept open: a reader can be used by threads, copied and forked.

    Args:
        path: of the `.b2z` file.

    Raises:
        CorruptFileError: where it is no such zip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                members = {info.filename: info for info in file.infolist()}
        except FileNotFoundError as error:
            raise CorruptFileError(path, "is missing while its index exists; delete the .parquet and build again") from error
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise CorruptFileError(path, f"cannot be opened ({error}); {_MEND}") from error
        self._headers = {name: info.header_offset for name, info in members.items() if info.compress_type == zipfile.ZIP_STORED}
        self._offsets: dict[str, int] = {}
        self._sound: set[str] = set()

    def read_into(
        self,
        row: int,
        name: str,
        start: Sequence[int],
        stop: Sequence[int],
        out: Array,
        *,
        shape: Sequence[int],
        checksum: str | None = None,
    ) -> None:
        """Read array[start:stop] into `out`; no lock of the interpreter is held meanwhile where Blosc2's library can be called.

        Args:
            row: of the sample.
            name: of the array.
            start: first index along each axis.
            stop: one past the last index along each axis; at least one voxel.
            out: of the part's shape and the array's type.
            shape: of the whole array, as the index says.
            checksum: SHA-256 of the whole array, to prove it once before its first use; None trusts the file.

        Raises:
            CorruptFileError: where the file does not hold that array, or cannot be decompressed.
        """
        key = member_name(row, name)
        try:
            offset = self._offset(key, tuple(shape), out.dtype)
            if checksum is not None and key not in self._sound:
                self._prove(key, offset, shape, out.dtype, checksum)
            self._read(offset, start, stop, out)
        except CorruptFileError:
            raise
        except Exception as error:
            raise CorruptFileError(self.path, f"{key} cannot be read ({error}); {_MEND}") from error

    def _read(self, offset: int, start: Sequence[int], stop: Sequence[int], out: Array) -> None:
        library = native.load()
        if library is None:
            out[...] = self._opened(offset)[tuple(slice(*bounds) for bounds in zip(start, stop, strict=True))]
        elif out.flags.c_contiguous and out.flags.writeable:
            library.read(self.path, offset, start, stop, out)
        else:
            part = np.empty(out.shape, out.dtype)
            library.read(self.path, offset, start, stop, part)
            out[...] = part

    def _offset(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Where the array's frame begins in the file; its shape and type are checked on the first call."""
        if key in self._offsets:
            return self._offsets[key]
        if key not in self._headers:
            raise KeyError("the file has no such member")
        with self.path.open("rb") as file:
            file.seek(self._headers[key])
            signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise ValueError("no member begins where the directory says")
        offset = self._headers[key] + _LOCAL_HEADER.size + int(name) + int(extra)
        found = self._opened(offset)
        if found.shape != shape or found.dtype != dtype:
            raise CorruptFileError(self.path, f"{key} holds {found.dtype} {found.shape}, the index says {dtype} {shape}; {_MEND}")
        self._offsets[key] = offset
        return offset

    def _opened(self, offset: int) -> Any:
        # One thread: workers already use the cores.
        return blosc2.blosc2_ext.open(str(self.path), mode="r", offset=offset, dparams=blosc2.DParams(nthreads=1))

    def _prove(self, key: str, offset: int, shape: Sequence[int], dtype: np.dtype[Any], checksum: str) -> None:
        whole = np.empty(tuple(shape), dtype)
        self._read(offset, (0,) * len(shape), shape, whole)
        if array_hash(whole) != checksum:
            raise CorruptFileError(self.path, f"{key} differs from what was stored; {_MEND}")
        self._sound.add(key)
