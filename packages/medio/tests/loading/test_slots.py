import errno
import gc
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from medio.errors import LoaderError
from medio.loading import slots
from medio.loading.slots import Slots, check_shared_folder, nameless_file


def test_a_piece_is_free_only_when_the_last_view_is_gone() -> None:
    ring = Slots()
    number = ring.take()
    ring.provide(number, 100)[:4] = 7
    lease = ring.lease(number)
    view = lease[:4].view(np.int16).reshape(2, 1)[1:]
    del lease
    gc.collect()
    assert ring.take() != number
    assert view.item() == 7 * 257
    del view
    gc.collect()
    assert ring.take() == number


def test_a_piece_grows_and_shed_pieces_are_forgotten() -> None:
    ring = Slots()
    numbers = [ring.take() for _ in range(4)]
    for number in numbers:
        ring.provide(number, 10_000)
    small = ring.nbytes
    ring.provide(numbers[0], 100_000)
    assert ring.nbytes > small + 80_000
    for number in numbers:
        ring.give_back(number)
    assert len(ring.shed(1)) == 3
    assert ring.nbytes < small
    assert ring.shed(1) == []


@pytest.mark.parametrize("sandboxed", [False, True])
def test_shared_memory_has_no_name_anywhere(sandboxed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if sandboxed:  # a system that forbids memfd_create
        monkeypatch.delattr(os, "memfd_create")
    places = [Path(tempfile.gettempdir()), slots.SHARED_FOLDER]
    before = [sorted(place.iterdir()) for place in places if place.is_dir()]
    descriptor = nameless_file(1_000_000)
    try:
        assert os.fstat(descriptor).st_size == 1_000_000
        assert os.fstat(descriptor).st_nlink == 0
        assert [sorted(place.iterdir()) for place in places if place.is_dir()] == before
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and /dev/shm are Linux's")
def test_a_shared_folder_that_is_full_says_so_before_it_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(os, "posix_fallocate", full)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(LoaderError, match=r"no room for a batch of 2 MB \(No space left on device\); .*--shm-size"):
        nameless_file(2_000_000)
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_too_small_a_shared_folder_is_refused_with_the_mend(tmp_path: Path) -> None:
    check_shared_folder(1, tmp_path)
    with pytest.raises(LoaderError, match=rf"{tmp_path}: has \d+ MB free and .* need about 1000000000000 MB; .*docker run --shm-size"):
        check_shared_folder(10**18, tmp_path)
    check_shared_folder(10**18, tmp_path / "absent")  # a system without the folder keeps its shared memory elsewhere
