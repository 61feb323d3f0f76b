"""A module from another library inside an encoder, trained on or left as it is."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn


class Backbone(nn.Module):
    """Holds a network of another library. A frozen one gets no gradient and stays in eval mode whatever the model's.

    Args:
        network: the module.
        frozen: leave its weights and its normalisation statistics as they are.
    """

    def __init__(self, network: nn.Module, frozen: bool) -> None:
        super().__init__()
        self.network, self.frozen = network, frozen
        if frozen:
            network.requires_grad_(False)
            network.eval()

    def train(self, mode: bool = True) -> Backbone:
        """As `torch.nn.Module.train`, but a frozen network stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def gradients(self) -> AbstractContextManager[object]:
        """Run the network under this: without a graph when it is frozen."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen)
