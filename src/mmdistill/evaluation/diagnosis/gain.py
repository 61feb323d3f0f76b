"""Whether a student can be expected to gain from its teacher, and on what evidence."""

from __future__ import annotations

from typing import Any, Literal

from mmdistill.evaluation.diagnosis.estimates import Estimate
from mmdistill.evaluation.diagnosis.wording import between, percent, signed

Answer = Literal["yes", "no", "unclear"]
LITTLE_VISIBLE = 0.1


def expected_gain(
    headroom: Estimate | None,
    *,
    unlabelled: int,
    taught: Estimate | None = None,
    visible: float | None = None,
    measured: Estimate | None = None,
) -> dict[str, Any]:
    """Whether distillation will help a student.

    What has been measured on validation decides. Before that: no, when the teacher is not better than what the
    student's columns give alone, when hardly anything of what it knows shows in them, or when rows that it labels make
    a classical model of the student's columns no better; yes, when it is better and such rows make that model better;
    unclear in all other cases, above all when every row has a label already. Each difference counts with its interval:
    better when all of it is above zero, not better when none of it is, and unclear when it is on both sides.

    Args:
        headroom: teacher's score − score of the student's columns alone; None where both are the same linear model.
        unlabelled: rows without a label.
        taught: what a classical model of the student's columns gains from unlabelled rows that the teacher labels.
        visible: share of the teacher's logits that the student's columns explain.
        measured: student − baseline on validation, where both are trained.

    Returns:
        ``answer``; ``reasons``, a list of sentences, the decisive one first; ``headroom``, ``taught``, ``measured``
        (see `Estimate.to_json`, or None), ``visible`` and ``unlabelled``.
    """
    reasons = {
        "measured": _measured(measured),
        "headroom": _headroom(headroom),
        "taught": _taught(taught, unlabelled),
        "visible": _visible(visible),
    }
    answer, decisive = _answer(headroom, taught, visible, measured)
    ordered = [reasons[decisive], *(text for name, text in reasons.items() if name != decisive)]
    return {
        "answer": answer,
        "reasons": [text for text in ordered if text],
        "headroom": None if headroom is None else headroom.to_json(),
        "taught": None if taught is None else taught.to_json(),
        "measured": None if measured is None else measured.to_json(),
        "visible": visible,
        "unlabelled": unlabelled,
    }


def _answer(
    headroom: Estimate | None, taught: Estimate | None, visible: float | None, measured: Estimate | None
) -> tuple[Answer, str]:
    """The answer and which of the reasons decides it."""
    if measured is not None:
        return _side(measured), "measured"
    room: Answer = "unclear" if headroom is None else _side(headroom)
    if room == "no":
        return "no", "headroom"
    if visible is not None and visible < LITTLE_VISIBLE:
        return "no", "visible"
    if taught is not None:
        of_rows = _side(taught)
        if of_rows == "no" or room == "yes":
            return of_rows, "taught"
    return "unclear", "headroom"


def _side(found: Estimate) -> Answer:
    """``yes`` when the whole interval is above zero, ``no`` when none of it is (it may end at zero)."""
    if found.interval is None:
        return "unclear"
    low, high = found.interval
    return "yes" if low > 0 else "no" if high <= 0 else "unclear"


def _measured(found: Estimate | None) -> str:
    if found is None:
        return ""
    return f"On validation the student is {signed(found.value)} against its baseline ({between(found.interval)})."


def _headroom(found: Estimate | None) -> str:
    if found is None:
        return "It reads what its teacher reads, and linear models do not tell a small network from a large one."
    return (
        f"The teacher is {signed(found.value)} on validation against the best that is known of the student's columns "
        f"alone ({between(found.interval)})."
    )


def _taught(found: Estimate | None, unlabelled: int) -> str:
    if not unlabelled:
        return "Every training row has a label, so that a teacher cannot add rows."
    if found is None:
        return f"{unlabelled:,} training rows have no label."
    return (
        f"Labels of the teacher for rows without one ({unlabelled:,}) change a linear model of the student's columns "
        f"by {signed(found.value)} ({between(found.interval)})."
    )


def _visible(share: float | None) -> str:
    if share is None:
        return ""
    return f"The student's columns explain {percent(share)} of the variance of the teacher's logits."
