"""The precision that losses are computed in: float32, or the inputs' own where it is wider."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec

import torch
from torch import Tensor

_NARROW = (torch.float16, torch.bfloat16)
_Arguments = ParamSpec("_Arguments")


def widen(values: Tensor) -> Tensor:
    """`values` in float32 when they are float16 or bfloat16, and as they are otherwise."""
    return values.float() if values.dtype in _NARROW else values


def without_autocast(loss: Callable[_Arguments, Tensor]) -> Callable[_Arguments, Tensor]:
    """A loss, or a ``forward``, that autocast does not reach: with it, matrix products of float32 would be float16.

    Only what multiplies matrices or has layers needs it. Inputs are still to be widened.
    """

    @functools.wraps(loss)
    def computed(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Tensor:
        device = next((value.device.type for value in _tensors((*args, *kwargs.values()))), "cpu")
        if not torch.is_autocast_enabled(device):
            return loss(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return loss(*args, **kwargs)

    return computed


def _tensors(given: Sequence[object]) -> Iterator[Tensor]:
    """The tensors among arguments, in tuples and lists of them as well."""
    for value in given:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
