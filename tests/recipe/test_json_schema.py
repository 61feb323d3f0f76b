"""The JSON Schema accepts what `Recipe.load` accepts and refuses unknown keys, so that editors can help."""

from __future__ import annotations

import copy
from collections.abc import Iterator
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


def references(part: Any) -> Iterator[str]:
    """Every reference in a schema, at any depth."""
    values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    if isinstance(part, dict) and isinstance(part.get("$ref"), str):
        yield part["$ref"]
    for value in values:
        yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    schema = recipe_schema()
    known = {f"#/$defs/{name}" for name in schema["$defs"]}
    assert set(references(schema)) <= known


def test_options_of_options_are_known(validator: jsonschema.Draft202012Validator, data: dict[str, Any]) -> None:
    point = {"sensitivity": 0.9}
    task = {"type": "classification", "target": "digit", "operating_point": point}
    validator.validate({**data, "task": task})
    assert not validator.is_valid({**data, "task": {**task, "operating_point": {**point, "sensitivty": 0.9}}})
