"""The tables of a diagnosis, from the content of its JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdistill.report import numbers
from mmdistill.report.table import Cell, Column, Row, Table, arrow, without_empty_columns

Found = Mapping[str, Any]
LINEAR = "Linear models"
_ROWS_NOTE = "Intervals of 95 % come from draws of the validation rows; another training is not in them."


def metric_label(found: Found) -> str:
    """The primary metric as people read it."""
    return str(found["primary_metric"]).replace("_", " ").capitalize()


def spaced(subset: str) -> str:
    """A subset's name with room around its plus signs."""
    return subset.replace("+", " + ")


def sources(found: Found) -> dict[str, Found]:
    """What was scored for every subset of modalities: linear models, teachers, students; by name."""
    named = {LINEAR: found["probes"]}
    for models in (found["teachers"], found["models"]):
        named |= {name: model["subsets"] for name, model in models.items() if model["subsets"] is not None}
    return named


def column_table(found: Found, *, brief: bool = False) -> Table:
    """What each modality contributes, by linear models and by each model that was trained.

    Args:
        found: the content of ``diagnosis.json``.
        brief: the contributions alone, for a terminal.
    """
    columns = [Column("Modality", text=True), Column("Scored by", text=True)]
    if not brief:
        columns += [Column("Type", text=True), Column("Missing in training")]
        columns.append(Column(f"Alone ({metric_label(found).lower()})", arrow(found["higher_is_better"])))
    columns += [Column("Shapley value", "↑"), Column("Lost without it", "↑")]
    rows = []
    for column, facts in found["columns"].items():
        for name, scored in sources(found).items():
            if column not in scored["columns"]:
                continue
            cells = [Cell(column), Cell(name)]
            if not brief:
                missing = facts["missing_train"]
                cells += [Cell(facts["type"]), Cell(numbers.percent(missing), missing)]
                cells.append(_score(scored["subsets"].get(column)))
            each = scored["columns"][column]
            rows.append(Row([*cells, _difference(each["shapley"]), _difference(each["unique"])]))
    notes = [
        "A Shapley value is the mean gain of a modality over all orders in which they could be added; the values of "
        "all modalities sum up to the score of all minus that of none.",
        _ROWS_NOTE,
    ]
    return Table("What each modality contributes", columns, rows, [] if brief else notes)


def subset_table(found: Found) -> Table:
    """The validation score of every subset of modalities."""
    named = sources(found)
    direction = arrow(found["higher_is_better"])
    columns = [Column("Present", text=True), *(Column(name, direction) for name in named)]
    subsets = list(dict.fromkeys(subset for scored in named.values() for subset in scored["subsets"]))
    subsets.sort(key=lambda subset: -subset.count("+"))
    rows = [
        Row([Cell(spaced(subset)), *(_score(scored["subsets"].get(subset)) for scored in named.values())])
        for subset in subsets
    ]
    rows.append(Row([Cell("nothing"), *(_score(scored["chance"]) for scored in named.values())], quiet=True))
    return Table(f"{metric_label(found)} on validation by the modalities that are present", columns, rows)


def pair_table(found: Found) -> Table | None:
    """How the modalities of every pair overlap; None with one modality."""
    pairs = found["probes"]["pairs"]
    if not pairs:
        return None
    alignment = {
        name: {tuple(one["columns"]): one["cka"] for one in teacher["cka"]}
        for name, teacher in found["teachers"].items()
    }
    columns = [Column("Pair", text=True), Column("Interaction"), Column("Same answer"), Column("Kappa")]
    columns += [Column("Only the first right"), Column("Only the second right"), Column("Both wrong")]
    columns += [Column(f"CKA in {name}") for name in alignment]
    rows = []
    for pair in pairs:
        cells = [Cell(" and ".join(pair["columns"])), _difference(pair["interaction"], toned=False)]
        for key in ("agreement", "kappa", "only_first_right", "only_second_right", "both_wrong"):
            write = numbers.score if key == "kappa" else numbers.percent
            cells.append(Cell(write(pair[key]), pair[key]))
        for known in alignment.values():
            value = known.get(tuple(pair["columns"]))
            cells.append(Cell(numbers.score(value), value))
        rows.append(Row(cells))
    notes = [
        "Interaction: score of both − score of each + score of none; below zero they tell the same, above zero they "
        "tell more together. CKA: likeness of the teacher's embeddings, 0 for unrelated, 1 for equal up to rotation.",
    ]
    return without_empty_columns(Table("What modalities have in common", columns, rows, notes))


