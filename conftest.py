"""What every test of the house shares: quiet CPU threads, and the way to the real data."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A property test draws the same examples in every run, and a busy machine is no counterexample.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

# Set before torch is imported: GNU OpenMP otherwise spins at barriers and starves a second busy process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED_DATA = Path(__file__).resolve().parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data absent: {SHARED_DATA.parent.name}/{SHARED_DATA.name} is not beside the checkout")
    return SHARED_DATA
