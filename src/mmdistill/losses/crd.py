"""Contrastive representation distillation.

Tian, Krishnan, Isola, "Contrastive Representation Distillation", ICLR 2020, arXiv:1910.10699, equations 10, 17 to 19;
the memory of embeddings: Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance
Discrimination", CVPR 2018, arXiv:1805.01978.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.contrast_memory import ContrastMemory
from mmdistill.losses.families.relations import CRDOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.relations import counted, paired_rows
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def crd(
    student_embedding: Tensor,
    teacher_embedding: Tensor,
    student_contrast: Tensor,
    teacher_contrast: Tensor,
    normalizers: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    rows: int,
    temperature: float = 0.07,
    epsilon: float = 0.0,
) -> Tensor:
    """Each side tells its row among remembered rows of the other side, by noise-contrastive estimation.

    With K negatives from N rows, a score exp(a·b / temperature) over its normaliser Z, P, is taken for the
    probability P / (P + K / N) that a pair is of one row. The loss is −log of it for the row's own entry and −log of
    one minus it for each negative, summed, for both sides, averaged over rows.

    Z is N times the mean score of the first batch and receives no gradient. The authors' code adds 1e-7 to
    denominators (`epsilon`); here everything stays in logarithms and needs none.

    Args:
        student_embedding: (B, D), of length 1; from a learned head.
        teacher_embedding: (B, D), of length 1; from a learned head, which is trained with the student: the gradient
            that reaches it belongs to the head.
        student_contrast: (B, 1 + K, D), remembered student embeddings: the row's own first, then negatives.
        teacher_contrast: (B, 1 + K, D), remembered teacher embeddings of the same rows.
        normalizers: (2,), Z of the student's and of the teacher's scores; of this batch when left out.
        weight: (B,) weight of each row, not negative.
        rows: N, the number of rows that negatives are drawn from.
        temperature: above 0.
        epsilon: added to P + K / N, not negative.

    Returns:
        A scalar, at least 0. Typical weight: 0.8 beside 1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    _check(student_embedding, teacher_embedding, student_contrast, teacher_contrast)
    student, teacher = widen(student_embedding), widen(teacher_embedding)
    scores = _scores(student, teacher, widen(student_contrast), widen(teacher_contrast), temperature)
    if normalizers is None:
        normalizers = batch_normalizers(scores, weight, rows)
    return _loss(scores, normalizers, weight, rows, epsilon)


def _check(student: Tensor, teacher: Tensor, student_contrast: Tensor, teacher_contrast: Tensor) -> None:
    shapes = [tuple(one.shape) for one in (student, teacher, student_contrast, teacher_contrast)]
    if len(shapes[0]) != 2 or shapes[0] != shapes[1]:
        raise InputError(f"Embeddings must both be (rows, dimension), not {shapes[0]} and {shapes[1]}")
    contrast = shapes[2]
    if len(contrast) != 3 or contrast[::2] != shapes[0] or contrast[1] < 2 or contrast != shapes[3]:
        raise InputError(
            f"Embeddings of shape {shapes[0]} do not go with contrasts of {shapes[2]} and {shapes[3]}",
            fix="Give (rows, 1 + negatives, dimension), the row's own entry first",
        )


