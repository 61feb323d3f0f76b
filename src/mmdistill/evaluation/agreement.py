"""How far the student answers as its teacher does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.errors import MMDistillError
from mmdistill.tasks.class_metrics import predicted
from mmdistill.tasks.decode.classification import log_softmax

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
_KENDALL_PAIRS = 100_000_000
_PAIRS_AT_ONCE = 4_000_000


def agreement(student_logits: Floats, teacher_logits: Floats, targets: Indices | None = None) -> dict[str, Any]:
    """Agreement of two classifiers on the same rows.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C), the same classes in the same order.
        targets: (N,) class indices, −1 for rows without.

    Returns:
        ``rows``; ``top1``, the part of the rows with the same answer; ``kl``, the mean KL(teacher ‖ student) in nats at
        temperature 1; ``spearman`` and ``kendall``, the mean rank correlation of the classes within a row (Kendall's
        tau-b, over ``kendall_rows`` evenly spaced rows when there are many classes); with targets
        ``top1_teacher_right`` and ``top1_teacher_wrong``, the agreement where the teacher is right and where it is
        wrong. None where not defined.

    Raises:
        MMDistillError: when the shapes differ.
    """
    student = np.asarray(student_logits, dtype=np.float64)
    teacher = np.asarray(teacher_logits, dtype=np.float64)
    if student.ndim != 2 or student.shape != teacher.shape:
        raise MMDistillError(f"Student logits have shape {student.shape}, teacher logits {teacher.shape}")
    same = predicted(student) == predicted(teacher)
    log_student, log_teacher = log_softmax(student), log_softmax(teacher)
    divergence = (np.exp(log_teacher) * (log_teacher - log_student)).sum(axis=1)
    kendall_rows = _evenly_spaced(len(student), max(1, _KENDALL_PAIRS // student.shape[1] ** 2))
    result: dict[str, Any] = {
        "rows": len(student),
        "top1": _mean(same),
        "kl": _mean(divergence),
        "spearman": _mean(spearman(student, teacher)),
        "kendall": _mean(kendall(student[kendall_rows], teacher[kendall_rows])),
        "kendall_rows": len(kendall_rows),
    }
    if targets is not None:
        right = predicted(teacher) == targets
        result["top1_teacher_right"] = _mean(same[right])
        result["top1_teacher_wrong"] = _mean(same[~right & (targets >= 0)])
    return result


def spearman(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Spearman's rank correlation within each row, (N,) from (N, C) twice; NaN where a row is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=1) for values in (first, second)]
    one, two = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):
        return np.asarray((one * two).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1)))


def kendall(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Kendall's tau-b within each row, (N,) from (N, C) twice; NaN where a row is constant."""
    rows, classes = first.shape
    left, right = np.triu_indices(classes, k=1)
    result = np.full(rows, np.nan)
    block = max(1, _PAIRS_AT_ONCE // max(len(left), 1))
    for start in range(0, rows, block):
        part = slice(start, start + block)
        one = np.sign(first[part][:, left] - first[part][:, right])
        two = np.sign(second[part][:, left] - second[part][:, right])
        with np.errstate(invalid="ignore"):
            result[part] = (one * two).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return result


def _evenly_spaced(rows: int, at_most: int) -> Indices:
    return np.unique(np.linspace(0, rows - 1, min(rows, at_most)).round().astype(np.int64))


def _mean(values: NDArray[Any]) -> float | None:
    """The mean of the values that are defined, None when none is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else None
