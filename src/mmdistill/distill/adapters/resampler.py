"""Tokens of one length to tokens of another by learned queries that look at them.

The cross-attention of Jaegle, Gimeno, Brock, Zisserman, Vinyals, Carreira, "Perceiver", ICML 2021, arXiv:2103.03206,
in one layer, as the resampler of Alayrac et al., "Flamingo", NeurIPS 2022, arXiv:2204.14198 uses it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmdistill.distill.adapters.fitting import width_of
from mmdistill.distill.catalog import ResamplerOptions
from mmdistill.distill.layout import Pair
from mmdistill.errors import InputError
from mmdistill.models.masking import masked_softmax


class Resampler(nn.Module):
    """A learned query for each of the teacher's positions gathers what the student's tokens hold for it.

    Args:
        inputs: channels of the student's tokens.
        outputs: channels of the teacher's.
        length: of the teacher's tokens.
        heads: of the attention; divides `outputs`.
    """

    def __init__(self, inputs: int, outputs: int, length: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(length, outputs))
        self.key, self.value = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.project = nn.Linear(outputs, outputs)

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, inputs), with a mask (B, L) true at positions that count, to (B, length, outputs)."""
        queries = self.queries.unflatten(1, (self.heads, -1)).transpose(0, 1)
        keys = self.key(values).unflatten(2, (self.heads, -1)).transpose(1, 2)
        held = self.value(values).unflatten(2, (self.heads, -1)).transpose(1, 2)
        scores = (queries @ keys.transpose(-1, -2)) / math.sqrt(queries.shape[-1])
        if mask is None:
            shares = scores.softmax(dim=-1)
        else:
            shares = masked_softmax(scores, mask[:, None, None, :], dim=-1)
        gathered: Tensor = self.project((shares @ held).transpose(1, 2).flatten(2))
        return gathered


def resampler(pair: Pair, options: ResamplerOptions) -> Resampler:
    """A `Resampler` to the teacher's length.

    Raises:
        InputError: when a tap holds no tokens, the teacher's length varies, or heads do not divide its width.
    """
    student, teacher = pair.student, pair.teacher
    if student.kind != "tokens":
        what = f"The adapter resampler is for tokens, and {student.tap!r} holds {student.kind}"
        raise InputError(what, fix="Use linear or mlp, which also bring maps to another size")
    length, outputs = teacher.shape[0], width_of(teacher)
    if length is None:
        raise InputError(
            f"The length of {teacher.tap!r} varies with the batch, and a resampler has as many queries as the teacher "
            "has tokens",
            fix="Name other taps, such as a column's embedding",
        )
    if outputs % options.heads:
        what = f"{options.heads} heads do not divide the teacher's width {outputs}"
        raise InputError(what, fix="Choose another number")
    return Resampler(width_of(student), outputs, length, options.heads)
