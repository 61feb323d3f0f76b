"""What to try next, as far as the numbers of a diagnosis suggest it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmdistill.evaluation.diagnosis.wording import difference, percent, score

Found = Mapping[str, Any]
WORTH_LABELLING = 0.01
LAZY = 0.02
FEW_ROWS = 100
OFTEN_MISSING = 0.5
LOW_RANK_AGREEMENT = 0.2


def next_steps(diagnosis: Found) -> list[str]:
    """Sentences, the most specific first."""
    steps = [
        *(step for name, teacher in diagnosis["teachers"].items() for step in _of_teacher(diagnosis, name, teacher)),
        *_unlabelled(diagnosis),
        *_labels(diagnosis),
        *_columns(diagnosis),
        *_rows(diagnosis),
    ]
    if not diagnosis["teachers"]:
        steps.append(
            "Train the teacher: only its own outputs tell its calibration, what it knows of each modality and a "
            "temperature. `mmdistill diagnose` with the recipe and without --quick does so."
        )
    return steps


def _better(first: float | None, second: float | None, sign: float) -> float:
    """How much better the first score is; 0 where one is not defined."""
    return 0.0 if first is None or second is None else sign * (first - second)


def _of_teacher(diagnosis: Found, name: str, teacher: Found) -> Iterator[str]:
    sign = 1.0 if diagnosis["higher_is_better"] else -1.0
    metric = diagnosis["primary_metric"].replace("_", " ")
    probes = diagnosis["probes"]["subsets"]
    lazy = [
        f"of {column} {score(learnt['value'])} against {score(probes[column]['value'])}"
        for column, learnt in teacher["embeddings"].items()
        if column in probes and _better(learnt["value"], probes[column]["value"], sign) < -LAZY
    ]
    if lazy and len(teacher["columns"]) > 1:
        yield (
            f"Give {name} a modality_balance: what it has learnt of a modality scores less in a linear probe than a "
            f"linear model of the plain column does ({metric}: {'; '.join(lazy)})."
        )
    yield from _blind(name, teacher, probes, sign, metric)
    for columns, found in teacher["rank_agreement"].items():
        of_student = any("+".join(one) == columns for one in diagnosis["students"].values())
        if of_student and found["kendall"] < LOW_RANK_AGREEMENT:
            yield (
                f"Try the loss c2kd: {name} and a linear model of {columns} rank the classes of a row with a mean "
                f"Kendall's tau of {score(found['kendall'])} only, and {percent(1 - found['followed'])} of the rows "
                "would be left out."
            )


def _blind(name: str, teacher: Found, probes: Found, sign: float, metric: str) -> Iterator[str]:
    """The worst subset of a model, when it is no better than chance and a linear model is."""
    found = teacher["subsets"]
    if found is None or len(found["subsets"]) < 2:
        return
    chance = found["chance"]["value"]
    defined = {subset: each for subset, each in found["subsets"].items() if each["value"] is not None}
    if not defined:
        return
    worst = min(defined, key=lambda subset: sign * defined[subset]["value"])
    interval = defined[worst]["ci95"]
    ends = [_better(end, chance, sign) for end in interval or ()]
    able = worst in probes and probes[worst]["ci95"] is not None
    if ends and min(ends) <= 0 and able and min(_better(end, chance, sign) for end in probes[worst]["ci95"]) > 0:
        more = "more modality_dropout" if teacher["modality_dropout"] else "modality_dropout"
        yield (
            f"Give {name} {more}: with {worst} alone its {metric} falls to {score(defined[worst]['value'])}, and "
            f"chance is {score(chance)}; a linear model of the same scores {score(probes[worst]['value'])}."
        )


def _unlabelled(diagnosis: Found) -> Iterator[str]:
    for student, found in diagnosis["gain"].items():
        taught = found["taught"]
        if taught is not None and taught["ci95"] is not None and taught["ci95"][0] > 0:
            yield (
                f"Collect more rows without labels for {student}: the {found['unlabelled']:,} that are there, labelled "
                f"by the teacher, bring a linear model of its columns {difference(taught)}."
            )


def _labels(diagnosis: Found) -> Iterator[str]:
    labels = diagnosis["rows"]["labelled"]
    for columns, found in diagnosis["label_efficiency"].items():
        doubling = found["doubling"]
        if doubling is None or doubling["ci95"] is None:
            continue
        if doubling["value"] > WORTH_LABELLING and doubling["ci95"][0] > 0:
            yield (
                f"Label more rows: the second half of the {labels:,} labels still brought a linear model of {columns} "
                f"{difference(doubling)}."
            )
            return


def _columns(diagnosis: Found) -> Iterator[str]:
    for column, found in diagnosis["columns"].items():
        share = found["missing_train"]
        if share > OFTEN_MISSING:
            yield (
                f"{column} is missing in {percent(share)} of the training rows: choose what stands in for it "
                "(`missing`) and look at the scores of the subsets without it."
            )


def _rows(diagnosis: Found) -> Iterator[str]:
    rows = diagnosis["rows"]["validation"]
    if rows >= FEW_ROWS:
        return
    full = next(iter(diagnosis["probes"]["subsets"].values()))
    yield (
        f"Hold out more rows for validation: with {rows:,} of them no small difference can be seen: the score of a "
        f"linear model of all modalities lies between {' and '.join(score(end) for end in full['ci95'] or ())}."
    )
