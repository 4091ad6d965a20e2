"""Memory that batches are written into again and again: without a name, so that nothing is left behind however a process ends."""

import itertools
import mmap
import os
import shutil
import tempfile
import weakref
from collections import deque
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medio.errors import LoaderError

SHARED_FOLDER = Path("/dev/shm")


class Slots:
    """Pieces of memory, each of which holds one batch at a time.

    `lease` hands out a piece; it is free again when the last array or tensor that shares the memory is gone. There are as many pieces as are needed at once:
    one who keeps batches keeps memory, and never sees it change.
    """

    def __init__(self) -> None:
        self._memory: dict[int, mmap.mmap] = {}
        self._free: deque[int] = deque()
        self._numbers = itertools.count()

    @property
    def nbytes(self) -> int:
        """Bytes of all pieces."""
        return sum(len(memory) for memory in list(self._memory.values()))

    def take(self) -> int:
        """Take a free piece, or the number of a new one, which has no memory yet."""
        try:
            return self._free.pop()  # the last one used: its memory is the likeliest to be in a cache
        except IndexError:
            return next(self._numbers)

    def shed(self, spare: int) -> list[int]:
        """Forget free pieces beyond `spare`, as are left when a caller let go of many batches; returns their numbers."""
        dropped = []
        while len(self._free) > spare:
            try:
                dropped.append(self._free.popleft())
            except IndexError:
                break
            self._memory.pop(dropped[-1], None)
        return dropped

    def provide(self, number: int, size: int) -> npt.NDArray[np.uint8]:
        """Give a taken piece's memory in this process, at least `size` bytes."""
        memory = self._memory.get(number)
        if memory is None or len(memory) < size:
            memory = self._memory[number] = mmap.mmap(-1, rounded(size))
        return np.frombuffer(memory, np.uint8)

    def adopt(self, number: int, descriptor: int, size: int) -> None:
        """Map a file that another process made as a taken piece; closes the descriptor."""
        try:
            self._memory[number] = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def lease(self, number: int) -> npt.NDArray[np.uint8]:
        """Hand out a taken piece, (bytes,) uint8; it goes back when nothing shares the array's memory any more."""
        # Views of numpy and tensors keep this very array alive, since what lies below it is no array.
        lease = np.frombuffer(self._memory[number], np.uint8)
        weakref.finalize(lease, self._free.append, number).atexit = False
        return lease

    def give_back(self, number: int) -> None:
        """Free a taken piece that was not leased."""
        self._free.append(number)


def rounded(size: int) -> int:
    """Round up to what a mapping holds, with room for a batch a little larger."""
    return -(-max(size + size // 8, 1) // mmap.PAGESIZE) * mmap.PAGESIZE


def nameless_file(size: int) -> int:
    """Make a file in memory that is in no folder, of `size` bytes; returns its descriptor.

    Raises:
        LoaderError: when there is no room.
    """
    try:
        descriptor = os.memfd_create("medio-batch", os.MFD_CLOEXEC)
    except (AttributeError, OSError):  # not Linux, or forbidden by a sandbox
        return _file_in_folder(size)
    os.ftruncate(descriptor, size)
    return descriptor


def _file_in_folder(size: int) -> int:
    with tempfile.TemporaryFile(dir=SHARED_FOLDER if SHARED_FOLDER.is_dir() else None) as file:
        descriptor = os.dup(file.fileno())
    try:
        # The folder has a limit of its own. Without this, that it is full would show as SIGBUS at the first touch.
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        os.close(descriptor)
        raise LoaderError(SHARED_FOLDER, f"no room for a batch of {size / 1e6:.0f} MB ({error.strerror}); {_MEND}") from error
    return descriptor


def check_shared_folder(needed: int, folder: Path = SHARED_FOLDER) -> None:
    """Refuse to begin what the shared-memory folder cannot hold.

    Raises:
        LoaderError: names the need, what is free, and the mend.
    """
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise LoaderError(folder, f"has {free / 1e6:.0f} MB free and the loader's batches need about {needed / 1e6:.0f} MB; {_MEND}")


_MEND = "give the container more (docker run --shm-size=8g, or --ipc=host), lower workers, prefetch or the batch size, or use transport='ring' or 'threads'"
