"""Factories as a user would write them."""

from __future__ import annotations

from torch import Tensor, nn


class TwoLayers(nn.Module):
    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.body(x)).relu()
        return self.head(hidden)


def two_layers(classes: int = 3, inputs: int = 6, hidden: int = 8) -> TwoLayers:
    return TwoLayers(inputs, hidden, classes)


def no_module() -> str:
    return "no module"


def flat(inputs: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))
