"""Whether a teacher is good enough to teach: its scores on labelled rows, its calibration, and what to be warned of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmdistill.evaluation.calibration import best_temperature, reliability_diagram
from mmdistill.evaluation.diagnosis.estimates import Estimate, Floats, Indices, Scorer
from mmdistill.evaluation.diagnosis.wording import between, percent, score, signed
from mmdistill.tasks.class_metrics import predicted
from mmdistill.tasks.decode.classification import softmax

LARGEST_CALIBRATION_ERROR = 0.1
LARGEST_ACCURACY_GAP = 0.1


def describe_rows(logits: Floats, targets: Indices) -> dict[str, Any]:
    """Accuracy, mean confidence and calibration on labelled rows.

    Args:
        logits: (N, C).
        targets: (N,) class indices.

    Returns:
        ``rows``, ``accuracy``, ``confidence``, ``expected_calibration_error``, ``bins`` of the reliability diagram, and
        ``temperature``, the calibrating one.
    """
    found = reliability_diagram(logits, targets)
    return {
        "rows": len(targets),
        "accuracy": float((predicted(np.asarray(logits)) == targets).mean()),
        "confidence": float(softmax(logits).max(axis=1).mean()),
        **found,
        "temperature": best_temperature(logits, targets),
    }


def gate(
    train: Mapping[str, Any],
    validation: Mapping[str, Any],
    teacher: Estimate,
    rivals: Mapping[str, Estimate],
    scorer: Scorer,
) -> list[dict[str, str]]:
    """What speaks against learning from this teacher; empty when nothing does.

    Args:
        train: what `describe_rows` says of the labelled training rows.
        validation: what it says of the validation rows.
        teacher: its score on the validation rows.
        rivals: what it should beat, by how it is called in a sentence: the commonest class, classical probes.
        scorer: of the validation rows.

    Returns:
        ``code`` and ``sentence`` of each warning. The codes are ``not_better``, ``overconfident`` and ``overfitted``.
    """
    metric = scorer.task.primary.replace("_", " ")
    warnings = []
    for rival, its_score in rivals.items():
        lead = teacher - its_score
        if lead.interval is None or lead.interval[0] <= 0:
            scores = " against ".join(score(scorer.sign * each.value) for each in (teacher, its_score))
            warnings.append(
                {
                    "code": "not_better",
                    "sentence": f"The teacher is not clearly better than {rival}: {metric} {scores} on validation, a "
                    f"lead of {signed(lead.value)} ({between(lead.interval)}).",
                }
            )
    error, sure = validation["expected_calibration_error"], validation["confidence"]
    if error is not None and error > LARGEST_CALIBRATION_ERROR and sure > validation["accuracy"]:
        warnings.append(
            {
                "code": "overconfident",
                "sentence": f"The teacher is overconfident: on validation it says {percent(sure)} on average and is "
                f"right in {percent(validation['accuracy'])} (expected calibration error {score(error)}).",
            }
        )
    gap = train["accuracy"] - validation["accuracy"]
    if gap > LARGEST_ACCURACY_GAP:
        warnings.append(
            {
                "code": "overfitted",
                "sentence": f"The teacher has learnt its training rows by heart: it is right in "
                f"{percent(train['accuracy'])} of the labelled training rows and in "
                f"{percent(validation['accuracy'])} of the validation rows.",
            }
        )
    return warnings
