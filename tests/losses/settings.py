"""Types of what a family says about how its losses are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

Value: TypeAlias = Tensor | tuple[Tensor, ...]
Numbers: TypeAlias = Callable[..., Tensor]
"""``numbers(*shape)``: random float64 numbers of a shape, converted to the precision that is tried."""

Settings: TypeAlias = dict[str, list[dict[str, Any]]]
"""Loss → the options that the common suite tries beside the defaults."""

Inputs: TypeAlias = dict[str, dict[str, Callable[[int, int, Numbers, torch.Generator], Value]]]
"""Loss → argument → a function of (rows, classes, numbers, generator), where the usual input of that name
(`loss_inputs.FACTORIES`) does not suit the loss."""
