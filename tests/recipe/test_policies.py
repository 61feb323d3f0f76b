"""Who may teach whom: what contradicts itself is refused before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from mmdistill.errors import InputError
from mmdistill.recipe import Recipe

SOUND = {"encoders": {"sound": "tiny_cnn"}}


def refusal(data: dict[str, Any], **students: Any) -> str:
    without = {key: value for key, value in data.items() if key != "student"}
    with pytest.raises(InputError) as caught:
        Recipe.from_mapping({**without, "students": students}, source="r.yaml")
    return str(caught.value)


def test_a_teacher_that_nothing_is_called() -> None:
    base = {
        "name": "trial",
        "data": {"table": "t.csv", "target": "y", "columns": {"sound": "audio"}},
        "task": "classification",
        "teacher": SOUND,
    }
    assert "no other model 'techer' to learn from. Did you mean 'teacher'" in refusal(
        base, a={**SOUND, "teacher": "techer"}
    )
    assert "no other model 'a' to learn from" in refusal(base, a={**SOUND, "teacher": "a"})


@pytest.mark.parametrize(
    ("students", "message"),
    [
        ({"a": {"teacher": "b"}, "b": {"teacher": "a"}}, "in a circle: a, b"),
        ({"a": {"teacher": "teacher", "distill": {"policy": "own_past"}}}, "learns from no teacher"),
        ({"a": {"distill": {"policy": "co_trained", "signals": {"store": True}}}}, "cannot be stored"),
        ({"a": {"distill": {"policy": "mutual", "stages": [{"share": 1}]}}}, "do not go together"),
        ({"a": {"distill": {"stages": [{"share": 0.5}, {"share": 0.4}]}}}, "sum up to 0.9, not to 1"),
        (
            {"a": {"distill": {"stages": [{"share": 0.5}, {"share": 0.5}]}, "train": {"epochs": 1}}},
            "2 stages and 1 epoch",
        ),
        ({"a": {"head": "teacher", "distill": {"policy": "mutual"}}}, "one frozen teacher"),
        (
            {
                name: {"distill": {"policy": "mutual"}, "train": {"epochs": number}}
                for number, name in enumerate("ab", 1)
            },
            "'a' and 'b' learn from each other in one training, and their `train` differs",
        ),
        ({"a": {"distill": {"policy": "mutua"}}}, "Did you mean 'mutual'"),
        ({"a": {"distill": {"combine": {"name": "fixed"}}}}, "weights"),
        ({"teacher": {}}, "taken by another folder"),
        ({"a-peer": {}, "a": {}}, "a model beside another student"),
    ],
)
def test_contradictions(data: dict[str, Any], students: dict[str, Any], message: str) -> None:
    assert message in refusal(data, **{name: {**SOUND, **more} for name, more in students.items()})


def test_a_recipe_without_teachers_needs_students_that_teach_themselves(data: dict[str, Any]) -> None:
    del data["teacher"]
    assert "has no teacher" in refusal(data, a=SOUND)
    without = {key: value for key, value in data.items() if key != "student"}
    own = {**SOUND, "distill": {"losses": ["kd"], "policy": "own_past"}}
    assert Recipe.from_mapping({**without, "students": {"a": own}}).teachers_of("a") == ()


def test_a_factory_is_short_for_a_custom_model(data: dict[str, Any]) -> None:
    data["student"] = {"factory": "package.module:function"}
    student = Recipe.from_mapping(data).students["student"]
    assert student.custom is not None
    assert student.custom.factory == "package.module:function"


def test_a_custom_model_has_one_source_and_columns_that_exist(data: dict[str, Any]) -> None:
    assert "exactly one of factory" in refusal(data, a={"custom": {"timm": "resnet18", "factory": "a:b"}})
    assert "no column 'imag'" in refusal(data, a={"custom": {"timm": "resnet18", "inputs": {"x": "imag.values"}}})
    assert "An ONNX file cannot be trained" in refusal(data, a={"custom": {"onnx": "m.onnx"}})
    assert "not encoders and custom" in refusal(data, a={**SOUND, "custom": {"timm": "resnet18"}})


@pytest.mark.parametrize("policy", ["mutual", "own_past", "co_trained"])
def test_a_control_has_a_teacher_that_does_not_change(data: dict[str, Any], policy: str) -> None:
    data["teacher"]["control"] = True
    assert f"and 'a' has '{policy}'" in refusal(data, a={**SOUND, "distill": {"policy": policy}})


def test_a_custom_student_has_no_control(data: dict[str, Any]) -> None:
    data["teacher"]["control"] = True
    assert "'a' is a custom model" in refusal(data, a={"factory": "package.module:function"})


@pytest.mark.parametrize("source", [{"onnx": "m.onnx"}, {"program": "m.pt2"}])
def test_what_only_gives_signals_cannot_learn_along(data: dict[str, Any], source: dict[str, str]) -> None:
    data["teacher"] = {"trained": True, "custom": source}
    assert "cannot learn along" in refusal(data, a={**SOUND, "distill": {"policy": "co_trained"}})
