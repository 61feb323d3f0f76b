"""The JSON Schema accepts what `Recipe.load` accepts and refuses unknown keys, so that editors can help."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from mmdistill.recipe import Recipe
from mmdistill.recipe.json_schema import recipe_schema


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_short_and_resolved_forms_are_valid(validator: jsonschema.Draft202012Validator, data: dict[str, Any]) -> None:
    validator.validate({**data, "seeds": 5})
    validator.validate(Recipe.from_mapping(data).model_dump(mode="json", exclude_none=True))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 3},
        {"student": {"encoders": {"sound": {"name": "tiny_cnn", "widht": 3}}}},
        {"distill": {"losses": [{"name": "unheard_of"}]}},
        {"train": {"optimizer": {"name": "adamw", "momentun": 3}}},
    ],
)
def test_unknown_keys_are_invalid(
    validator: jsonschema.Draft202012Validator, data: dict[str, Any], change: dict[str, Any]
) -> None:
    assert not validator.is_valid({**copy.deepcopy(data), **change})
