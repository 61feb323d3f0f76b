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
    assert planned.model("student").teachers == ("teacher",)
    assert planned.model("baseline").teachers == ()


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
    assert planned.model("control").teachers == ("control-teacher",)
    assert Comparison("student", "control") in planned.comparisons


def several(**students: Any) -> Recipe:
    teachers = {"both": {"encoders": {"image": "cnn", "text": "bag"}}, "eye": {"encoders": {"image": "cnn"}}}
    data = recipe().model_dump(mode="json", exclude_none=True)
    return Recipe.from_mapping({**data, "teachers": teachers, "students": students})


TEXT = {"encoders": {"text": "bag"}}


def test_a_student_learns_from_every_teacher_unless_it_names_some() -> None:
    planned = plan(several(all=TEXT, one={**TEXT, "teacher": "eye"}))
    assert planned.model("all").teachers == ("both", "eye")
    assert planned.model("one").teachers == ("eye",)


def test_a_student_may_be_the_teacher_of_another_and_is_trained_before_it() -> None:
    value = several(small={**TEXT, "teacher": "assistant"}, assistant=TEXT)
    assert names(value) == ["both", "eye", "assistant", "assistant-baseline", "small"]
    assert plan(value).model("small").teachers == ("assistant",)


def mutual(**more: Any) -> dict[str, Any]:
    return {**TEXT, "distill": {"policy": "mutual"}, **more}


def test_mutual_students_are_each_others_peers() -> None:
    planned = plan(several(a=mutual(), b={**mutual(), "encoders": {"image": "cnn"}}))
    assert planned.model("a").teachers == ("b",)
    assert planned.model("a").group == planned.model("b").group == ("a", "b")
    assert planned.model("a").finished_teachers == ()


def test_a_lone_mutual_student_gets_a_peer() -> None:
    planned = plan(several(a=mutual()))
    assert planned.model("a-peer").role == "peer"
    assert planned.model("a").teachers == ("a-peer",)
    assert planned.model("a-peer").teachers == ("a",)


def test_a_teacher_is_trained_along_only_where_the_policy_says_so() -> None:
    policy = {"name": "co_trained", "supervised": 0.5, "losses": ["mse_logits"]}
    planned = plan(several(a={**TEXT, "teacher": "both", "distill": {"policy": policy}}))
    along = planned.model("a-co-trained")
    assert (along.role, along.starts_from, along.teachers) == ("peer", "both", ("a",))
    assert along.distill is not None
    assert along.distill.supervised == 0.5
    assert [term.name for term in along.distill.losses] == ["mse_logits"]
    assert planned.model("a").teachers == ("a-co-trained",)


def test_its_own_past_is_no_model_of_the_plan() -> None:
    planned = plan(several(a={**TEXT, "distill": {"policy": {"name": "own_past", "decay": 0.9}}}))
    assert planned.model("a").teachers == ()
    assert planned.model("a").group == ("a",)
    assert planned.comparisons == (Comparison("a", "a-baseline"),)
