"""What a trained teacher's outputs on training and validation rows say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from torch import Tensor

from mmdistill.evaluation.diagnosis.accuracy_gate import describe_rows, gate
from mmdistill.evaluation.diagnosis.data import PlainRows, Probed, describe_subsets
from mmdistill.evaluation.diagnosis.estimates import Estimate, Floats
from mmdistill.evaluation.diagnosis.label_efficiency import taught_gain
from mmdistill.evaluation.diagnosis.plain import standardised
from mmdistill.evaluation.diagnosis.probes import fit_probe
from mmdistill.evaluation.diagnosis.rank_agreement import rank_agreement
from mmdistill.evaluation.diagnosis.redundancy import linear_cka
from mmdistill.evaluation.diagnosis.shapley import Subset
from mmdistill.evaluation.diagnosis.temperature import starting_temperature
from mmdistill.evaluation.diagnosis.visibility import decisive_visible_share, visible_share, with_embeddings
from mmdistill.evaluation.diagnosis.wording import listed
from mmdistill.evaluation.modalities import subsets

Pair = tuple[Floats, Floats]
"""Of the training rows, in the order of `PlainRows`, and of the validation rows."""


@dataclass(frozen=True)
class TeacherOutputs:
    """What a teacher says.

    Args:
        columns: those that it reads.
        logits: (N, C) and (M, C).
        subsets: subset of its columns → logits (M, C) of the validation rows when the others are masked.
        embeddings: column → its embedding; empty where the model has none.
        fused: what its head reads, with the head; None where that is not known.
        head: from `fused` to the logits.
    """

    columns: tuple[str, ...]
    logits: Pair
    subsets: Mapping[Subset, Floats]
    embeddings: Mapping[str, Pair]
    fused: Pair | None = None
    head: Callable[[Tensor], Tensor] | None = None


def describe_teacher(
    rows: PlainRows, probed: Probed, said: TeacherOutputs, students: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Everything about one teacher, as plain data.

    Args:
        rows: training and validation rows.
        probed: the probes of the same rows, among them one of the teacher's columns and of each student's.
        said: what the teacher says of them.
        students: student → the columns that it reads.

    Returns:
        ``score``, ``train`` and ``validation`` (see `describe_rows`), ``warnings``, ``subsets`` (see
        `describe_subsets`; None where the teacher cannot do without a column), ``embeddings`` (column → score of a
        linear probe), ``cka`` (pairs of columns), ``rank_agreement`` (subset of columns → agreement with its probe),
        ``temperature``, and ``visibility`` by student.
    """
    scorer = rows.scorer
    score = scorer(said.logits[1])
    train, validation = (
        describe_rows(logits, targets)
        for logits, targets in ((said.logits[0][rows.labelled], rows.labels), (said.logits[1], scorer.targets))
    )
    return {
        "columns": list(said.columns),
        "score": scorer.score_json(score),
        "train": train,
        "validation": validation,
        "warnings": gate(train, validation, score, _rivals(probed, said, students), scorer),
        "subsets": _subsets(rows, said),
        "embeddings": _embedding_probes(rows, said),
        "cka": [
            {
                "columns": list(pair),
                "cka": linear_cka(*(said.embeddings[column][1] for column in pair)),
            }
            for pair in combinations(said.embeddings, 2)
        ],
        "rank_agreement": _rank_agreements(probed, said, students),
        "temperature": starting_temperature(said.logits[0], said.logits[1], scorer.targets),
        "visibility": {name: _visibility(rows, said, columns) for name, columns in students.items()},
    }


def teach_probe(rows: PlainRows, said: TeacherOutputs, columns: tuple[str, ...]) -> dict[str, Any] | None:
    """What unlabelled rows add to a probe of a student's columns when this teacher names their classes.

    Returns:
        See `taught_gain`; None where every row has a label.
    """
    if rows.labelled.all():
        return None
    unlabelled = rows.seen(columns).train[~rows.labelled]
    named = said.logits[0][~rows.labelled]
    return taught_gain(rows.seen_labelled(columns), unlabelled, rows.labels, named, rows.scorer, rows.class_weight)


def _rivals(probed: Probed, said: TeacherOutputs, students: Mapping[str, tuple[str, ...]]) -> dict[str, Estimate]:
    """What a teacher should beat: the commonest class, and linear models of its columns and of the students'."""
    rivals = {"always saying how common each class is": probed.scores[frozenset()]}
    for columns in (said.columns, *students.values()):
        if columns and frozenset(columns) in probed.scores:
            rivals[f"a linear model of {listed(sorted(columns))}"] = probed.scores[frozenset(columns)]
    return rivals


def _subsets(rows: PlainRows, said: TeacherOutputs) -> dict[str, Any] | None:
    """None for a custom model that cannot do without some of its columns."""
    if any(frozenset(subset) not in said.subsets for subset in subsets(said.columns).values()):
        return None
    scores = {subset: rows.scorer(logits) for subset, logits in said.subsets.items()}
    return describe_subsets({frozenset(): rows.scorer.chance(), **scores}, said.columns, rows.scorer)


def _embedding_probes(rows: PlainRows, said: TeacherOutputs) -> dict[str, Any]:
    """Column → score of a linear probe on the teacher's embedding of it: what it has learnt there."""
    found = {}
    for column, embedding in said.embeddings.items():
        seen = standardised(*embedding)
        probe = fit_probe(seen.train[rows.labelled], rows.labels, rows.classes, rows.class_weight)
        found[column] = rows.scorer.score_json(rows.scorer(probe.logits(seen.held_out)))
    return found


def _rank_agreements(probed: Probed, said: TeacherOutputs, students: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    wanted = [(column,) for column in said.columns] + list(students.values())
    return {
        "+".join(columns): rank_agreement(probed.logits[frozenset(columns)], said.logits[1])
        for columns in dict.fromkeys(wanted)
        if frozenset(columns) in probed.logits
    }


def _visibility(rows: PlainRows, said: TeacherOutputs, columns: tuple[str, ...]) -> dict[str, Any]:
    seen = with_embeddings(rows.columns, columns, said.embeddings)
    decisive = None
    if said.fused is not None and said.head is not None:
        decisive = decisive_visible_share(seen, said.fused, said.head)
    return {"columns": list(columns), "logits": visible_share(seen, said.logits), "decisive_channels": decisive}
