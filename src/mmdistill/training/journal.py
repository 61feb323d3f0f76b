"""Readings of the losses become rows of the history, which trackers and whoever looks at the screen see too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmdistill.training.history import FILE_NAME, History, Row, average, probe_score
from mmdistill.training.progress import Progress
from mmdistill.training.record import Reading, Record
from mmdistill.training.stopwatch import Stopwatch
from mmdistill.training.validation import Validation


class Journal:
    """What is known about the steps since the last row of the history, and the history itself.

    Args:
        record: where the steps leave their terms.
        folder: for history.csv; None keeps the rows in memory only.
        track: sends a row to the trackers.
        progress: what a person sees.
        probed: columns of the table whose probes are scored on the validation rows.
    """

    def __init__(
        self,
        record: Record,
        folder: Path | None,
        track: Callable[[Row], None],
        progress: Progress,
        probed: Sequence[str] = (),
    ) -> None:
        self.record, self.stopwatch = record, Stopwatch()
        self._history = History(folder / FILE_NAME if folder is not None else None)
        self._track, self._progress, self._probed = track, progress, tuple(probed)
        self._readings: list[Reading] = []
        self._row_began = 0.0

    @property
    def rows(self) -> list[Row]:
        """The rows so far."""
        return self._history.rows

    def read(self) -> None:
        """Fetch what the steps left on the device; waits for it.

        Raises:
            NotFiniteError: when a term or a gradient norm is NaN or infinite.
        """
        self._readings += self.record.read()

    def write(self, epoch: float, step: int, learning_rate: float, look: Validation | None = None) -> None:
        """Add a row about the steps since the last one; none is written without steps and without a look.

        Raises:
            NotFiniteError: as `read`.
        """
        self.read()
        if not self._readings and look is None:
            return
        seconds = self.stopwatch.seconds
        means = average(self._readings) if self._readings else self._no_means()
        taken = seconds - self._row_began
        row: Row = {
            "epoch": round(epoch, 6),
            "step": step,
            "learning_rate": learning_rate,
            **means,
            "validation_score": None if look is None else look.score,
            **{probe_score(column): None if look is None else look.score_of(column) for column in self._probed},
            "seconds": round(seconds, 6),
            "samples_per_second": sum(one.rows for one in self._readings) / taken if taken > 0 else None,
        }
        self._history.append(row)
        self._track(row)
        self._progress.losses(means)
        self._readings, self._row_began = [], seconds

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint, after `read`."""
        return {
            "history": self._history.rows,
            "readings": [
                [one.values, one.gradient_norm, one.rows, one.term_norms, one.beside] for one in self._readings
            ],
            "seconds": self.stopwatch.seconds,
            "row_began": self._row_began,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint; history.csv loses what was written after it."""
        self._history.restore(state["history"])
        self._readings = [Reading(*held) for held in state["readings"]]
        self.stopwatch = Stopwatch(state["seconds"])
        self._row_began = state["row_began"]

    def start_afresh(self) -> None:
        """Remove the history of an earlier training that left no checkpoint."""
        self._history.restore([])

    def _no_means(self) -> dict[str, float | None]:
        """Empty cells for the losses of a row that only has a score."""
        if not self._history.rows:
            return {}
        names = list(self._history.rows[-1])
        return dict.fromkeys(names[names.index("learning_rate") + 1 : names.index("validation_score")])
