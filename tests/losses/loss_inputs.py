"""Inputs for every loss, by the names that `forward` uses; a new kind of input is added here once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mmdistill import catalog
from mmdistill.losses.entry import LossEntry
from mmdistill.losses.module import DistillationLoss
from tests.losses.families import FAMILIES
from tests.losses.settings import Numbers, Value

Batch: TypeAlias = dict[str, Value]

ENTRIES: list[LossEntry] = [entry for entry in catalog.entries("loss") if isinstance(entry, LossEntry)]
OPTIONS = {name: options for family in FAMILIES for name, options in family.OPTIONS.items()}
INPUTS = {name: inputs for family in FAMILIES for name, inputs in family.INPUTS.items()}
SETTINGS = [(entry, options) for entry in ENTRIES for options in [{}, *OPTIONS.get(entry.name, [])]]

WIDTH, CHANNELS, HEADS, TOKENS, COLUMNS = 6, 4, 2, 4, 3
STAGES = ((3, 6), (4, 4), (6, 2))
"""Channels and side of the maps of each stage, shallow to deep."""

FACTORIES: dict[str, Callable[[int, int, Numbers, torch.Generator], Value]] = {
    "logits": lambda rows, classes, numbers, _: numbers(rows, classes),
    "features": lambda rows, classes, numbers, _: numbers(rows, WIDTH),
    "image": lambda rows, classes, numbers, _: numbers(rows, WIDTH),
    "text": lambda rows, classes, numbers, _: numbers(rows, WIDTH),
    "maps": lambda rows, classes, numbers, _: numbers(rows, CHANNELS, 5, 5),
    "stages": lambda rows, classes, numbers, _: tuple(numbers(rows, width, side, side) for width, side in STAGES),
    "embeddings": lambda rows, classes, numbers, _: tuple(numbers(rows, WIDTH) for _ in range(COLUMNS)),
    "layers": lambda rows, classes, numbers, _: tuple(numbers(rows, TOKENS, WIDTH) for _ in range(2)),
    "shared": lambda rows, classes, numbers, _: tuple(numbers(rows, WIDTH) for _ in range(COLUMNS)),
    "private": lambda rows, classes, numbers, _: tuple(numbers(rows, WIDTH) for _ in range(COLUMNS)),
    "reconstructions": lambda rows, classes, numbers, _: tuple(numbers(rows, WIDTH) for _ in range(COLUMNS)),
    "column_logits": lambda rows, classes, numbers, _: tuple(numbers(rows, classes) for _ in range(COLUMNS)),
    "tokens": lambda rows, classes, numbers, _: numbers(rows, TOKENS, WIDTH),
    "attention": lambda rows, classes, numbers, _: numbers(rows, HEADS, TOKENS, TOKENS),
    "head_weight": lambda rows, classes, numbers, _: numbers(classes, CHANNELS),
    "target": lambda rows, classes, _, generator: torch.randint(0, classes, (rows,), generator=generator),
    "row": lambda rows, classes, numbers, _: torch.arange(rows),
    "present": lambda rows, classes, numbers, _: torch.ones(rows, COLUMNS, dtype=torch.bool),
}
"""What an argument holds, by what its name says after ``student_`` or ``teacher_``."""

NOT_OF_A_ROW = ("head_weight",)
"""Inputs that are no rows of a batch."""


def setting_name(value: Any) -> str:
    if isinstance(value, LossEntry):
        return value.name
    return ",".join(f"{key}={item}" for key, item in value.items()) or "defaults"


def kind_of(argument: str) -> str:
    return argument.removeprefix("student_").removeprefix("teacher_")


def shapes_of(inputs: Batch) -> dict[str, Any]:
    """Shape of one row of every input, as `DistillationLoss.build` takes them."""
    return {
        name: tuple(tuple(one.shape[1:]) for one in value) if isinstance(value, tuple) else tuple(value.shape[1:])
        for name, value in inputs.items()
    }


def build(entry: LossEntry, options: dict[str, Any] | None = None, inputs: Batch | None = None) -> DistillationLoss:
    """The loss as a recipe builds it, its learned parts made for `inputs` and in their precision."""
    loss: DistillationLoss = entry.load()(entry.options.model_validate(options or {}))
    if entry.learned:
        inputs = make_inputs(entry) if inputs is None else inputs
        targets = inputs.get("target")
        assert not isinstance(targets, tuple)
        rows = torch.arange(max(len(next(iter(tensors(inputs).values()))), 6))
        if targets is not None and len(targets) < len(rows):
            targets = torch.cat([targets, targets.new_full((len(rows) - len(targets),), 0)])
        loss.build(shapes_of(inputs), rows=rows, targets=targets)
        if any(value.dtype is torch.float64 for value in tensors(inputs).values()):
            loss.double()
    return loss


def make_inputs(
    entry: LossEntry,
    *,
    rows: int = 6,
    classes: int = 5,
    positions: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    scale: float = 2.0,
) -> Batch:
    """The needed inputs of a loss, with the first of alternatives: random, floating ones with gradient; sequences when
    `positions` is given."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        shape = shape if positions is None else (shape[0], positions, *shape[1:])
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    def leaf(name: str) -> Value:
        factory = INPUTS.get(entry.name, {}).get(name) or FACTORIES[kind_of(name)]
        value = factory(rows, classes, numbers, generator)
        if name == "target" and positions is not None and not value.is_floating_point():
            value = torch.randint(0, classes, (rows, positions), generator=generator)
        return each(value, lambda one: one.detach().to(dtype).requires_grad_() if one.is_floating_point() else one)

    alternative = entry.alternatives[0] if entry.alternatives else ()
    return {name: leaf(name) for name in (*entry.needs, *alternative)}


