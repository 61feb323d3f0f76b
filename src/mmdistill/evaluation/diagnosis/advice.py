"""What to do, each a sentence with the numbers that it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mmdistill.evaluation.diagnosis.next_steps import next_steps
from mmdistill.evaluation.diagnosis.wording import difference, listed, score

Found = Mapping[str, Any]
Tone = Literal["good", "bad", "unclear"]
NEGLIGIBLE = 0.01
"""A contribution that nobody would pay a modality for, in points of the score."""
_ANSWERS = {
    "yes": ("good", "Expect {student} to gain from its teacher."),
    "no": ("bad", "Do not expect {student} to gain from its teacher."),
    "unclear": ("unclear", "Whether {student} will gain from its teacher cannot be told before it is trained."),
}


def advise(diagnosis: Found) -> list[dict[str, Any]]:
    """The advice of a diagnosis.

    Args:
        diagnosis: everything else that `diagnosis.json` holds.

    Returns:
        ``topic`` (``drop``, ``gain``, ``teacher``, ``temperature`` or ``next``), ``tone`` (``good``, ``bad`` or
        ``unclear``) and ``sentence``, in this order of topics.
    """
    return [
        _drop(diagnosis),
        *(_gain(student, found) for student, found in diagnosis["gain"].items()),
        *(one for name, teacher in diagnosis["teachers"].items() for one in _teacher(name, teacher)),
        *(_temperature(name, teacher["temperature"]) for name, teacher in diagnosis["teachers"].items()),
        *(advice("next", "unclear", sentence) for sentence in next_steps(diagnosis)),
    ]


def advice(topic: str, tone: Tone | str, sentence: str) -> dict[str, Any]:
    """One piece of advice as plain data."""
    return {"topic": topic, "tone": tone, "sentence": sentence}


def _drop(diagnosis: Found) -> dict[str, Any]:
    """The modality that adds least when all others are there, and whether it adds anything."""
    probes = diagnosis["probes"]["columns"]
    if len(probes) == 1:
        return advice("drop", "unclear", f"{next(iter(probes))} is the only modality, so there is none to drop.")
    sources = {"linear models": probes}
    for name, teacher in diagnosis["teachers"].items():
        if teacher["subsets"] is not None:
            sources[name] = teacher["subsets"]["columns"]
    least = min(probes, key=lambda column: sum(_unique(found, column) for found in sources.values()))
    kinds = {name: found[least]["unique"] for name, found in sources.items() if least in found}
    shapley = ", ".join(
        f"{difference(found[least]['shapley'])} for {name}" for name, found in sources.items() if least in found
    )
    without = ", ".join(f"{difference(found)} for {name}" for name, found in kinds.items())
    evidence = f"with all others there it adds {without}; its Shapley value is {shapley}"
    intervals = [found["ci95"] for found in kinds.values()]
    if all(interval is not None and interval[1] <= NEGLIGIBLE for interval in intervals):
        return advice("drop", "bad", f"Drop {least}: {evidence}.")
    if all(interval is None or interval[0] <= 0 for interval in intervals):
        return advice("drop", "unclear", f"{least} may be dropped, but these rows cannot tell for sure: {evidence}.")
    return advice("drop", "good", f"Keep every modality. Even of the one that is missed least, {least}, {evidence}.")


def _unique(found: Found, column: str) -> float:
    value = found[column]["unique"]["value"] if column in found else None
    return 0.0 if value is None else float(value)


def _gain(student: str, found: Found) -> dict[str, Any]:
    tone, opening = _ANSWERS[found["answer"]]
    return advice("gain", tone, " ".join([opening.format(student=student), *found["reasons"]]))


def _teacher(name: str, found: Found) -> list[dict[str, Any]]:
    """The warnings of the gate, or that it was passed."""
    if found["warnings"]:
        return [advice("teacher", "bad", f"{name}: {warning['sentence']}") for warning in found["warnings"]]
    error = found["validation"]["expected_calibration_error"]
    return [
        advice(
            "teacher",
            "good",
            f"{name} passes the gate: it scores {score(found['score']['value'])} on validation, which is clearly more "
            f"than linear models and class frequencies do, with an expected calibration error of {score(error)}.",
        )
    ]


def _temperature(name: str, found: Found) -> dict[str, Any]:
    start, entropy = found["temperature"], found["entropy"]
    others = listed([f"{start * factor:g}" for factor in (0.5, 2) if start * factor >= 1])
    softened = f" and {score(entropy['train_at_start'])} at {start:g}" if start != 1 else ""
    return advice(
        "temperature",
        "unclear",
        f"Start from temperature {start:g} with {name} and try {others} beside it. Calibrated on validation "
        f"(temperature {score(found['calibrating'])}) its mean entropy is {score(entropy['validation_calibrated'])} "
        f"nats; on the training rows it is {score(entropy['train_at_1'])} at 1{softened}, of at most "
        f"{score(entropy['highest'])}.",
    )
