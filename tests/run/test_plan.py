"""Which models a recipe asks for."""

from __future__ import annotations

from typing import Any

from mmdistill.recipe import Recipe
from mmdistill.run.plan import Comparison, plan


def recipe(**changes: Any) -> Recipe:
    base = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": {"image": "image", "text": "text"}},
        "task": "classification",
        "teacher": {"encoders": {"image": "cnn", "text": "bag"}},
        "student": {"encoders": {"text": "bag"}},
        "seeds": 3,
    }
    merged = {**base, **changes}
    if "students" in changes:
        del merged["student"]
    return Recipe.from_mapping(merged)


def names(value: Recipe) -> list[str]:
    return [model.name for model in plan(value).models]


def test_one_teacher_and_a_student_with_its_baseline_for_every_seed() -> None:
    planned = plan(recipe())
    assert [(model.name, model.role, model.seeds) for model in planned.models] == [
        ("teacher", "teacher", (0,)),
        ("student", "student", (0, 1, 2)),
        ("baseline", "baseline", (0, 1, 2)),
    ]
    assert planned.comparisons == (Comparison("student", "baseline"),)
    assert planned.model("student").teacher == "teacher"
    assert planned.model("baseline").teacher is None


def test_a_teacher_for_every_seed_on_request() -> None:
    teacher = {"encoders": {"image": "cnn", "text": "bag"}, "per_seed": True}
    assert plan(recipe(teacher=teacher)).model("teacher").seeds == (0, 1, 2)


def test_several_students_have_a_baseline_each_unless_it_would_be_the_same_model() -> None:
    text, other = {"encoders": {"text": "bag"}}, {"encoders": {"image": "tiny_cnn"}}
    same = {**text, "distill": {"losses": ["mse_logits"]}}
    value = recipe(students={"text": text, "image": other, "text-mse": same})
    assert names(value) == ["teacher", "text", "text-baseline", "image", "image-baseline", "text-mse"]
    assert plan(value).comparisons[-1] == Comparison("text-mse", "text-baseline")


def test_students_that_may_stop_at_different_steps_share_no_baseline() -> None:
    text = {"encoders": {"text": "bag"}}
    same = {**text, "distill": {"losses": ["mse_logits"]}}
    value = recipe(students={"text": text, "text-mse": same}, train={"stop": {"patience": 2}})
    assert names(value) == ["teacher", "text", "text-baseline", "text-mse", "text-mse-baseline"]
    assert plan(value).comparisons[-1] == Comparison("text-mse", "text-mse-baseline")


def test_the_baseline_can_be_switched_off() -> None:
    value = recipe(student={"encoders": {"text": "bag"}, "baseline": False})
    assert names(value) == ["teacher", "student"]
    assert plan(value).comparisons == ()


def test_a_control_teacher_reads_the_students_own_columns() -> None:
    value = recipe(teacher={"encoders": {"image": "cnn", "text": "bag"}, "fusion": "concat", "control": True})
    planned = plan(value)
    assert names(value) == ["teacher", "student", "baseline", "control-teacher", "control"]
    control_teacher = planned.model("control-teacher")
    assert list(control_teacher.spec.encoders) == ["text"]
    assert control_teacher.spec.fusion is None
    assert planned.model("control").teacher == "control-teacher"
    assert Comparison("student", "control") in planned.comparisons
