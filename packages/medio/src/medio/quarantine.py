"""What a long job sets aside instead of stopping."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quarantined:
    """An input that gave no output, and why."""

    item: str
    reason: str
