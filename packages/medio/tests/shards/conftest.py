"""What the tests of shards share."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def spawned() -> Iterator[ModuleType]:
    """The module `medio_spawned`; spawned processes inherit the path on which they find it."""
    folder = str(Path(__file__).parent / "spawned")
    sys.path.insert(0, folder)
    import medio_spawned

    yield medio_spawned
    sys.path.remove(folder)
