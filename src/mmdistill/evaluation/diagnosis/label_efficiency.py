"""What more labels bring, and what rows without a label could bring when a teacher names their classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmdistill.evaluation.diagnosis.estimates import Estimate, Floats, Indices, Scorer, weighted_sum
from mmdistill.evaluation.diagnosis.plain import Matrix, PlainColumn
from mmdistill.evaluation.diagnosis.probes import ClassWeight, fit_probe
from mmdistill.tasks.class_metrics import predicted

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
_DRAWS = 3


def label_curve(
    seen: PlainColumn, targets: Indices, scorer: Scorer, class_weight: ClassWeight, *, seed: int = 0
) -> list[tuple[float, int, Estimate]]:
    """The score of a probe that was shown a part of the labels.

    All of them are penalised as strongly as the probe of all labels, which chooses its penalty.

    Args:
        seen: the columns of the labelled training rows, and of the validation rows.
        targets: (N,) classes of those training rows.
        scorer: of the validation rows.
        class_weight: of the probe.
        seed: of the draws; a part is drawn three times, and the scores are averaged.

    Returns:
        Fraction, labels, score; fractions that come to less than one row of each class on average are left out.
    """
    classes = len(scorer.state["classes"])
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(len(targets)) for _ in range(_DRAWS)]
    curve = []
    strength = fit_probe(seen.train, targets, classes, class_weight).strength
    for fraction in FRACTIONS:
        count = round(fraction * len(targets))
        if count < classes:
            continue
        draws = orders if count < len(targets) else orders[:1]
        scores = {}
        for number, order in enumerate(draws):
            rows = np.sort(order[:count])
            probe = fit_probe(seen.train[rows], targets[rows], classes, class_weight, strength)
            scores[number] = scorer(probe.logits(seen.held_out))
        curve.append((fraction, count, weighted_sum(scores, dict.fromkeys(scores, 1 / len(scores)))))
    return curve


def doubling(curve: list[tuple[float, int, Estimate]]) -> Estimate | None:
    """What the second half of the labels brought; None where there were too few to tell."""
    scores = {fraction: score for fraction, _, score in curve}
    return scores[1.0] - scores[0.5] if {0.5, 1.0} <= scores.keys() else None


def taught_gain(
    seen: PlainColumn,
    unlabelled: Matrix,
    targets: Indices,
    said: Floats,
    scorer: Scorer,
    class_weight: ClassWeight,
) -> dict[str, Any]:
    """What a probe of the student's columns gains from unlabelled rows whose classes a teacher names.

    Distillation in its plainest form: the teacher's answer takes the place of the label that is missing.

    Args:
        seen: the student's columns of the labelled training rows, and of the validation rows.
        unlabelled: the student's columns of the unlabelled rows.
        targets: classes of the labelled training rows.
        said: the teacher's logits (U, C) for the unlabelled rows.
        scorer: of the validation rows.
        class_weight: of the probe.

    Returns:
        ``labels_alone`` and ``with_teacher``, scores; ``gain``, an `Estimate` of the difference.
    """
    classes = len(scorer.state["classes"])
    alone = scorer(fit_probe(seen.train, targets, classes, class_weight).logits(seen.held_out))
    both = [np.concatenate([targets, predicted(np.asarray(said))]), _stacked(seen.train, unlabelled)]
    taught = scorer(fit_probe(both[1], both[0], classes, class_weight).logits(seen.held_out))
    return {"labels_alone": alone, "with_teacher": taught, "gain": taught - alone}


def _stacked(first: Matrix, second: Matrix) -> Matrix:
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    from scipy import sparse

    return sparse.vstack([first, second], format="csr")
