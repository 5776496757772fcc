"""Tells workers to end: after a signal, or when their time is over; the batch is finished first."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Tells workers to end: after a signal, or when their time is over.

    Args:
        seconds: how long they may work; None for as long as it takes.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.signal: int | None = None
        self._event = threading.Event()
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def __call__(self) -> bool:
        """Whether to end."""
        return self._event.is_set() or (
            self._deadline is not None and time.monotonic() >= self._deadline
        )

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the end."""
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - time.monotonic())
        if seconds > 0:
            self._event.wait(seconds)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for the end, inside the block; the second one is as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may listen
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def end(number: int, frame: FrameType | None) -> None:
            self.signal = number
            self._event.set()
            signal.signal(number, before[signal.Signals(number)])

        for number in SIGNALS:
            signal.signal(number, end)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
