"""Convolutions over one, two or three axes of positions that keep the size of a map."""

from __future__ import annotations

from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def convolution(axes: int, inputs: int, outputs: int, size: int, *, bias: bool = True) -> nn.Module:
    """A convolution of odd kernel `size` over `axes` axes, (B, inputs, *positions) → (B, outputs, *positions)."""
    layer: nn.Module = _CONVOLUTIONS[axes - 1](inputs, outputs, size, padding=size // 2, bias=bias)
    return layer


def transposed_convolution(axes: int, inputs: int, outputs: int, size: int) -> nn.Module:
    """The transposed `convolution`, with the same shapes."""
    layer: nn.Module = _TRANSPOSED[axes - 1](inputs, outputs, size, padding=size // 2)
    return layer
