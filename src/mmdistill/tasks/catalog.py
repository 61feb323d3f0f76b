"""Registers the tasks and their options. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmdistill import catalog
from mmdistill.catalog import Entry, Options

ClassWeight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ClassificationOptions(Options):
    """Options of single-label classification."""

    class_weights: Literal["none", "balanced"] | dict[str, ClassWeight] = Field(
        default="none",
        description="Weight of each class in the supervised loss. balanced: rows / (classes · rows of the class), "
        "from the training rows; a mapping from class to weight, 1 for classes left out.",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each target that is spread evenly over all classes."
    )
    top_k: int = Field(default=5, ge=2, description="k of the top-k accuracy.")
    primary: Literal[
        "accuracy", "macro_precision", "macro_recall", "macro_f1", "auroc", "log_loss", "expected_calibration_error"
    ] = Field(default="accuracy", description="The metric that selects models and states the gain.")


catalog.register(
    Entry(
        kind="task",
        name="classification",
        target="mmdistill.tasks.classification:ClassificationTask",
        options=ClassificationOptions,
        summary="One class a row.",
    )
)
