"""The pure functions of losses and logit transforms by their catalog names: ``functional.kd(student_logits, ...)``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmdistill import catalog

if TYPE_CHECKING:
    from torch import Tensor


def _entries() -> list[catalog.Entry]:
    return [*catalog.entries("loss"), *catalog.entries("transform")]


def __getattr__(name: str) -> Callable[..., Tensor]:
    if not name.startswith("_"):
        for entry in _entries():
            if entry.name == name:
                module = importlib.import_module(entry.target.partition(":")[0])
                function: Callable[..., Tensor] = getattr(module, name)
                return function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [entry.name for entry in _entries()]
