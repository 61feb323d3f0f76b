"""Registers the tasks and their options. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmdistill import catalog
from mmdistill.catalog import Entry, Options

ClassWeight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class OperatingPoint(Options):
    """What a threshold has to reach on the validation rows: one of the two."""

    sensitivity: float | None = Field(
        default=None, gt=0, le=1, description="Part of the positive rows that has to be found."
    )
    specificity: float | None = Field(
        default=None, gt=0, le=1, description="Part of the other rows that must not count as positive."
    )

    @model_validator(mode="after")
    def _one(self) -> OperatingPoint:
        if (self.sensitivity is None) == (self.specificity is None):
            raise ValueError("name either a sensitivity or a specificity")
        return self


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
    operating_point: Literal["youden"] | OperatingPoint | None = Field(
        default=None,
        description="With two classes: adds sensitivity and specificity at a threshold on the positive class's "
        "probability, which is chosen for each model on the validation rows. `{sensitivity: 0.9}` or `{specificity: "
        "0.9}`: at least that, and the other as high as it can be; youden: the largest sum of both. Predictions then "
        "follow the threshold; without it they name the more probable class.",
    )
    positive: str | None = Field(
        default=None, description="The class that the operating point is about; the second when left out."
    )
    primary: Literal[
        "accuracy", "macro_precision", "macro_recall", "macro_f1", "auroc", "log_loss", "expected_calibration_error"
    ] = Field(default="accuracy", description="The metric that selects models and states the gain.")

    @model_validator(mode="after")
    def _positive_of_an_operating_point(self) -> ClassificationOptions:
        if self.positive is not None and self.operating_point is None:
            raise ValueError("`positive` says nothing without an `operating_point`")
        return self


catalog.register(
    Entry(
        kind="task",
        name="classification",
        target="mmdistill.tasks.classification:ClassificationTask",
        options=ClassificationOptions,
        summary="One class a row.",
    )
)
