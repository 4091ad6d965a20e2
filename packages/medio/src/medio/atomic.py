"""Writing a file whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a fresh path beside `path`; on success it takes the place of `path` at once, on an error it is removed.

    Args:
        path: the file to write; its folder is made if absent.

    Yields:
        a path with the same suffix in the same folder, to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
    partial = path.parent / f".{path.name.removesuffix(suffix)}.{secrets.token_hex(4)}.partial{suffix}"
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
