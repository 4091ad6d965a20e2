"""SIGTERM and SIGINT as a request that the loop answers after its step."""

import signal
import threading
from types import FrameType
from typing import Any


class StopSignals:
    """While open, the first SIGTERM or SIGINT sets `received`; a second one acts as it did before. Without effect outside the main thread."""

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._previous[number])
