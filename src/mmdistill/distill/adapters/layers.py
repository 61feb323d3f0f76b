"""Adapters over the channels: linear, with a hidden layer, or a convolution with a batch norm.

Linear regressors on vectors and 1×1 convolutions on maps: Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets:
Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550, section 2.2, whose code has a batch norm and a ReLU behind them.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.distill.adapters.adapter import Adapter
from mmdistill.distill.adapters.fitting import wanted_size, width_of
from mmdistill.distill.catalog import ConvNormOptions, LinearOptions, MLPOptions
from mmdistill.distill.layout import Pair
from mmdistill.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def linear(pair: Pair, options: LinearOptions) -> Adapter:
    """A linear map: on maps a 1×1 convolution, on tokens the same for each."""
    project = nn.Linear(width_of(pair.student), width_of(pair.teacher), bias=options.bias)
    return Adapter(project, channels_first=pair.student.channels_first, size=wanted_size(pair))


def mlp(pair: Pair, options: MLPOptions) -> Adapter:
    """Two linear maps with an activation between."""
    inputs, outputs = width_of(pair.student), width_of(pair.teacher)
    hidden = options.hidden or max(inputs, outputs)
    project = nn.Sequential(nn.Linear(inputs, hidden), ACTIVATIONS[options.activation](), nn.Linear(hidden, outputs))
    return Adapter(project, channels_first=pair.student.channels_first, size=wanted_size(pair))


def conv_norm(pair: Pair, options: ConvNormOptions) -> Adapter:
    """A convolution, batch norm and ReLU on maps; a linear map in the place of the convolution on vectors.

    Raises:
        InputError: for tokens, whose padding would enter the statistics of the batch.
    """
    inputs, outputs = width_of(pair.student), width_of(pair.teacher)
    if pair.student.kind == "tokens":
        raise InputError(
            f"The adapter conv_norm is for maps and vectors, and {pair.student.tap!r} holds tokens",
            fix="Use linear, mlp or resampler",
        )
    axes = len(pair.student.sizes)
    if axes:
        layer: nn.Module = _CONVOLUTIONS[axes - 1](
            inputs, outputs, options.kernel_size, padding=options.kernel_size // 2, bias=False
        )
    else:
        layer = nn.Linear(inputs, outputs, bias=False)
    parts = [layer, ChannelNorm(outputs), *([nn.ReLU()] if options.relu else [])]
    size = wanted_size(pair)
    return Adapter(nn.Sequential(*parts), channels_first=pair.student.channels_first, size=size, on_maps=True)


class ChannelNorm(nn.Module):
    """Batch norm over the channels (axis 1) of any tensor; a batch of one value a channel uses the running statistics.

    Args:
        channels: of the input.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(_ones(channels)), nn.Parameter(_ones(channels) * 0)
        self.register_buffer("running_mean", _ones(channels) * 0)
        self.register_buffer("running_var", _ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, …) to the same shape."""
        training = self.training and values.shape[0] * values[0, 0].numel() > 1
        return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, training)


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _ones(channels: int) -> Tensor:
    return Tensor(channels).fill_(1.0)