def label_table(found: Found) -> Table:
    """The score of linear models by the labels that they were shown."""
    curves = found["label_efficiency"]
    labels = list(dict.fromkeys(point["labels"] for each in curves.values() for point in each["curve"]))
    columns = [
        Column("Labels", text=True),
        *(Column(spaced(name), arrow(found["higher_is_better"])) for name in curves),
    ]
    rows = []
    for count in sorted(labels):
        points = [next((one for one in each["curve"] if one["labels"] == count), None) for each in curves.values()]
        rows.append(Row([Cell(numbers.count(count), count), *(_score(one and one["score"]) for one in points)]))
    return Table(f"{metric_label(found)} of linear models by the number of labels", columns, rows)


def teacher_table(found: Found) -> Table | None:
    """Accuracy and calibration of every teacher on labelled training rows and on validation rows."""
    rows = []
    for name, teacher in found["teachers"].items():
        for side in ("train", "validation"):
            facts = teacher[side]
            cells = [Cell(name), Cell("labelled training" if side == "train" else side)]
            cells.append(Cell(numbers.count(facts["rows"]), facts["rows"]))
            keys = ("accuracy", "confidence", "expected_calibration_error", "temperature")
            cells += [Cell(numbers.score(facts[key]), facts[key]) for key in keys]
            rows.append(Row(cells, "teacher"))
    if not rows:
        return None
    columns = [Column("Teacher", text=True), Column("Rows", text=True), Column("Number"), Column("Accuracy", "↑")]
    columns += [Column("Mean confidence"), Column("Expected calibration error", "↓"), Column("Calibrating temperature")]
    return Table("Accuracy and calibration of the teacher", columns, rows)


def knowledge_table(found: Found) -> Table | None:
    """What every teacher has learnt of each modality, and how much its ranking agrees with what a modality shows."""
    rows = []
    for name, teacher in found["teachers"].items():
        for columns, agreed in teacher["rank_agreement"].items():
            learnt = teacher["embeddings"].get(columns)
            plain = found["probes"]["subsets"].get(columns)
            cells = [Cell(name), Cell(spaced(columns)), _score(plain), _score(learnt)]
            cells.append(Cell(numbers.score(agreed["kendall"]), agreed["kendall"]))
            cells.append(Cell(numbers.percent(agreed["followed"]), agreed["followed"]))
            rows.append(Row(cells, "teacher"))
    if not rows:
        return None
    better = arrow(found["higher_is_better"])
    heads = [Column("Teacher", text=True), Column("Modality", text=True), Column("Linear model of it", better)]
    heads += [Column("Probe of the teacher's embedding", better), Column("Kendall's tau", "↑"), Column("Rows above 0")]
    notes = [
        "A probe of the embedding that scores less than a linear model of the plain column shows a lazy modality. "
        "Kendall's tau compares how the teacher and the linear model rank the classes of a row; C2KD teaches the rows "
        "in which it is above 0.",
    ]
    return without_empty_columns(Table("What the teacher knows of each modality", heads, rows, notes))


def visibility_table(found: Found) -> Table | None:
    """How much of what every teacher knows the columns of each student show."""
    rows = [
        Row(
            [
                Cell(name),
                Cell(student),
                Cell(" + ".join(seen["columns"])),
                Cell(numbers.percent(seen["logits"]), seen["logits"]),
                Cell(numbers.percent(seen["decisive_channels"]), seen["decisive_channels"]),
            ],
            "teacher",
        )
        for name, teacher in found["teachers"].items()
        for student, seen in teacher["visibility"].items()
    ]
    if not rows:
        return None
    columns = [Column("Teacher", text=True), Column("Student", text=True), Column("Sees", text=True)]
    columns += [Column("Of the variance of the logits", "↑"), Column("Of the channels, by how much they decide", "↑")]
    notes = [
        "What a ridge regression explains on validation rows from the student's columns, plain and as the teacher "
        "embeds them: a lower bound of what a network can see (modality focusing hypothesis, Xue et al., ICLR 2023).",
    ]
    return without_empty_columns(Table("How much of what the teacher knows the student can see", columns, rows, notes))


