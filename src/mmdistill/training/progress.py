"""What a person sees while a model trains: a bar on a terminal, a line per look at the validation rows elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_DRAWINGS = 0.25
SECONDS_BETWEEN_LINES = 30.0


class Progress(Protocol):
    """Told about a training by the loop; no method may look at a tensor."""

    def start(self, name: str, total_steps: int, step: int) -> None:
        """Training begins, or goes on after `step` steps."""

    def step(self, step: int) -> None:
        """So many optimiser steps are done; called after each, so it returns at once."""

    def losses(self, means: Mapping[str, float | None]) -> None:
        """Mean of each loss term since the last reading."""

    def validated(self, epoch: int, score: float, best: bool) -> None:
        """Score on the validation rows after so many epochs."""

    def stop(self) -> None:
        """Training ended, in whatever way."""


def progress_for(console: Console | None = None) -> Progress:
    """A bar when the console (standard error by default) is a terminal, else plain lines."""
    console = console or Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines(console)


class Silent:
    """Shows nothing."""

    def start(self, name: str, total_steps: int, step: int) -> None: ...

    def step(self, step: int) -> None: ...

    def losses(self, means: Mapping[str, float | None]) -> None: ...

    def validated(self, epoch: int, score: float, best: bool) -> None: ...

    def stop(self) -> None: ...


class Lines:
    """A line for each look at the validation rows, and every half minute between them, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name, self._total, self._done = "", 0, 0
        self._losses, self._said = "", 0.0

    def start(self, name: str, total_steps: int, step: int) -> None:
        self._name, self._total, self._done = name, total_steps, step
        going_on = f", going on after {step}" if step else ""
        self._say(f"{total_steps} steps{going_on}")

    def step(self, step: int) -> None:
        self._done = step

    def losses(self, means: Mapping[str, float | None]) -> None:
        self._losses = _losses_text(means)
        if time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._say(f"step {self._done}/{self._total}, {self._losses}")

    def validated(self, epoch: int, score: float, best: bool) -> None:
        mark = " (best)" if best else ""
        self._say(f"epoch {epoch}, step {self._done}/{self._total}, {self._losses}, validation {score:.4f}{mark}")

    def stop(self) -> None: ...

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(f"{self._name}: {text}", markup=False, highlight=False, soft_wrap=True)


class Bar:
    """A progress bar with the time left, the loss terms and the validation score.

    It is drawn from the loop, at most four times a second: a thread that draws would take time from the training.
    """

    def __init__(self, console: Console) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[score]}"),
            console=console,
            auto_refresh=False,
            transient=False,
        )
        self._drawn, self._done = 0.0, 0

    def start(self, name: str, total_steps: int, step: int) -> None:
        self._bar.start()
        self._done = step
        self._task = self._bar.add_task(name, total=total_steps, completed=step, losses="", score="")

    def step(self, step: int) -> None:
        self._done = step
        now = time.monotonic()
        if now - self._drawn >= SECONDS_BETWEEN_DRAWINGS:
            self._drawn = now
            self._bar.update(self._task, completed=step, refresh=True)

    def losses(self, means: Mapping[str, float | None]) -> None:
        self._bar.update(self._task, losses=_losses_text(means))

    def validated(self, epoch: int, score: float, best: bool) -> None:
        mark = " *" if best else ""
        text = f"epoch {epoch}, validation {score:.4f}{mark}"
        self._bar.update(self._task, completed=self._done, score=text, refresh=True)

    def stop(self) -> None:
        self._bar.update(self._task, completed=self._done, refresh=True)
        self._bar.stop()
        # What was drawn stays on the screen; the next training has a bar of its own and does not draw this one again.
        self._bar.remove_task(self._task)


def _losses_text(means: Mapping[str, float | None]) -> str:
    """The terms, and their total when there are several; probes are no part of it."""
    terms = [name for name in means if name != "total" and not name.startswith("probe/")]
    shown = [name for name in terms if not name.endswith("gradient_norm")]
    if len(shown) > 1:
        shown.append("total")
    values = ((name, means.get(name)) for name in shown)
    return " ".join(f"{name} {value:.4g}" for name, value in values if value is not None)
