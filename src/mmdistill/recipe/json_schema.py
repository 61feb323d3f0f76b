"""The JSON Schema of a recipe, with the options of every component of the catalog, so that editors complete it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdistill import catalog
from mmdistill.recipe.recipe import Recipe

ENCODER_KINDS = tuple(f"{modality} encoder" for modality in ("image", "text", "audio", "tabular", "vector"))
COMPONENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "encoders": ("Encoder", ENCODER_KINDS),
    "fusion": ("Fusion", ("fusion",)),
    "missing": ("MissingStrategy", ("missing strategy",)),
    "modality_dropout": ("ModalityDropout", ("modality dropout",)),
    "modality_balance": ("ModalityBalance", ("modality balance",)),
    "optimizer": ("Optimizer", ("optimizer",)),
    "schedule": ("Schedule", ("schedule",)),
    "combine": ("Combination", ("combination",)),
    "policy": ("Policy", ("policy",)),
    "adapter": ("Adapter", ("adapter",)),
    "transforms": ("Transform", ("transform",)),
    "sample_weight": ("SampleWeight", ("sample weight",)),
}
"""Key of a recipe that holds a component, or several → what the schema calls it, and the kinds it may be of."""


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what `Recipe.load` accepts, short forms included."""
    schema = Recipe.model_json_schema()
    definitions = schema["$defs"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "mmdistill recipe"
    for definition in list(definitions.values()):
        for key, value in definition.get("properties", {}).items():
            if key in COMPONENTS:
                _point_at(value, COMPONENTS[key][0])
    definitions |= {name: _named(kinds) for name, kinds in COMPONENTS.values()}
    for key in ("transforms", "sample_weight"):
        _one_or_several(definitions["LossTerm"]["properties"][key])
    for model in ("TeacherSpec", "StudentSpec"):
        _one_or_several(definitions[model]["properties"]["modality_balance"])
        _number_or(definitions[model]["properties"]["modality_dropout"])
    definitions["LossTerm"] = _with_options(definitions["LossTerm"], "name", "loss")
    definitions["TaskSpec"] = _with_options(definitions["TaskSpec"], "type", "task")
    definitions["ColumnSpec"] = _with_options(definitions["ColumnSpec"], "type", "modality")
    _short_forms(schema)
    for name, definition in _nested_definitions(list(definitions.values())):
        definitions.setdefault(name, definition)
    definitions.pop("Component", None)
    return schema


def _nested_definitions(part: Any) -> Iterator[tuple[str, Any]]:
    """Take the definitions that options bring out of them, at any depth: references look for them at the root."""
    if isinstance(part, dict):
        nested = part.pop("$defs", {})
        yield from nested.items()
        yield from _nested_definitions(list(nested.values()))
        part = list(part.values())
    if isinstance(part, list):
        for value in part:
            yield from _nested_definitions(value)


def _point_at(part: Any, target: str) -> None:
    """Let whatever refers to a component, at any depth, refer to the components of one kind."""
    if isinstance(part, dict):
        if part.get("$ref") == "#/$defs/Component":
            part["$ref"] = f"#/$defs/{target}"
        for value in part.values():
            _point_at(value, target)
    elif isinstance(part, list):
        for value in part:
            _point_at(value, target)


def _one_or_several(part: dict[str, Any]) -> None:
    """Let one item stand for a list of it."""
    part["anyOf"] = [{"type": part.pop("type"), "items": part["items"]}, part.pop("items")]


def _number_or(part: dict[str, Any]) -> None:
    """Let a chance stand for the component."""
    part["anyOf"] = [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, *part["anyOf"]]


def _named(kinds: tuple[str, ...]) -> dict[str, Any]:
    """A name alone, or a mapping of a name and the options of that name."""
    entries = [entry for kind in kinds for entry in catalog.entries(kind)]
    long_forms = []
    for entry in entries:
        options = entry.options.model_json_schema()
        properties = {"name": {"const": entry.name}, **options.get("properties", {})}
        long_forms.append(
            {
                "title": f"{entry.kind}: {entry.name}",
                "description": entry.summary,
                "type": "object",
                "properties": properties,
                "required": ["name", *options.get("required", [])],
                "additionalProperties": False,
                **({"$defs": options["$defs"]} if "$defs" in options else {}),
            }
        )
    return {"anyOf": [{"enum": sorted({entry.name for entry in entries})}, *long_forms]}


def _with_options(base: dict[str, Any], key: str, kind: str) -> dict[str, Any]:
    """The keys of `base` together with the options that belong to the name under `key`."""
    long_forms = []
    for entry in catalog.entries(kind):
        options = entry.options.model_json_schema()
        properties = {**base["properties"], **options.get("properties", {}), key: {"const": entry.name}}
        if kind == "modality":
            augmentation = catalog.get("augmentation", entry.name).options.model_json_schema()
            properties["augment"] = {"anyOf": [augmentation, {"type": "null"}]}
        long_forms.append(
            {
                "title": f"{kind}: {entry.name}",
                "description": entry.summary,
                "type": "object",
                "properties": properties,
                "required": [key, *options.get("required", [])],
                "additionalProperties": False,
                **({"$defs": options["$defs"]} if "$defs" in options else {}),
            }
        )
    return {"anyOf": [{"enum": sorted(catalog.names(kind))}, *long_forms]}


def _short_forms(schema: dict[str, Any]) -> None:
    """Accept `task`, `student`, `seeds: 5` and `split: column` as `Recipe.load` does."""
    properties = schema["properties"]
    properties["task"] = {"$ref": "#/$defs/TaskSpec", "description": "Short for one entry of `tasks`."}
    properties["teacher"] = {"$ref": "#/$defs/TeacherSpec", "description": "Short for one entry of `teachers`."}
    properties["student"] = {"$ref": "#/$defs/StudentSpec", "description": "Short for one entry of `students`."}
    properties["seeds"] = {"anyOf": [properties["seeds"], {"type": "integer", "minimum": 1}]}
    split = schema["$defs"]["DataSpec"]["properties"]["split"]
    schema["$defs"]["DataSpec"]["properties"]["split"] = {"anyOf": [split, {"type": "string"}]}
    schema["required"] = [key for key in schema["required"] if key not in {"tasks", "students"}]
    schema["allOf"] = [
        {"anyOf": [{"required": ["task"]}, {"required": ["tasks"]}]},
        {"anyOf": [{"required": [key]} for key in ("student", "students", "teacher", "teachers")]},
    ]