def _scores(
    student: Tensor, teacher: Tensor, student_contrast: Tensor, teacher_contrast: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Logarithms of the scores, (B, 1 + K): the student's among teacher rows, the teacher's among student rows."""
    student_scores = (teacher_contrast.detach() @ student[:, :, None]).squeeze(2) / temperature
    teacher_scores = (student_contrast.detach() @ teacher[:, :, None]).squeeze(2) / temperature
    return student_scores, teacher_scores


def batch_normalizers(scores: tuple[Tensor, Tensor], weight: Tensor | None, rows: int) -> Tensor:
    """Z of a batch, (2,): `rows` times the mean score of each side over rows that count, without gradient."""
    counts = counted(scores[0], weight)
    means = [weighted_mean(one.detach().exp().mean(dim=1), counts) for one in scores]
    return rows * torch.stack(means)


def _loss(
    scores: tuple[Tensor, Tensor], normalizers: Tensor, weight: Tensor | None, rows: int, epsilon: float
) -> Tensor:
    negatives = scores[0].shape[1] - 1
    share = negatives / rows
    noise = math.log(share + epsilon)
    # −log of (K / N) / (P + K / N + epsilon), as if epsilon were noise too, and what that leaves out.
    rest = negatives * math.log1p(epsilon / share)
    known = torch.where(normalizers > 0, normalizers, 1).log()
    losses = []
    for side, constant in zip(scores, known.unbind(), strict=True):
        odds = side - constant - noise
        losses.append(F.softplus(-odds[:, 0]) + F.softplus(odds[:, 1:]).sum(dim=1) + rest)
    return weighted_mean(losses[0] + losses[1], weight)


class CRD(DistillationLoss):
    """`crd` with its embedding heads and a memory of every training row.

    `build` needs the row numbers of training; with their targets, negatives are rows of other classes. ``forward``
    finds each row of the batch in the memory, contrasts it with random other rows, and then replaces its entries; in
    evaluation mode nothing is replaced. A row number that training does not have counts as weight zero. A batch should
    have a row at most once.
    """

    options_type = CRDOptions
    dimension: int
    negatives: int
    temperature: float
    momentum: float
    epsilon: float
    negatives_from: Literal["other_classes", "other_rows"]
    memory_precision: Literal["float16", "float32"]
    student_head: nn.Linear
    teacher_head: nn.Linear
    memory: ContrastMemory

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,
        targets: Tensor | None,
        seed: int,
    ) -> None:
        """Heads for the widths of both sides, and memory banks for the rows."""
        if rows is None:
            raise InputError("crd remembers every training row and needs their row numbers", fix="Give `rows`")
        self.student_head = nn.Linear(_width(shapes, "student_features"), self.dimension)
        self.teacher_head = nn.Linear(_width(shapes, "teacher_features"), self.dimension)
        self.memory = ContrastMemory(
            rows,
            targets if self.negatives_from == "other_classes" else None,
            dimension=self.dimension,
            negatives=self.negatives,
            dtype=getattr(torch, self.memory_precision),
            seed=seed,
        )

    @without_autocast
    def forward(
        self, student_features: Tensor, teacher_features: Tensor, row: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """See `crd`.

        Args:
            student_features: (B, width), or maps, which are flattened.
            teacher_features: (B, width), or maps; receives no gradient.
            row: int64 (B,), row numbers.
            weight: (B,) weight of each row, not negative.

        Returns:
            A scalar, at least 0.

        Raises:
            InputError: when the shapes do not belong together, or `build` has not been called.
        """
        require_built(self, "memory")
        features = paired_rows(student_features, teacher_features, weight)
        student, teacher = unit_vectors(self.student_head(features[0])), unit_vectors(self.teacher_head(features[1]))
        place, known = self.memory.find(row)
        weight = known.to(student.dtype) if weight is None else weight * known
        contrast = self.memory.contrast(self.memory.draw(place), student.dtype)
        scores = _scores(student, teacher, *contrast, self.temperature)
        normalizers = self.memory.fix_normalizers(batch_normalizers(scores, weight, self.memory.rows))
        loss = _loss(scores, normalizers, weight, self.memory.rows, self.epsilon)
        if self.training:
            self.memory.update(place, weight > 0, student.detach(), teacher.detach(), self.momentum)
        return loss


def _width(shapes: Mapping[str, Shape | tuple[Shape, ...]], name: str) -> int:
    """The width of an input, axes taken together."""
    shape = shapes.get(name, ())
    sizes = [size for size in shape if isinstance(size, int)]
    if not sizes or len(sizes) != len(shape):
        raise InputError(f"crd needs the shape of a row of {name}, of fixed size, and was given {shape}")
    return math.prod(sizes)
