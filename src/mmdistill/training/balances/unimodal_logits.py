"""What a model says with one of its columns alone, without running it again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

from mmdistill.models.fusion.concat import Concat
from mmdistill.models.multimodal import MultimodalModel
from mmdistill.training.balances.balance import Training


def splits_by_column(model: MultimodalModel, task: str) -> bool:
    """Whether the head of a task is a sum of one linear head a column: a linear head right behind a concatenation."""
    return (
        isinstance(model.fusion, Concat)
        and len(model.fusion.layers) == 0
        and isinstance(model.projection, nn.Identity)
        and isinstance(model.heads[task], nn.Linear)
    )


@torch.no_grad()
def unimodal_logits(training: Training, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Column → logits (B, C) of that column alone, without gradient.

    Where the model's head can be split by column they are those of its part of the weight and an equal share of the
    bias, as in OGM-GE's code. Any other fusion mixes the columns before the head; there they are those of the column's
    probe, a linear head that learns beside the model from the embedding.

    Args:
        training: with probes, unless the head can be split.
        outputs: the model's taps.
    """
    model, task = training.model, training.task
    if not splits_by_column(model, task):
        assert training.probes is not None
        return training.probes(outputs)
    head = model.heads[task]
    assert isinstance(head, nn.Linear)
    widths = [model.dims[column] for column in model.columns]
    share: Tensor | float = 0.0 if head.bias is None else head.bias / len(widths)
    return {
        column: outputs[column] @ head.weight[:, end - width : end].T + share
        for column, width, end in zip(model.columns, widths, accumulate(widths), strict=True)
    }
