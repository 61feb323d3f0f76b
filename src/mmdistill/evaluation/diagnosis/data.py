"""What the rows alone say, before any network is trained: probes of every subset of the columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.evaluation.diagnosis.estimates import Estimate, Floats, Indices, Scorer
from mmdistill.evaluation.diagnosis.plain import PlainColumn, side_by_side
from mmdistill.evaluation.diagnosis.probes import ClassWeight, fit_probe
from mmdistill.evaluation.diagnosis.redundancy import answers_of_two, interactions
from mmdistill.evaluation.diagnosis.shapley import Subset, shapley, unique
from mmdistill.evaluation.modalities import subsets


@dataclass(frozen=True)
class PlainRows:
    """Training and validation rows for probes.

    Args:
        columns: the columns as plain matrices; `held_out` are the validation rows.
        targets: (N,) class indices of the training rows, −1 for those without a label.
        scorer: of the validation rows.
        class_weight: of every probe.
    """

    columns: Mapping[str, PlainColumn]
    targets: Indices
    scorer: Scorer
    class_weight: ClassWeight = None

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Which training rows have a label."""
        return np.asarray(self.targets >= 0)

    @property
    def labels(self) -> Indices:
        """The labels of those that have one."""
        return self.targets[self.labelled]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.scorer.state["classes"])

    def seen(self, columns: Iterable[str]) -> PlainColumn:
        """What some of the columns show of all rows."""
        return side_by_side([self.columns[column] for column in columns])

    def seen_labelled(self, columns: Iterable[str]) -> PlainColumn:
        """What they show of the labelled training rows and of the validation rows."""
        seen = self.seen(columns)
        return PlainColumn(seen.train[self.labelled], seen.held_out)


@dataclass(frozen=True)
class Probed:
    """Probes of subsets of the columns.

    Args:
        scores: subset → score on the validation rows; the empty subset is there.
        logits: subset → logits of the validation rows.
        of_unlabelled: subset → logits of the unlabelled training rows.
    """

    scores: Mapping[Subset, Estimate]
    logits: Mapping[Subset, Floats]
    of_unlabelled: Mapping[Subset, Floats]


def probe_subsets(rows: PlainRows, more: Sequence[Sequence[str]] = ()) -> Probed:
    """Fit and score a probe of every subset that `evaluation.modalities.subsets` names, and of some more."""
    chosen = {frozenset(one) for one in subsets(list(rows.columns)).values()} | {frozenset(one) for one in more}
    scores: dict[Subset, Estimate] = {frozenset(): rows.scorer.chance()}
    logits: dict[Subset, Floats] = {}
    unlabelled: dict[Subset, Floats] = {}
    for subset in sorted(chosen, key=lambda one: (len(one), sorted(one))):
        seen = rows.seen(sorted(subset))
        probe = fit_probe(seen.train[rows.labelled], rows.labels, rows.classes, rows.class_weight)
        logits[subset] = probe.logits(seen.held_out)
        scores[subset] = rows.scorer(logits[subset])
        if not rows.labelled.all():
            unlabelled[subset] = probe.logits(seen.train[~rows.labelled])
    return Probed(scores, logits, unlabelled)


def describe_subsets(scores: Mapping[Subset, Estimate], columns: Sequence[str], scorer: Scorer) -> dict[str, Any]:
    """Scores of the subsets and what follows from them, as plain data.

    Args:
        scores: as `shapley` takes them.
        columns: the modalities.
        scorer: of the validation rows.

    Returns:
        ``chance`` and ``subsets`` (name → score), in units of the metric; ``columns``: column → ``shapley`` and
        ``unique``, in points of the score, positive where the column helps.
    """
    values, alone = shapley(scores, columns), unique(scores, columns)
    named = {name: frozenset(subset) for name, subset in subsets(list(columns)).items()}
    return {
        "chance": scorer.score_json(scores[frozenset()]),
        "subsets": {name: scorer.score_json(scores[subset]) for name, subset in named.items()},
        "columns": {
            column: {"shapley": values[column].to_json(), "unique": alone[column].to_json()} for column in columns
        },
    }


def describe_pairs(
    scores: Mapping[Subset, Estimate], logits: Mapping[Subset, Floats], columns: Sequence[str], targets: Indices
) -> list[dict[str, Any]]:
    """For every pair of columns: ``columns``, ``interaction``, and how the answers of each alone go together."""
    return [
        {
            "columns": list(pair),
            "interaction": found.to_json(),
            **answers_of_two(logits[frozenset(pair[:1])], logits[frozenset(pair[1:])], targets),
        }
        for pair, found in interactions(scores, columns).items()
    ]
