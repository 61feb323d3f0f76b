"""Factor transfer: factors of the teacher's map, paraphrased, and of the student's, translated, are compared.

Kim, Park, Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", NeurIPS 2018,
arXiv:1802.04977, equations 1 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.losses.batch_norm import WeightedBatchNorm
from mmdistill.losses.convolution import convolution, transposed_convolution
from mmdistill.losses.families.maps import FTOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.pooling import pool_to_smaller
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.stages import check_maps, paired_shape, reduce_elements

FactorForm: TypeAlias = Literal["flattened", "attention"]
SLOPE = 0.1
"""Of the leaky rectifiers, in the paper."""


def ft(
    student_factor: Tensor,
    teacher_factor: Tensor,
    weight: Tensor | None = None,
    *,
    factor_form: FactorForm = "flattened",
    power: Literal[1, 2] = 1,
    channel_power: int = 2,
) -> Tensor:
    """Mean of |difference|^power between factors of norm 1, averaged over rows.

    The paper and the authors' code flatten a factor over channels and positions and divide it by its L2 norm.
    RepDistiller takes the mean of the squares (of another power, if asked) over channels first and so compares
    attention maps. The paper writes the
    p-norm of the difference; the authors' code, which the published weight belongs to, averages over the elements, as
    it is here. The larger of two factors is average-pooled to the size of the smaller.

    Args:
        student_factor: (B, C, *positions), from the translator.
        teacher_factor: (B, C, *positions), from the paraphraser; receives no gradient. Any number of channels with
            ``attention``.
        weight: (B,) weight of each row, not negative.
        factor_form: ``flattened`` (the paper) or ``attention`` (RepDistiller).
        power: 1 (the paper's choice) or 2.
        channel_power: of the responses with ``attention``, at least 1; an odd one keeps their signs.

    Returns:
        A scalar, at least 0, and 0 where the factors agree up to a positive factor. Typical weight: 500 with
        ``flattened``, 200 with ``attention``.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_maps(student_factor, teacher_factor, equal_widths=factor_form == "flattened", name="factor")
    factors = pool_to_smaller(widen(student_factor), widen(teacher_factor.detach()))
    student, teacher = (_normalised(factor, factor_form, channel_power) for factor in factors)
    difference = (student - teacher).abs()
    return weighted_mean((difference if power == 1 else difference.square()).mean(dim=1), weight)


def _normalised(factor: Tensor, form: FactorForm, channel_power: int) -> Tensor:
    """(B, elements) of norm 1."""
    compared = factor if form == "flattened" else factor.pow(channel_power).mean(dim=1)
    return F.normalize(compared.flatten(1), dim=1)


class Translator(nn.Module):
    """Three 3×3 convolutions with leaky rectifiers: the student's map to a factor, or the teacher's (the encoder).

    Args:
        axes: number of axes of positions.
        inputs: channels of the map.
        outputs: channels of the factor.
        batch_norm: whether each convolution is followed by batch normalisation.
    """

    def __init__(self, axes: int, inputs: int, outputs: int, batch_norm: bool = False) -> None:
        super().__init__()
        widths = ((inputs, inputs), (inputs, outputs), (outputs, outputs))
        self.convolutions = nn.ModuleList(convolution(axes, *pair, 3) for pair in widths)
        norms = (WeightedBatchNorm(width) if batch_norm else None for _, width in widths)
        self.normalisations = nn.ModuleList(norm for norm in norms if norm is not None)

    def forward(self, maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """(B, inputs, *positions) → (B, outputs, *positions); `weight` (B,) is that of the rows."""
        for i, layer in enumerate(self.convolutions):
            maps = layer(maps)
            if self.normalisations:
                maps = self.normalisations[i](maps, weight)
            maps = F.leaky_relu(maps, SLOPE)
        return maps


class Paraphraser(nn.Module):
    """The autoencoder of the teacher's map: its code is the factor.

    Args:
        axes: number of axes of positions.
        channels: of the map.
        factors: channels of the factor.
    """

    def __init__(self, axes: int, channels: int, factors: int) -> None:
        super().__init__()
        self.encoder = Translator(axes, channels, factors)
        widths = ((factors, factors), (factors, channels), (channels, channels))
        self.decoder = nn.ModuleList(transposed_convolution(axes, *pair, 3) for pair in widths)

    def decode(self, factor: Tensor) -> Tensor:
        """The map that a factor stands for."""
        for layer in self.decoder:
            factor = F.leaky_relu(layer(factor), SLOPE)
        return factor


class FT(DistillationLoss):
    """`ft` as a module, with the paraphraser that makes the teacher's factors and the translator for the student's.

    The paper trains in two stages. The first teaches the paraphraser to reconstruct the teacher's map, with
    ``reconstruction=1, factor=0``. The second teaches translator and student, with ``reconstruction=0, factor=1``,
    which leaves the paraphraser as it is. With both, the paraphraser learns beside the student, from its reconstruction
    alone: no gradient of the factors reaches it.
    """

    options_type = FTOptions
    rate: float
    factor: float
    reconstruction: float
    reconstruction_distance: Literal["square", "absolute"]
    factor_form: FactorForm
    power: Literal[1, 2]
    channel_power: int
    batch_norm: bool
    paraphraser: Paraphraser
    translator: Translator

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """The paraphraser and the translator."""
        (student, teacher), axes = paired_shape(shapes)
        factors = max(round(self.rate * teacher), 1)
        self.paraphraser = Paraphraser(axes, teacher, factors)
        self.translator = Translator(axes, student, factors, self.batch_norm)

    @without_autocast
    def forward(self, student_maps: Tensor, teacher_maps: Tensor, weight: Tensor | None = None) -> Tensor:
        """factor · `ft` + reconstruction · error of the paraphraser; see `ft` for the arguments."""
        require_built(self, "paraphraser")
        check_maps(student_maps, teacher_maps)
        student, teacher = widen(student_maps), widen(teacher_maps.detach())
        with torch.set_grad_enabled(self.reconstruction > 0 and torch.is_grad_enabled()):
            code = self.paraphraser.encoder(teacher)
        terms = []
        if self.factor > 0:
            translated = self.translator(student, weight)
            distance = ft(
                translated,
                code,
                weight,
                factor_form=self.factor_form,
                power=self.power,
                channel_power=self.channel_power,
            )
            terms.append(self.factor * distance)
        if self.reconstruction > 0:
            error = self.paraphraser.decode(code) - teacher
            error = error.square() if self.reconstruction_distance == "square" else error.abs()
            terms.append(self.reconstruction * weighted_mean(reduce_elements(error, "mean"), weight))
        return torch.stack(terms).sum()
