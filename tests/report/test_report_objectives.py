"""The losses of a student are told from the resolved recipe of its run."""

from __future__ import annotations

from typing import Any

import pytest

from mmdistill.recipe import Recipe
from mmdistill.recipe.document import parse_document
from mmdistill.report.objectives import objective_of

STAGES = [
    {"share": 0.4, "supervised": 0, "losses": ["fitnets"]},
    {"share": 0.6, "losses": [{"name": "kd", "transforms": ["standardise"]}]},
]


def resolved(distill: dict[str, Any]) -> dict[str, Any]:
    """A resolved recipe as the run folder holds it: `own` with this objective, `shared` with that of the recipe."""
    recipe = Recipe.from_mapping(
        {
            "name": "objectives",
            "data": {"table": "digits", "target": "digit", "columns": {"sound": "audio"}},
            "task": "classification",
            "teacher": {"encoders": {"sound": "cnn"}},
            "students": {
                "own": {"encoders": {"sound": "tiny_cnn"}, "distill": distill},
                "shared": {"encoders": {"sound": "tiny_cnn"}},
            },
        }
    )
    content: dict[str, Any] = parse_document(recipe.to_yaml(), "recipe.yaml").data
    return content


@pytest.mark.parametrize(
    ("distill", "expected"),
    [
        ({"losses": ["dkd"]}, ["supervised", "dkd"]),
        ({"losses": ["mse_logits"], "supervised": 0}, ["mse_logits"]),
        ({"losses": ["kd"], "supervised": {"shape": "linear", "start": 1, "end": 0}}, ["supervised", "kd"]),
        ({"losses": ["kd"], "supervised": {"shape": "constant", "end": 0}}, ["kd"]),
        ({"losses": ["kd", {"name": "kd", "temperature": 2}, "sp"]}, ["supervised", "kd", "sp"]),
        ({"stages": STAGES}, ["supervised", "fitnets", "kd (standardise)"]),
    ],
)
def test_the_losses_of_a_student_s_own_objective(distill: dict[str, Any], expected: list[str]) -> None:
    assert objective_of(resolved(distill), "own") == expected


def test_without_an_objective_of_its_own_it_has_the_recipe_s() -> None:
    assert objective_of(resolved({"losses": ["dkd"]}), "shared") == ["supervised", "kd"]


@pytest.mark.parametrize("content", [{}, {"students": None}, {"students": {"own": "?"}, "distill": "?"}])
def test_of_a_recipe_that_is_not_there_or_damaged_nothing_is_said(content: dict[str, Any]) -> None:
    assert objective_of(content, "own") == []
