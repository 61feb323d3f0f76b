"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def mlp(inputs: int, hidden: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear layers, each followed by ReLU (and dropout when it is above zero); nothing else.

    Args:
        inputs: width of the input.
        hidden: width of each layer; the last one is the width of the result.
        dropout: chance of zeroing an activation while training.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        inputs = width
    return nn.Sequential(*layers)


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them, from one width to another.

    What SimKD (Chen et al., CVPR 2022) puts between a student and its teacher's head, for pooled features.
    """
    hidden = max(inputs, outputs)
    return nn.Sequential(*mlp(inputs, [hidden]), nn.Linear(hidden, outputs))
