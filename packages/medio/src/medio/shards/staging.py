"""Files in the making, named after the process that makes them, so that what a killed one left can be told and removed."""

import contextlib
import os
import shutil
import socket
import time
import uuid
from pathlib import Path

_SUFFIX = ".tmp"
_DAY = 86400.0


def staging_name(name: str) -> str:
    """Return a fresh hidden name for what will become `name`."""
    return f".{name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}{_SUFFIX}"


def clear_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of `name`: of a dead process of this machine, or older than a day."""
    for path in folder.glob(f".{name}.*{_SUFFIX}"):
        # Names and hosts may hold dots; the process and the token that end the name do not.
        left, pid = path.name.removesuffix(_SUFFIX).rsplit(".", 2)[:2]
        dead = left.endswith(f".{socket.gethostname()}") and pid.isdigit() and not _alive(int(pid))
        with contextlib.suppress(OSError):  # another process may clear it too
            if dead or time.time() - path.stat().st_mtime > _DAY:
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
