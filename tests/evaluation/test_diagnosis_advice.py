"""Advice: every finding has its sentence, with its numbers."""

from __future__ import annotations

import copy
from typing import Any

from mmdistill.evaluation.diagnosis.advice import advise


def known(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "ci95": [low, high]}


def contribution(value: float, low: float, high: float) -> dict[str, Any]:
    return {"shapley": known(value, low, high), "unique": known(value, low, high)}


GAME: dict[str, Any] = {
    "chance": known(0.1, 0.05, 0.15),
    "subsets": {
        "image+sound": known(0.9, 0.85, 0.95),
        "image": known(0.8, 0.75, 0.85),
        "sound": known(0.5, 0.4, 0.6),
    },
    "columns": {"image": contribution(0.6, 0.5, 0.7), "sound": contribution(0.2, 0.1, 0.3)},
}
TEACHER: dict[str, Any] = {
    "columns": ["image", "sound"],
    "score": known(0.95, 0.9, 1.0),
    "validation": {"expected_calibration_error": 0.02},
    "warnings": [],
    "subsets": copy.deepcopy(GAME),
    "embeddings": {"image": known(0.9, 0.8, 1.0), "sound": known(0.6, 0.5, 0.7)},
    "rank_agreement": {"sound": {"kendall": 0.6, "followed": 0.9, "rows": 50}},
    "temperature": {
        "temperature": 3.0,
        "calibrating": 1.7,
        "entropy": {"train_at_1": 0.1, "train_at_start": 0.9, "validation_calibrated": 0.8, "highest": 2.303},
    },
    "modality_dropout": False,
}
WHOLE: dict[str, Any] = {
    "primary_metric": "accuracy",
    "higher_is_better": True,
    "rows": {"labelled": 100, "unlabelled": 400, "validation": 200},
    "columns": {"image": {"missing_train": 0.0}, "sound": {"missing_train": 0.0}},
    "students": {"student": ["sound"]},
    "probes": GAME,
    "label_efficiency": {"sound": {"doubling": known(0.0, -0.02, 0.02)}},
    "teachers": {"teacher": TEACHER},
    "gain": {
        "student": {
            "answer": "unclear",
            "reasons": ["The teacher is +0.300 ahead."],
            "taught": known(0.0, -0.1, 0.1),
            "unlabelled": 400,
        }
    },
}


def sentences(topic: str, **changes: Any) -> list[str]:
    """The advice on a topic when parts of the diagnosis are replaced, `a__b` for nested keys."""
    whole = copy.deepcopy(WHOLE)
    for path, value in changes.items():
        *parents, key = path.split("__")
        holder = whole
        for parent in parents:
            holder = holder[parent]
        holder[key] = value
    return [one["sentence"] for one in advise(whole) if one["topic"] == topic]


def test_nothing_to_say_is_said_briefly() -> None:
    assert sentences("next") == []
    assert sentences("drop")[0].startswith("Keep every modality. Even of the one that is missed least, sound,")
    assert "+0.200" in sentences("drop")[0]
    assert sentences("teacher") == [
        "teacher passes the gate: it scores 0.950 on validation, which is clearly more than linear models and class "
        "frequencies do, with an expected calibration error of 0.020."
    ]
    assert sentences("gain")[0].startswith("Whether student will gain from its teacher cannot be told")


def test_a_modality_that_adds_nothing_is_dropped_only_if_every_model_agrees() -> None:
    nothing = contribution(0.0, -0.01, 0.005)
    both = {"probes__columns__sound": nothing, "teachers__teacher__subsets__columns__sound": nothing}
    assert sentences("drop", **both)[0].startswith("Drop sound: with all others there it adds 0.000")
    assert not sentences("drop", probes__columns__sound=nothing)[0].startswith("Drop")
    doubtful = {key: contribution(0.02, -0.02, 0.06) for key in both}
    assert sentences("drop", **doubtful)[0].startswith("sound may be dropped, but these rows cannot tell for sure")


def test_one_modality_cannot_be_dropped() -> None:
    alone = {"image": contribution(0.6, 0.5, 0.7)}
    found = sentences("drop", probes__columns=alone, teachers={})
    assert found == ["image is the only modality, so there is none to drop."]


def test_the_gate_speaks_for_each_warning() -> None:
    warnings = [{"code": "overconfident", "sentence": "It is too sure."}]
    assert sentences("teacher", teachers__teacher__warnings=warnings) == ["teacher: It is too sure."]


def test_the_temperature_comes_with_its_entropies() -> None:
    (found,) = sentences("temperature")
    assert "Start from temperature 3 with teacher and try 1.5 and 6 beside it" in found
    for number in ("1.700", "0.800", "0.100", "0.900", "2.303"):
        assert number in found


def test_a_lazy_modality_asks_for_balance() -> None:
    (found,) = sentences("next", teachers__teacher__embeddings__sound=known(0.3, 0.2, 0.4))
    assert "modality_balance" in found
    assert "of sound 0.300 against 0.500" in found


def test_a_subset_at_chance_asks_for_dropout_when_a_linear_model_does_better() -> None:
    at_chance = known(0.11, 0.06, 0.16)
    changes = {"teachers__teacher__subsets__subsets__sound": at_chance}
    (found,) = sentences("next", **changes)
    assert found.startswith("Give teacher modality_dropout: with sound alone its accuracy falls to 0.110")
    (found,) = sentences("next", **changes, teachers__teacher__modality_dropout=True)
    assert found.startswith("Give teacher more modality_dropout")
    assert sentences("next", **changes, probes__subsets__sound=at_chance) == []


def test_labels_and_unlabelled_rows_are_asked_for_when_they_bring_something() -> None:
    (found,) = sentences("next", label_efficiency__sound__doubling=known(0.05, 0.02, 0.08))
    assert "+0.050" in found
    assert found.startswith("Label more rows")
    (found,) = sentences("next", gain__student__taught=known(0.06, 0.01, 0.1))
    assert found.startswith("Collect more rows without labels for student: the 400 that are there")


def test_rankings_that_contradict_each_other_suggest_c2kd() -> None:
    low = {"kendall": 0.05, "followed": 0.6, "rows": 50}
    (found,) = sentences("next", teachers__teacher__rank_agreement={"sound": low})
    assert "c2kd" in found
    assert "40.0\u00a0%" in found


def test_missing_columns_few_rows_and_no_teacher_are_said() -> None:
    (found,) = sentences("next", columns__sound__missing_train=0.8)
    assert found.startswith("sound is missing in 80.0\u00a0% of the training rows")
    (found,) = sentences("next", rows__validation=40)
    assert "with 40 of them" in found
    assert sentences("next", teachers={})[-1].startswith("Train the teacher")


def test_an_error_metric_is_read_the_other_way() -> None:
    found = sentences("next", higher_is_better=False, teachers__teacher__embeddings__sound=known(0.7, 0.6, 0.8))
    assert any("modality_balance" in one for one in found)
