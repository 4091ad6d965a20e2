"""Stop at the first figure that is not finite, without making a GPU wait for it."""

import math
from typing import Any

import torch
from torch import Tensor

from medrun.errors import NonFiniteLossError


class FiniteCheck:
    """On CPU a figure is looked at at once; on a GPU it is copied without waiting and looked at when the next one is asked for, or by `settle`."""

    def __init__(self) -> None:
        self._waiting: tuple[Tensor, Any, int, list[str], str] | None = None

    def __call__(self, value: Tensor, step: int, sample_ids: list[str], what: str) -> None:
        """Take a figure () to check.

        Raises:
            NonFiniteLossError: for this figure on CPU, for the one before on a GPU; names step and samples.
        """
        if value.device.type != "cuda":
            _check(value.detach(), step, sample_ids, what)
            return
        self.settle()
        host = torch.empty((), dtype=value.dtype, pin_memory=True)
        host.copy_(value.detach(), non_blocking=True)
        copied: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        self._waiting = (host, copied, step, sample_ids, what)

    def settle(self) -> None:
        """Look at the figure that waits, if one does."""
        if self._waiting is not None:
            (host, copied, step, sample_ids, what), self._waiting = self._waiting, None
            copied.synchronize()
            _check(host, step, sample_ids, what)


def _check(value: Tensor, step: int, sample_ids: list[str], what: str) -> None:
    if not math.isfinite(number := float(value)):
        raise NonFiniteLossError(step, number, sample_ids, what)
