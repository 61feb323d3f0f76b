"""The attention weights of a model's fusion, computed again beside a forward pass.

Fusions attend through PyTorch's fused kernels, which never hold the weights. Hooks on the fusion's `Attention` modules
see what goes into them and compute the weights from that, for one pass; otherwise nothing is hooked and nothing costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.attention_layout import AttentionLayout, ShowsAttention
from mmdistill.models.layers.transformer import Attention
from mmdistill.models.modes import evaluating

if TYPE_CHECKING:
    from mmdistill.models.any_model import AnyModel
    from mmdistill.models.multimodal import Arrays


@dataclass(frozen=True)
class AttentionWeights:
    """What one `Attention` attended to in one pass.

    Args:
        layout: what stands at its Q queries and K keys.
        weights: (B, Q, K + 1), means over the heads that sum to one; the last key is the extra one of zeros.
        counted: bool (B, Q), which queries are real: not padding, nor of a column that the row lacks.
    """

    layout: AttentionLayout
    weights: Tensor
    counted: Tensor


def shows_attention(model: AnyModel) -> bool:
    """Whether the model has a fusion whose attention can be read."""
    return isinstance(getattr(model, "fusion", None), ShowsAttention)


def attention_weights(
    model: AnyModel, features: Mapping[str, Arrays], present: Mapping[str, Tensor] | None = None
) -> dict[str, AttentionWeights]:
    """The weights of every `Attention` in the fusion of a model, for one batch.

    The model is in eval mode meanwhile, without gradient; every module is put back into its own mode.

    Args:
        model: a model whose fusion may have attention.
        features: see `MultimodalModel.forward`.
        present: see `MultimodalModel.forward`.

    Returns:
        Module path within the fusion → weights, in the order they were computed; a module that is used several times
        has its further ones under ``<path> (2)``, ``<path> (3)``… Empty for a model whose fusion has no attention.
    """
    fusion = getattr(model, "fusion", None)
    if not isinstance(fusion, ShowsAttention) or not isinstance(fusion, nn.Module):
        return {}
    with torch.no_grad(), evaluating(model), _recorded(fusion) as (given, weights):
        model(features, present)
    _, tokens, masks, whose = given
    layouts = fusion.attention_layout({column: values.shape[1] for column, values in tokens.items()})
    real = _real_positions(tokens, masks, whose)
    return {
        _name(path, call): AttentionWeights(layouts[path], each, _counted(layouts[path], real, whose))
        for path, call, each in weights
    }


@contextmanager
def _recorded(fusion: nn.Module) -> Iterator[tuple[list[Any], list[tuple[str, int, Tensor]]]]:
    """What the fusion is given, and the weights of its attentions (path, number of the call, weights) as they run."""
    given: list[Any] = []
    weights: list[tuple[str, int, Tensor]] = []
    calls: dict[str, int] = {}

    def keep_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        given.extend(inputs)

    def keep_weights(path: str, attention: Attention, inputs: tuple[Any, ...]) -> None:
        calls[path] = calls.get(path, 0) + 1
        weights.append((path, calls[path], attention.weights(*inputs).mean(1)))

    handles = [fusion.register_forward_pre_hook(keep_inputs)]
    for path, module in fusion.named_modules():
        if isinstance(module, Attention):
            # Bound as a default: the loop's variable would be the last path by the time the hook runs.
            handles.append(
                module.register_forward_pre_hook(lambda found, inputs, path=path: keep_weights(path, found, inputs))
            )
    try:
        yield given, weights
    finally:
        for handle in handles:
            handle.remove()


def _real_positions(
    tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], present: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """By column, bool (B, 1 + L): which positions of its sequence in `ColumnTokens` are there."""
    real: dict[str, Tensor] = {}
    for column, there in present.items():
        real[column] = there.unsqueeze(1)
        if column in tokens:
            own = there.unsqueeze(1).expand(tokens[column].shape[:2])
            real[column] = torch.cat([real[column], own & masks[column] if column in masks else own], dim=1)
    return real


def _counted(layout: AttentionLayout, real: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Bool (B, Q). Positions of a column count where they are real, learned ones in every row that has a say."""
    rows = next(iter(present.values())) if layout.column is None else present[layout.column]
    every = torch.ones_like(rows) if layout.column is None else rows
    taken: dict[str, int] = {}
    counted = []
    for label, run in groupby(layout.queries):
        start, length = taken.get(label, 0), len(list(run))
        taken[label] = start + length
        own = real[label][:, start : start + length] if label in real else every.unsqueeze(1).expand(-1, length)
        counted.append(own & every.unsqueeze(1))
    return torch.cat(counted, dim=1)


def _name(path: str, call: int) -> str:
    return path if call == 1 else f"{path} ({call})"
