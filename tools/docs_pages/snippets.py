"""The short recipe and the short Python that a loss's page shows; tests load the one and run the other."""

from __future__ import annotations

import re

import torch

from docs_pages.inputs import ROWS, SHOWN_AS_WELL, named_taps, tensor
from docs_pages.options import flow, plain
from mmdistill.losses.entry import LossEntry

_NUMBER = r"\d[\d.]*(?:e-?\d+)?"
MEMORY = 1000
"""Rows of a training, for losses that remember rows."""


def recipe_snippet(entry: LossEntry) -> str:
    """The loss as a term of a recipe, with its typical weight and the taps that have to be named."""
    term: dict[str, object] = {"name": entry.name, "weight": typical_weight(entry)}
    if "temperature" in entry.options.model_fields:
        term["temperature"] = plain(entry.options.model_fields["temperature"].get_default())
    term |= {"taps": named_taps(entry)} if named_taps(entry) else {}
    beside = re.search(rf"beside ({_NUMBER}) of the supervised loss", entry.typical_weight)
    supervised = f"\n  supervised: {beside[1]}" if beside and float(beside[1]) != 1 else ""
    return f"distill:\n  losses:\n    - {flow(term)}{supervised}"


def typical_weight(entry: LossEntry) -> float:
    """The first number of what the entry says about it; 1 where that is for other options than the defaults."""
    found = re.match(rf"({_NUMBER})(?!\d| /)(?: with (\w+): (\w+))?", entry.typical_weight)
    if found is None:
        return 1.0
    if found[2] is not None and str(entry.options.model_fields[found[2]].get_default()) != found[3]:
        return 1.0
    return float(found[1])


def python_snippet(entry: LossEntry) -> str:
    """The loss on plain tensors, as a module and, where it learns nothing, as a function."""
    alternative = entry.alternatives[0] if entry.alternatives else SHOWN_AS_WELL.get(entry.name, ())
    arguments = (*entry.needs, *alternative)
    made = [f"{name} = {tensor(entry, name)}" for name in arguments]
    module = entry.target.partition(":")[2]
    given = ", ".join([*entry.needs, *(f"{name}={name}" for name in alternative)])
    imports = ["import torch", "", f"from mmdistill.losses import {module}"]
    if not entry.learned:
        imports.append(f"from mmdistill.losses.functional import {entry.name}")
        lines = [f"loss = {module}()({given})  # a module, with its options as keywords", "loss.backward()"]
        return "\n".join([*imports, "", *made, "", *lines, f"same = {entry.name}({given})  # the pure function"])
    lines = [
        *_build(entry, module, made, arguments),
        f"value = loss({given})",
        "value.backward()",
        "learned = list(loss.parameters())  # for the optimizer, beside the student's",
    ]
    return "\n".join([*imports, "", *made, "", *lines])


def _build(entry: LossEntry, module: str, made: list[str], arguments: tuple[str, ...]) -> list[str]:
    """The call of `build`, one argument a line where it is long."""
    shapes = f"{{{', '.join(_shape_items(made, arguments))}}}"
    rows = [f"rows=torch.arange({MEMORY})", f"targets=torch.randint(0, 10, ({MEMORY},))"] * ("row" in entry.needs)
    short = f"loss = {module}().build({', '.join([shapes, *rows])})"
    if len(short) <= 110:
        return [short]
    items = [f"        {item}," for item in _shape_items(made, arguments)]
    return [f"loss = {module}().build(", "    {", *items, "    },", *(f"    {row}," for row in rows), ")"]


def _shape_items(made: list[str], arguments: tuple[str, ...]) -> list[str]:
    space: dict[str, object] = {"torch": torch}
    exec("\n".join(made), space)
    sided = [name for name in arguments if name.startswith(("student_", "teacher_"))]
    return [f'"{name}": {_shape(space[name])}' for name in sided]


def _shape(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_shape(one) for one in value)},)" if len(value) == 1 else str(tuple(map(_row, value)))
    return str(_row(value))


def _row(value: object) -> tuple[int, ...]:
    assert isinstance(value, torch.Tensor)
    assert value.shape[0] == ROWS
    return tuple(value.shape[1:])
