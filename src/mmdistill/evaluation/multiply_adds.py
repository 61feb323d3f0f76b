"""Multiply-adds of a forward pass.

Counted are matrix products, convolutions, attention and recurrent layers, as is usual; element-wise work, norms,
pooling and embedding look-ups are not (a look-up multiplies nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def _mkldnn_rnn_flops(
    inputs: Sequence[int], input_weight: Sequence[int], hidden_weight: Sequence[int], *_: Any, **__: Any
) -> int:
    """One recurrent layer in one direction: inputs (T, B, I), weights (gates · H, I) and (gates · H, H)."""
    steps = inputs[0] * inputs[1]
    return 2 * steps * (input_weight[0] * input_weight[1] + hidden_weight[0] * hidden_weight[1])


def _cudnn_rnn_flops(inputs: Sequence[int], weights: Sequence[Sequence[int]], *_: Any, **__: Any) -> int:
    """All layers and directions: inputs (T, B, I), or (sum of lengths, I) when packed; matrices among the weights."""
    steps = inputs[0] * inputs[1] if len(inputs) == 3 else inputs[0]
    return 2 * steps * sum(shape[0] * shape[1] for shape in weights if len(shape) == 2)


def _mv_flops(matrix: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _mapping() -> dict[Any, Callable[..., int]]:
    """What PyTorch's counter has no formula for."""
    aten = torch.ops.aten
    return {
        aten.mkldnn_rnn_layer: _mkldnn_rnn_flops,
        aten._cudnn_rnn: _cudnn_rnn_flops,
        aten.mv: _mv_flops,
    }


@contextmanager
def _wanting_no_gradient(model: nn.Module) -> Iterator[None]:
    """Views of a parameter claim a gradient even where none is kept, and the counter fails to hook into it."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def multiply_adds(model: nn.Module, *inputs: Any) -> int:
    """Multiply-adds of ``model(*inputs)``, in the modes that its modules are in, without gradient."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The fused transformer layer is one operation that cannot be looked into.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.no_grad(),
            _wanting_no_gradient(model),
            FlopCounterMode(display=False, custom_mapping=_mapping()) as counter,
        ):
            model(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return int(counter.get_total_flops()) // 2
