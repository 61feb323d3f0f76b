"""Typed options as tables: key, type with its bounds, default, meaning."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs_pages.markdown import code, prose, table

HEADER = ("key", "type", "default", "meaning")
WORDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "mapping"}
PLURALS = {"integer": "integers", "number": "numbers", "text": "texts"}
BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
Links = Mapping[str, str]


def options_table(model: type[BaseModel], links: Links | None = None) -> str:
    """The fields of a pydantic model as a table.

    Args:
        model: the options.
        links: name of a model, or of a key, → the page or section where it is described.
    """
    schema = model.model_json_schema(mode="validation")
    rows = [
        (code(name), _type(name, schema, links or {}), default_text(field), prose(field.description or ""))
        for name, field in model.model_fields.items()
    ]
    return table(HEADER, rows) if rows else "No options."


def options_section(model: type[BaseModel], level: int, links: Links | None = None) -> str:
    """The table of a model and, under headings of `level`, those of the models that its fields hold."""
    parts = [options_table(model, links)]
    for name, nested in nested_models(model):
        parts += [f"{'#' * level} {code(name)}", " ".join((nested.__doc__ or "").split()), options_table(nested, links)]
    return "\n\n".join(part for part in parts if part)


def nested_models(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Key path → model of every field of a model that holds one, its own fields next: `losses[].weight`."""
    for name, field in model.model_fields.items():
        yield from _models_in(field.annotation, name)


def _models_in(annotation: Any, path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, annotation
        for inner, nested in nested_models(annotation):
            yield f"{path}.{inner}", nested
        return
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is dict:
        yield from _models_in(arguments[1], f"{path}.<name>")
    elif origin in (list, tuple):
        yield from _models_in(arguments[0], f"{path}[]")
    elif origin is not typing.Literal:
        for argument in arguments:
            yield from _models_in(argument, path)


def _type(name: str, schema: Mapping[str, Any], links: Links) -> str:
    """The type of a key in words, with its bounds."""
    form = schema["properties"][name]
    return _words(form, schema.get("$defs", {}), links, name)


def _words(form: Mapping[str, Any], definitions: Mapping[str, Any], links: Links, key: str) -> str:
    if "anyOf" in form:
        parts = [_words(part, definitions, links, key) for part in form["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "$ref" in form:
        return _reference(form["$ref"].rsplit("/", 1)[-1], definitions, links, key)
    if "enum" in form:
        return ", ".join(code(scalar(value)) for value in form["enum"])
    if "const" in form:
        return code(scalar(form["const"]))
    kind = form.get("type", "")
    if kind == "array":
        return _list(form, definitions, links, key)
    if kind == "object" and isinstance(form.get("additionalProperties"), dict):
        inner = _words(form["additionalProperties"], definitions, links, key)
        return "mapping of mappings" if inner == "mapping" else f"mapping to {inner}"
    bounds = ", ".join(f"{sign} {scalar(form[bound])}" for bound, sign in BOUNDS if bound in form)
    return f"{WORDS.get(kind, 'any value')} {bounds}".strip()


def _list(form: Mapping[str, Any], definitions: Mapping[str, Any], links: Links, key: str) -> str:
    if "prefixItems" in form:
        return f"[{', '.join(_words(part, definitions, links, key) for part in form['prefixItems'])}]"
    kind, *bounds = _words(form.get("items", {}), definitions, links, key).split(" ")
    return " ".join(["list of", PLURALS.get(kind, kind), *bounds])


def _reference(name: str, definitions: Mapping[str, Any], links: Links, key: str) -> str:
    """A model by what it is called where it is described; one that is described nowhere is what it consists of."""
    if key in links:
        return links[key]
    if name in links:
        return links[name]
    definition = definitions[name]
    return _words(definition, definitions, links, key) if "enum" in definition else "mapping"


def default_text(field: FieldInfo) -> str:
    """A default as a recipe would write it; a dash where leaving the key out has a meaning of its own."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "–"
    if isinstance(value, BaseModel) and not plain(value):
        return "its defaults"
    return code(flow(plain(value)))


def plain(value: Any) -> Any:
    """Plain data of a default, without what its own defaults say. A component with a name alone is that name."""
    if isinstance(value, BaseModel):
        data = {key: plain(item) for key, item in value.model_dump(mode="json", exclude_unset=True).items()}
        return data["name"] if set(data) == {"name"} else data
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def flow(value: Any) -> str:
    """YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """One value as YAML writes it; a float that is whole loses its point."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
    return str(value)
