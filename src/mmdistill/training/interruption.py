"""Ctrl-C and SIGTERM as a wish that the loop grants at the end of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from mmdistill.errors import MMDistillError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(MMDistillError):
    """Training was ended by Ctrl-C or SIGTERM, after a checkpoint was written (exit status 1)."""


class Interruption:
    """While entered, the first signal sets `asked` and gives back the usual handling: a second one ends at once.

    Outside the main thread, where Python handles no signals, nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is Python's
        self.asked = True
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            # A handler that was not set from Python reads as None and can only be replaced by the default.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}
