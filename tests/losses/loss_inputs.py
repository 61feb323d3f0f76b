"""Inputs for every loss, by the names that `forward` uses; a new kind of input is added here once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmdistill import catalog
from mmdistill.losses.entry import LossEntry

ENTRIES: list[LossEntry] = [entry for entry in catalog.entries("loss") if isinstance(entry, LossEntry)]

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "kd": [{"temperature": 1.0}],
    "soft_cross_entropy": [{"temperature": 1.0}, {"temperature": 3.0, "scale": "none"}],
    "mse_logits": [{"temperature": 2.0}, {"reduction": "half_sum"}],
    "dkd": [{"temperature": 1.0, "alpha": 0.5, "beta": 2.0}, {"alpha": 0.0}, {"beta": 0.0}],
}
"""Settings that the common suite tries beside the defaults."""

SETTINGS = [(entry, options) for entry in ENTRIES for options in [{}, *OPTIONS.get(entry.name, [])]]


def setting_name(value: Any) -> str:
    if isinstance(value, LossEntry):
        return value.name
    return ",".join(f"{key}={item}" for key, item in value.items()) or "defaults"


def build(entry: LossEntry, options: dict[str, Any] | None = None) -> torch.nn.Module:
    """The loss as a recipe builds it: from its typed options."""
    return entry.load()(entry.options.model_validate(options or {}))


def make_inputs(
    entry: LossEntry,
    *,
    rows: int = 6,
    classes: int = 5,
    positions: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    scale: float = 2.0,
) -> dict[str, Tensor]:
    """The needed inputs of a loss: random, student-side ones with gradient; sequences when `positions` is given."""
    generator = torch.Generator().manual_seed(seed)
    lead = (rows,) if positions is None else (rows, positions)

    def numbers(*shape: int) -> Tensor:
        return (torch.randn(*lead, *shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    factories: dict[str, Callable[[], Tensor]] = {
        "student_logits": lambda: numbers(classes).requires_grad_(),
        "teacher_logits": lambda: numbers(classes).requires_grad_(),
        "target": lambda: torch.randint(0, classes, lead, generator=generator),
    }
    return {name: factories[name]() for name in entry.needs}


def student_side(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in inputs.items() if name.startswith("student_")}


def at_equality(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same inputs with the student's equal to the teacher's."""
    return {
        name: inputs[name.replace("student_", "teacher_")].detach().clone().requires_grad_()
        if name.startswith("student_")
        else value
        for name, value in inputs.items()
    }


def take(inputs: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Some rows of all inputs, as leaves of their own."""
    return {name: value.detach()[rows].requires_grad_(value.requires_grad) for name, value in inputs.items()}


def forward_parameters(entry: LossEntry) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(entry.load().forward).parameters)
    parameters.pop("self")
    return parameters
