"""Which models of single columns a run trains, and what the model of all columns learns from them."""

from __future__ import annotations

from typing import Any

from mmdistill.recipe import Recipe
from mmdistill.run.plan import plan

BOTH: dict[str, Any] = {
    "encoders": {"image": "cnn", "text": "bag"},
    "fusion": "concat",
    "features": {"image": {"size": 16}},
}


def planned(balance: Any, **changes: Any) -> Any:
    data = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": {"image": "image", "text": "text"}},
        "task": "classification",
        "teacher": {**BOTH, "modality_balance": balance, "per_seed": True},
        "student": {"encoders": {"text": "bag"}},
        "seeds": 2,
        **changes,
    }
    return plan(Recipe.from_mapping({key: value for key, value in data.items() if value is not None}))


def test_a_model_of_each_column_is_trained_before_the_teacher() -> None:
    models = planned("unimodal_teachers").models
    assert [(one.name, one.role, one.seeds) for one in models[:3]] == [
        ("teacher-only-image", "control", (0, 1)),
        ("teacher-only-text", "control", (0, 1)),
        ("teacher", "teacher", (0, 1)),
    ]
    image, text, teacher = models[:3]
    assert list(image.spec.encoders) == ["image"]
    assert image.spec.features == {"image": {"size": 16}}
    assert text.spec.features == {}
    assert image.spec.fusion is None
    assert image.spec.modality_balance == []
    assert image.distill is None
    assert teacher.teachers == ("teacher-only-image", "teacher-only-text")
    assert models[3].teachers == ("teacher",)


def test_the_objective_is_made_from_the_options() -> None:
    teacher = planned({"name": "unimodal_teachers", "weight": 50}).model("teacher")
    assert [(one.name, one.weight, one.taps) for one in teacher.distill.losses] == [
        ("fitnets", 50, {"student": "image", "teacher": "teacher-only-image:image"}),
        ("fitnets", 50, {"student": "text", "teacher": "teacher-only-text:text"}),
    ]


def test_g2d_learns_features_and_answers_of_every_task() -> None:
    tasks = {"one": {"type": "classification", "target": "y"}, "two": {"type": "classification", "target": "z"}}
    data = {"task": None, "tasks": tasks}
    teacher = planned({"name": "g2d", "temperature": 2}, **data).model("teacher")
    found = [(one.name, one.task, one.taps.get("teacher")) for one in teacher.distill.losses]
    assert found == [
        ("fitnets", None, "teacher-only-image:image"),
        ("fitnets", None, "teacher-only-text:text"),
        ("kd", "one", "teacher-only-image:one.logits"),
        ("kd", "two", "teacher-only-image:two.logits"),
        ("kd", "one", "teacher-only-text:one.logits"),
        ("kd", "two", "teacher-only-text:two.logits"),
    ]
    only_features = planned({"name": "g2d", "logit_weight": 0}).model("teacher")
    assert {one.name for one in only_features.distill.losses} == {"fitnets"}


def test_other_balances_add_no_model() -> None:
    assert [one.name for one in planned("ogm_ge").models] == ["teacher", "student", "baseline"]
    assert planned("ogm_ge").model("teacher").distill is None


def test_a_control_teacher_of_one_column_has_nothing_to_balance() -> None:
    control = planned("ogm_ge", teacher={**BOTH, "modality_balance": "ogm_ge", "control": True})
    assert control.model("control-teacher").spec.modality_balance == []
