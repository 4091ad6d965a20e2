"""Blosc2's own C library through ctypes: reads a part of an array into the caller's buffer without the interpreter's lock.

`blosc2.NDArray[...]` holds the lock while it decompresses, so threads gain nothing from it; the C function that it calls does not need it. The library
is the one inside the installed blosc2 package. It is used only after it has read a small array exactly as the package does; where it is absent, of an
unknown version, or answers otherwise, `load` gives None and readers fall back to the package.
"""

import ctypes
import functools
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAJORS = (2, 3)  # of C-Blosc2: the versions whose functions below were checked


class Library:
    """The functions of C-Blosc2 that reading takes."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        library.blosc2_get_version_string.restype = ctypes.c_char_p
        version = library.blosc2_get_version_string().decode()
        if int(version.split(".")[0]) not in _MAJORS or not re.match(rf"{re.escape(version)}\b", blosc2.blosclib_version):
            raise OSError(f"{path} is C-Blosc2 {version}, the blosc2 package has {blosc2.blosclib_version}")
        self._open = library.b2nd_open_offset
        self._open.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int64)
        self._slice = library.b2nd_get_slice_cbuffer
        longs = ctypes.POINTER(ctypes.c_int64)
        self._slice.argtypes = (ctypes.c_void_p, longs, longs, ctypes.c_void_p, longs, ctypes.c_int64)
        self._free = library.b2nd_free
        self._free.argtypes = (ctypes.c_void_p,)
        for function in (self._open, self._slice, self._free):
            function.restype = ctypes.c_int
        library.blosc2_init.restype = None
        library.blosc2_init()  # this copy of the library is not the one linked into the package

    def read(self, path: Path, offset: int, start: Sequence[int], stop: Sequence[int], out: Array) -> None:
        """Read array[start:stop] of the frame at `offset` of a file into `out`.

        The frame's shape and type must have been checked before: the library trusts the caller.

        Args:
            path: of the file.
            offset: in bytes.
            start: first index along each axis.
            stop: one past the last index along each axis.
            out: of the frame's type and the part's shape, C-contiguous. (A box within a larger buffer will not do: the library clears all of it.)

        Raises:
            OSError: where the file cannot be read or decompressed.
        """
        dims = len(start)
        frame = ctypes.c_void_p()
        # A handle a read: handles are not for two threads at once, and opening one costs 0.03 ms.
        code = self._open(str(path).encode(), ctypes.byref(frame), offset)
        if code < 0 or not frame:
            raise OSError(f"C-Blosc2 cannot open the array (code {code})")
        try:
            axes = ctypes.c_int64 * dims
            code = self._slice(frame, axes(*start), axes(*stop), out.ctypes.data, axes(*out.shape), out.nbytes)
        finally:
            self._free(frame)
        if code < 0:
            raise OSError(f"C-Blosc2 cannot decompress the array (code {code})")


@functools.cache
def load() -> Library | None:
    """Return the library of the installed blosc2 package once it has proved itself, else None."""
    for path in _candidates():
        try:
            library = Library(path)
            if _proves_itself(library):
                return library
        except (OSError, AttributeError, ValueError):
            continue
    return None


def _candidates() -> list[Path]:
    """Shared libraries of C-Blosc2 in and beside the blosc2 package, by platform."""
    package = Path(blosc2.__file__).parent
    pattern = {"win32": "*blosc2*.dll", "darwin": "libblosc2*.dylib"}.get(sys.platform, "libblosc2.so*")
    folders = (package / "lib", package / "lib64", package / "bin", package, package.parent / "blosc2.libs")
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob(pattern))]


def _proves_itself(library: Library) -> bool:
    """Whether it reads a part of a small array exactly."""
    array = np.arange(5 * 7 * 9, dtype=np.int16).reshape(5, 7, 9)
    with tempfile.TemporaryDirectory(prefix="medio-blosc2-") as folder:
        path = Path(folder) / "probe"
        path.write_bytes(b"12345" + blosc2.asarray(array, chunks=(3, 4, 5), blocks=(2, 2, 3)).to_cframe())
        out = np.full((3, 4, 5), -1, dtype=np.int16)
        library.read(path, 5, (1, 3, 2), (4, 7, 7), out)
    return bool(np.array_equal(out, array[1:4, 3:7, 2:7]))
