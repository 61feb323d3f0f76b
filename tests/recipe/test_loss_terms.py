"""The keys of a loss term: what they may say, what they become, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mmdistill.errors import InputError
from mmdistill.recipe import Recipe
from mmdistill.recipe.json_schema import recipe_schema

FULL: dict[str, Any] = {
    "name": "kd",
    "weight": {"shape": "ramp", "end": 0.9, "until": 5, "unit": "epochs"},
    "transforms": ["standardise"],
    "sample_weight": ["confidence", {"name": "difficulty", "gamma": 1}],
}
FEATURES: dict[str, Any] = {
    "name": "fitnets",
    "taps": {"student": "sound", "teacher_features": "fused"},
    "adapter": {"name": "mlp", "hidden": 32},
}


def with_terms(data: dict[str, Any], *terms: Any, **distill: Any) -> dict[str, Any]:
    return {**data, "distill": {"losses": list(terms), **distill}}


def test_short_forms_become_components_with_all_their_options(data: dict[str, Any]) -> None:
    recipe = Recipe.from_mapping(with_terms(data, FULL, FEATURES, balance="gradient_norm"))
    first, second = recipe.distill.losses
    assert first.adapter.name == "auto"
    assert [one.model_dump() for one in first.sample_weight] == [
        {"name": "confidence", "temperature": 1.0, "power": 1.0},
        {"name": "difficulty", "measure": "student", "gamma": 1.0},
    ]
    assert first.transforms[0].model_extra == {"temperature": 1.0}
    assert second.adapter.model_dump(exclude_none=True) == {"name": "mlp", "hidden": 32, "activation": "relu"}
    assert recipe.distill.balance == "gradient_norm"


def test_one_sample_weight_needs_no_list(data: dict[str, Any]) -> None:
    terms = Recipe.from_mapping(with_terms(data, {"name": "kd", "sample_weight": "entropy"})).distill.losses
    assert [one.name for one in terms[0].sample_weight] == ["entropy"]
    terms = Recipe.from_mapping(with_terms(data, {"name": "kd", "sample_weight": {"name": "entropy"}})).distill.losses
    assert [one.name for one in terms[0].sample_weight] == ["entropy"]


def test_a_resolved_recipe_reads_back_equal(data: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe.from_mapping(with_terms(data, FULL, FEATURES))
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe


def test_the_json_schema_knows_them(data: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(recipe_schema())
    for term in (FULL, FEATURES, {"name": "kd", "adapter": "none", "sample_weight": "confidence"}):
        assert not list(validator.iter_errors(with_terms(data, term)))
    for wrong in ({"adapter": "liner"}, {"adapter": {"name": "mlp", "hiden": 3}}, {"sample_weight": ["sure"]}):
        assert list(validator.iter_errors(with_terms(data, {"name": "kd", **wrong})))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": "liner"}, "There is no adapter named 'liner'. Did you mean 'linear'"),
        ({"adapter": {"name": "mlp", "hiden": 3}}, "Did you mean 'hidden'"),
        ({"adapter": {"name": "conv_norm", "kernel_size": 2}}, "the side of the kernel is odd"),
        ({"sample_weight": "confidense"}, "Did you mean 'confidence'"),
        ({"sample_weight": [{"name": "entropy", "temperature": 0}]}, "greater than 0"),
        ({"transforms": ["standardize"]}, "Did you mean 'standardise'"),
        ({"taps": {"studnt": "fused"}}, "distill.losses.0.taps.studnt: The loss 'kd' takes no 'studnt'. Did you mean"),
        ({"weight": {"shape": "ramps"}}, "distill.losses.0.weight"),
        ({"weight": {"shape": "warm_up", "start": 1}}, "does not use 'start'"),
        ({"weight": {"until": 3}}, "set `unit` to steps or epochs"),
        ({"weight": {"unit": "rows"}}, "'fraction', 'steps' or 'epochs'"),
    ],
)
def test_what_is_refused(data: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Recipe.from_mapping(with_terms(data, {"name": "kd", **changes}), source="r.yaml")
    assert message in str(caught.value)


def test_transforms_are_for_losses_between_logits(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Transforms are for the logits of both sides"):
        Recipe.from_mapping(with_terms(data, {"name": "fitnets", "transforms": ["standardise"]}))


def test_a_weight_that_is_always_zero_teaches_nothing(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="learns nothing from the teacher"):
        Recipe.from_mapping(with_terms(data, {"name": "kd", "weight": {"shape": "constant", "end": 0}}))