def gain_table(found: Found) -> Table | None:
    """The evidence behind the expected gain of every student."""
    rows = [
        Row(
            [
                Cell(student),
                Cell(gain["answer"], tone={"yes": "good", "no": "bad"}.get(gain["answer"], "unclear")),
                Cell(gain["by"]),
                _difference(gain["headroom"]),
                Cell(numbers.count(gain["unlabelled"]), gain["unlabelled"]),
                _difference(gain["taught"]),
                _difference(gain["measured"]),
            ],
            "student",
        )
        for student, gain in found["gain"].items()
    ]
    if not rows:
        return None
    columns = [Column("Student", text=True), Column("Gain", text=True), Column("Taught by", text=True)]
    columns += [Column("Teacher ahead by", "↑"), Column("Unlabelled rows"), Column("Their labels bring", "↑")]
    columns.append(Column("Student ahead of its baseline by", "↑"))
    notes = ["Scores on validation. Unlabelled rows are labelled by the teacher for a linear model of the columns."]
    return without_empty_columns(Table("Whether a student can be expected to gain", columns, rows, notes))


def model_table(found: Found) -> Table | None:
    """Students, baselines and controls that are trained, with their agreement with each teacher."""
    rows = []
    teachers = list(found["teachers"])
    for name, model in found["models"].items():
        cells = [Cell(name), Cell(" + ".join(model["columns"])), Cell(str(len(model["seeds"])), len(model["seeds"]))]
        cells.append(_score(model["score"]))
        for teacher in teachers:
            tau = model["rank_agreement"][teacher]["kendall"]
            cells.append(Cell(numbers.score(tau), tau))
        rows.append(Row(cells, model["role"]))
    if not rows:
        return None
    columns = [Column("Model", text=True), Column("Sees", text=True), Column("Seeds")]
    columns.append(Column(f"{metric_label(found)} on validation", arrow(found["higher_is_better"])))
    columns += [Column(f"Kendall's tau with {teacher}", "↑") for teacher in teachers]
    return Table("Models that are trained", columns, rows)


def temperature_table(found: Found) -> Table | None:
    """Where to start with the temperature, and what it does to what every teacher says."""
    rows = []
    for name, teacher in found["teachers"].items():
        one = teacher["temperature"]
        values = [one["temperature"], one["calibrating"], one["as_unsure_in_training"]]
        values += [one["entropy"][key] for key in ("train_at_1", "train_at_start", "validation_calibrated", "highest")]
        rows.append(Row([Cell(name), *(Cell(numbers.significant(value), value) for value in values)], "teacher"))
    if not rows:
        return None
    columns = [Column("Teacher", text=True), Column("Start from"), Column("Calibrates validation")]
    columns += [Column("As unsure in training"), Column("Entropy in training at 1"), Column("… at the start")]
    columns += [Column("… on validation, calibrated"), Column("Highest")]
    rules = dict.fromkeys(teacher["temperature"]["rule"] for teacher in found["teachers"].values())
    return Table("A temperature to start from", columns, rows, [*rules, "Entropies are means over rows, in nats."])


def _score(found: Found | None) -> Cell:
    """A score with its interval."""
    if found is None:
        return Cell(numbers.MISSING)
    ends = found["ci95"]
    around = "" if ends is None else f"{numbers.score(ends[0])} to {numbers.score(ends[1])}"
    return Cell(numbers.score(found["value"]), found["value"], around)


def _difference(found: Found | None, *, toned: bool = True) -> Cell:
    """A difference with its interval, in a tone when the interval excludes zero."""
    if found is None:
        return Cell(numbers.MISSING)
    ends = None if found["ci95"] is None else (found["ci95"][0], found["ci95"][1])
    around = "" if ends is None else numbers.interval(ends)
    tone = "" if ends is None or not toned else "good" if ends[0] > 0 else "bad" if ends[1] < 0 else ""
    return Cell(numbers.signed(found["value"]), found["value"], around, tone=tone)
