"""CPU threads that share a machine: set before torch is imported."""

import os


def prepare() -> None:
    """Let OpenMP threads sleep at barriers instead of spinning, unless the user chose otherwise.

    GNU OpenMP reads `OMP_WAIT_POLICY` when torch is imported. Spinning threads made a training step 5 to 30 times slower beside one other busy
    process; sleeping ones cost nothing. Commands call this first and import torch later, inside their `main`.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def is_main_process() -> bool:
    """Whether this process speaks and writes: rank 0 under torchrun, and any process outside it."""
    return os.environ.get("RANK", "0") == "0"
