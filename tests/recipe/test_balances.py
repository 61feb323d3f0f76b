"""What a recipe refuses about balances and probes, each in a sentence that says how to mend it."""

from __future__ import annotations

from typing import Any

import pytest

from mmdistill.errors import InputError
from mmdistill.recipe import Recipe

BOTH: dict[str, Any] = {"encoders": {"image": "cnn", "text": "bag"}}


def recipe(**changes: Any) -> Recipe:
    base = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": {"image": "image", "text": "text"}},
        "task": "classification",
        "teacher": BOTH,
        "student": {"encoders": {"text": "bag"}},
    }
    merged = {**base, **changes}
    return Recipe.from_mapping({key: value for key, value in merged.items() if value is not None})


def test_defaults_are_written_out() -> None:
    teacher = recipe(teacher={**BOTH, "modality_balance": "ogm_ge"}).model_dump()["teachers"]["teacher"]
    assert teacher["modality_balance"] == [
        {"name": "ogm_ge", "start": 0.0, "end": 0.5, "alpha": 0.1, "noise": True, "weights": "all"}
    ]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("one column", {"student": {"encoders": {"text": "bag"}, "modality_balance": "ogm_ge"}}, "reads 'text' alone"),
    ("probes of one column", {"student": {"encoders": {"text": "bag"}, "probes": True}}, "reads 'text' alone"),
    (
        "custom",
        {"teacher": {"factory": "package:make", "modality_balance": "ogm_ge"}},
        "`modality_balance` is for models of encoders",
    ),
    ("twice", {"teacher": {**BOTH, "modality_balance": ["ogm_ge", "ogm_ge"]}}, "'ogm_ge' stands twice"),
    ("unknown", {"teacher": {**BOTH, "modality_balance": "ogm"}}, "no modality balance named 'ogm'"),
    ("bad option", {"teacher": {**BOTH, "modality_balance": {"name": "ogm_ge", "alpha": 0}}}, "alpha"),
    ("bad span", {"teacher": {**BOTH, "modality_balance": {"name": "ogm_ge", "start": 0.6}}}, "end has to be larger"),
    ("no probes", {"teacher": {**BOTH, "modality_balance": "ogm_ge", "probes": False}}, "they are switched off"),
    (
        "no validation",
        {
            "teacher": {**BOTH, "modality_balance": "branch_stopping", "train": {"select": "last"}},
            "data": {
                "table": "t.csv",
                "target": "y",
                "columns": {"image": "image", "text": "text"},
                "split": {"validation": 0},
            },
            "train": {"select": "last"},
        },
        "looks at validation rows and there are none",
    ),
    (
        "mixup",
        {"teacher": {**BOTH, "modality_balance": "prototypes"}, "train": {"mixup": 0.2}},
        "mixup gives two",
    ),
    (
        "unimodal student",
        {"student": {**BOTH, "modality_balance": "unimodal_teachers"}},
        "'unimodal_teachers' is for teachers",
    ),
    (
        "two objectives",
        {"teacher": {**BOTH, "modality_balance": ["unimodal_teachers", "g2d"]}},
        "the model has one objective",
    ),
    (
        "own past",
        {"student": {**BOTH, "modality_balance": "ogm_ge"}, "distill": {"policy": "own_past"}},
        "models are trained together",
    ),
    (
        "probes of peers",
        {"student": {**BOTH, "probes": True}, "distill": {"policy": "mutual"}},
        "models are trained together",
    ),
    (
        "co-trained",
        {"teacher": {**BOTH, "modality_balance": "ogm_ge"}, "distill": {"policy": "co_trained"}},
        "models are trained together",
    ),
    (
        "control",
        {"teacher": {**BOTH, "control": True, "modality_balance": "g2d"}, "student": {"encoders": BOTH["encoders"]}},
        "would need models of its own",
    ),
    (
        "no weight",
        {"teacher": {**BOTH, "modality_balance": {"name": "g2d", "feature_weight": 0, "logit_weight": 0}}},
        "both zero",
    ),
]


@pytest.mark.parametrize(("changes", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe(**changes)
    assert said in str(caught.value)


def test_models_of_one_column_have_names_of_their_own() -> None:
    clash = {"teacher": {**BOTH, "modality_balance": "g2d"}, "teacher-only-text": {"encoders": {"text": "bag"}}}
    data = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": {"image": "image", "text": "text"}},
        "task": "classification",
        "teachers": clash,
        "student": {"encoders": {"text": "bag"}},
    }
    with pytest.raises(InputError, match="'teacher-only-text' is what the model of 'text' alone is called"):
        Recipe.from_mapping(data)


def test_a_column_that_cannot_name_a_folder_has_no_model_of_its_own() -> None:
    data = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": {"a/b": "image", "text": "text"}},
        "task": "classification",
        "teacher": {"encoders": {"a/b": "cnn", "text": "bag"}, "modality_balance": "unimodal_teachers"},
        "student": {"encoders": {"text": "bag"}},
    }
    with pytest.raises(InputError, match=r"'a/b' cannot name a folder\. Rename it in data\.columns.*`source: a/b`"):
        Recipe.from_mapping(data)


def test_a_task_cannot_be_called_like_the_losses_of_probes() -> None:
    with pytest.raises(InputError, match="cannot be called 'probe'"):
        recipe(task=None, tasks={"probe": {"type": "classification", "target": "y"}})
