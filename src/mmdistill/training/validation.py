"""What a look at the validation rows tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Standing:
    """Where the probe of a column stands.

    Args:
        score: on the validation rows, in the primary metric; None where it is not defined.
        loss: on the validation rows that have the column.
        train_loss: mean over the training rows that it has learnt from since the last look.
    """

    score: float | None
    loss: float
    train_loss: float


@dataclass(frozen=True)
class Validation:
    """The score that selects weights, and what the probes of the columns have reached.

    Args:
        score: of the model, in the primary metric.
        columns: column → its probe's standing; empty without probes.
        loss: of the model on the validation rows; None without probes.
        higher_is_better: direction of the primary metric.
    """

    score: float
    columns: Mapping[str, Standing] = field(default_factory=dict)
    loss: float | None = None
    higher_is_better: bool = True

    def score_of(self, column: str) -> float | None:
        """The score of a column's probe, where there is one."""
        return self.columns[column].score if column in self.columns else None

    def goodness_of(self, column: str) -> float | None:
        """The same, turned so that more is better whatever the metric."""
        score = self.score_of(column)
        return score if score is None or self.higher_is_better else -score
