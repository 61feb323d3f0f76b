"""Layers in turn, whose results on the way are kept."""

from __future__ import annotations

from torch import Tensor, nn


def run_stages(layers: nn.Sequential, values: Tensor, length: int) -> tuple[Tensor, ...]:
    """What comes out of every `length` layers, shallow to deep; the last of it is the result of all of them.

    Nothing is copied: while training, the backward pass keeps these tensors anyway.

    Args:
        layers: a multiple of `length` of them, at least one.
        values: input of the first.
        length: layers of a stage.
    """
    stages = []
    for number, layer in enumerate(layers, start=1):
        values = layer(values)
        if number % length == 0:
            stages.append(values)
    return tuple(stages)
