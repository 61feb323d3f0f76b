"""TensorBoard, MLflow and Weights & Biases through Accelerate: each row of the history is sent on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mmdistill.training.history import Row

PROJECT = "mmdistill"


@contextlib.contextmanager
def tracked(
    accelerator: Accelerator, folder: Path, name: str, config: dict[str, Any]
) -> Iterator[Callable[[Row], None]]:
    """Open the trackers that the accelerator was made with and yield what sends them a row; close them at the end.

    Args:
        accelerator: of `make_accelerator`.
        folder: where trackers that write files do so.
        name: of this training.
        config: flat settings shown beside it.
    """
    if not accelerator.log_with:
        yield _nowhere
        return
    accelerator.project_configuration.project_dir = str(folder)
    accelerator.project_configuration.logging_dir = str(folder)
    named: dict[str, dict[str, Any]] = {
        "wandb": {"name": name, "dir": str(folder), "resume": "allow"},
        "mlflow": {"run_name": name},
    }
    accelerator.init_trackers(PROJECT, config, init_kwargs=named)

    def send(row: Row) -> None:
        values = {key: value for key, value in row.items() if value is not None and key != "step"}
        accelerator.log(values, step=int(row["step"] or 0))

    try:
        yield send
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers = []


def _nowhere(row: Row) -> None:
    """No tracker was asked for; history.csv has the row."""
