"""The threshold on the probability of one of two classes, chosen on validation rows, and what it gives on others.

A threshold that is chosen on the rows it is judged on looks better than it is. So it is chosen once for every trained
model, on the validation rows with all the columns that they have, and kept in the model's state; all that is scored or
predicted later uses it as it is. NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.errors import InputError, nearest
from mmdistill.tasks.catalog import OperatingPoint

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

NAMES = ("sensitivity", "specificity")


def positive_index(chosen: str | None, classes: list[str]) -> int:
    """The index of the positive class, the second when none is named.

    Raises:
        InputError: when there are not two classes, or none of that name.
    """
    if len(classes) != 2:
        raise InputError(
            f"An operating point is chosen between two classes, and there are {len(classes)}",
            where="operating_point",
            fix="Leave it out, or give a target of two classes",
        )
    if chosen is None:
        return 1
    if chosen not in classes:
        raise InputError(f"There is no class {chosen!r}", where="positive", fix=nearest(chosen, classes))
    return classes.index(chosen)


def check_validation(targets: NDArray[np.int64], classes: list[str]) -> None:
    """Refuse validation rows on which nothing can be chosen.

    Args:
        targets: (N,) class indices of the validation rows, −1 without target.
        classes: the two classes.

    Raises:
        InputError: when there are no validation rows with a target, or all are of one class.
    """
    found = [index for index in range(len(classes)) if (targets == index).any()]
    if len(found) < 2:
        have = f"all are {classes[found[0]]!r}" if found else "there are none"
        raise InputError(
            f"An operating point is chosen on validation rows of both classes, and {have}",
            where="operating_point",
            fix="Give the validation split rows of both classes, or leave the operating point out",
        )


def choose_threshold(scores: Floats, positive: Flags, aim: OperatingPoint | str) -> float:
    """The threshold from which on a score counts as positive, halfway between two scores where it can be.

    Args:
        scores: (N,) probabilities of the positive class, in [0, 1].
        positive: (N,) which rows are positive; both kinds occur.
        aim: a sensitivity that has to be reached, at the highest specificity that it leaves; a specificity, at the
            highest sensitivity; or ``youden``, the largest sum of both (Youden, "Index for rating diagnostic tests",
            Cancer 3, 1950), the more sensitive of equals.

    Returns:
        A number in [0, 1], or the next above 1 when no row may count as positive.
    """
    thresholds = _candidates(scores)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    # Sorted once: comparing every row with every threshold would hold rows × rows of them.
    hits = positives - np.searchsorted(np.sort(scores[positive]), thresholds)
    rejections = np.searchsorted(np.sort(scores[~positive]), thresholds)
    if isinstance(aim, str):
        # Whole numbers, so that equals are equal; the first of them has the lowest threshold.
        return float(thresholds[np.argmax(hits * negatives + rejections * positives)])
    if aim.sensitivity is not None:
        return float(thresholds[np.flatnonzero(hits >= aim.sensitivity * positives - _ROUNDING)[-1]])
    assert aim.specificity is not None
    return float(thresholds[np.flatnonzero(rejections >= aim.specificity * negatives - _ROUNDING)[0]])


_ROUNDING = 1e-9
"""0.9 · 10 is a little more than 9 in floating point, and 9 of 10 is 90 %."""


def _candidates(scores: Floats) -> NDArray[np.float64]:
    """One threshold for every way of cutting the scores in two, ascending: all positive first, none last."""
    distinct = np.unique(scores.astype(np.float64))
    above = (distinct[-1] + 1) / 2 if distinct[-1] < 1 else np.nextafter(1.0, 2.0)
    return np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2, [above]])


def rates(counted: Flags, positive: Flags) -> dict[str, float | None]:
    """Sensitivity and specificity, fractions; None without a row of the class they are about.

    Args:
        counted: (N,) which rows count as positive.
        positive: (N,) which rows are.
    """
    return {
        "sensitivity": float(counted[positive].mean()) if positive.any() else None,
        "specificity": float((~counted)[~positive].mean()) if not positive.all() else None,
    }


def resampled_rates(counted: Flags, positive: Flags, counts: Floats) -> dict[str, NDArray[np.float64]]:
    """`rates` on many draws of the rows, (R,) each from counts (R, N); NaN where one is not defined."""
    found = {}
    for name, right, of in (("sensitivity", counted, positive), ("specificity", ~counted, ~positive)):
        drawn = counts @ of.astype(np.float64)
        hits = counts @ (right & of).astype(np.float64)
        found[name] = np.divide(hits, drawn, out=np.full(len(counts), np.nan), where=drawn > 0)
    return found
