"""Seconds of training: what validation and checkpoints take does not count."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Adds up the time between `start` and `stop`.

    Args:
        seconds: what it has counted already, in an earlier sitting.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._counted = seconds
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """Counted so far."""
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._counted + running

    def start(self) -> None:
        """Count from now on."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Count no longer."""
        self._counted, self._started = self.seconds, None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count; afterwards it runs again if it did before."""
        running = self._started is not None
        self.stop()
        yield
        if running:
            self.start()
