"""Squared error between the Gram matrices of tokens.

Yang, Cui, Chen, Che, Liu, Wang, Hu, "TextBrewer: An Open-Source Knowledge Distillation Toolkit for Natural Language
Processing", ACL demonstrations 2020, arXiv:2002.12620, table 2: the neuron selectivity transfer (Huang, Wang, 2017)
and the flow of solution procedure (Yim et al., 2017) of sequence models.
"""

from __future__ import annotations

from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.hidden_states import TokenGramOptions
from mmdistill.losses.layers import check_layers
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.token_pairs import check_mask, pair_mask


@without_autocast
def token_gram(
    student_layers: tuple[Tensor, ...],
    teacher_layers: tuple[Tensor, ...],
    weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Squared error between Gram matrices of tokens, averaged over the pairs of real tokens.

    A Gram matrix holds the inner products of the tokens of one layer with those of the next, over their width; of a
    single layer with themselves. It is of one size whatever the widths, so that no adapter is needed.

    Args:
        student_layers: hidden states of one or more layers, each (B, L, D).
        teacher_layers: as many, with the same rows and tokens, of any width; receive no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at real tokens; a pair counts when both its tokens do.

    Returns:
        A scalar, at least 0, and 0 where the Gram matrices agree; the mean over pairs of layers where there are more
        than two. Typical weight: 1, beside kd.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_layers(student_layers, teacher_layers)
    if any(layer.dim() != 3 or layer.shape[:2] != student_layers[0].shape[:2] for layer in student_layers):
        shapes = ", ".join(str(tuple(layer.shape)) for layer in student_layers)
        raise InputError(f"token_gram compares tokens (rows, tokens, width) of equal length, but they are {shapes}")
    check_mask(mask, *student_layers[0].shape[:2])
    student, teacher = _grams(student_layers), _grams(tuple(layer.detach() for layer in teacher_layers))
    pairs = pair_mask(mask)
    flat = None if pairs is None else pairs.flatten(1)
    errors = [(ours - theirs).square().flatten(1) for ours, theirs in zip(student, teacher, strict=True)]
    return weighted_mean(sum(errors[1:], errors[0]) / len(errors), weight, flat)


def _grams(layers: tuple[Tensor, ...]) -> list[Tensor]:
    """The Gram matrices (B, L, L) of consecutive layers."""
    wide = [widen(layer) for layer in layers]
    return [
        first @ second.transpose(1, 2) / first.shape[-1] for first, second in zip(wide, wide[1:] or wide, strict=False)
    ]


class TokenGram(DistillationLoss):
    """`token_gram` as a module."""

    options_type = TokenGramOptions

    def forward(
        self,
        student_layers: tuple[Tensor, ...],
        teacher_layers: tuple[Tensor, ...],
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `token_gram`."""
        return token_gram(student_layers, teacher_layers, weight, mask)