def each(value: Value, change: Callable[[Tensor], Tensor]) -> Value:
    return tuple(change(one) for one in value) if isinstance(value, tuple) else change(value)


def tensors(inputs: Batch) -> dict[str, Tensor]:
    """Every tensor by a name of its own: ``student_stages[1]`` for one of several."""
    found: dict[str, Tensor] = {}
    for name, value in inputs.items():
        parts = {f"{name}[{i}]": one for i, one in enumerate(value)} if isinstance(value, tuple) else {name: value}
        found.update(parts)
    return found


def student_side(inputs: Batch) -> dict[str, Tensor]:
    return {name: value for name, value in tensors(inputs).items() if name.startswith("student_")}


def replace(inputs: Batch, values: dict[str, Tensor]) -> Batch:
    """The inputs with some tensors, named as by `tensors`, in the place of others."""

    def parts(name: str, value: Value) -> Iterator[Tensor]:
        return (values.get(f"{name}[{i}]", one) for i, one in enumerate(value))

    return {
        name: tuple(parts(name, value)) if isinstance(value, tuple) else values.get(name, value)
        for name, value in inputs.items()
    }


def at_equality(inputs: Batch) -> Batch:
    """The same inputs with the student's equal to the teacher's, where there is such an input."""

    def equal(name: str, value: Value) -> Value:
        counterpart = inputs.get(name.replace("student_", "teacher_"), value)
        return each(counterpart, lambda one: one.detach().clone().requires_grad_())

    return {name: equal(name, value) if name.startswith("student_") else value for name, value in inputs.items()}


def take(inputs: Batch, rows: Tensor) -> Batch:
    """Some rows of all inputs, as leaves of their own."""
    return {
        name: value
        if kind_of(name) in NOT_OF_A_ROW
        else each(value, lambda one: one.detach()[rows].requires_grad_(one.requires_grad))
        for name, value in inputs.items()
    }


def forward_parameters(entry: LossEntry) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(entry.load().forward).parameters)
    parameters.pop("self")
    return parameters
