"""Graph distillation between the modalities of one model (DMD): each learns from the others, as much as edges say.

Li, Wang, Cui, "Decoupled Multimodal Distilling for Emotion Recognition", CVPR 2023, arXiv:2303.13802, section 3; the
prior and its regulariser are those of the authors' code, after Luo et al., "Graph Distillation for Action
Detection with Privileged Modalities", ECCV 2018, arXiv:1712.00108.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.losses.columns import stack_columns
from mmdistill.losses.families.shared_private import DMDHeterogeneousOptions, DMDHomogeneousOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.row_shares import row_shares
from mmdistill.losses.unit_vectors import unit_vectors

Prior = tuple[float, ...] | None
Distance: TypeAlias = Literal["absolute", "squared", "cosine"]


class EdgeScores(nn.Module):
    """Scores of the directed edges between the columns of a row, from what stands at both ends.

    Args:
        embedding_width: D of the embeddings.
        logits_width: C of the columns' logits; None when there are none.
        width: of the projection of each.
    """

    def __init__(self, embedding_width: int, logits_width: int | None, width: int) -> None:
        super().__init__()
        self.logits = None if logits_width is None else nn.Linear(logits_width, width)
        self.embeddings = nn.Linear(embedding_width, width)
        self.edge = nn.Linear(width * (2 if logits_width is None else 4), 1)

    def forward(self, embeddings: Tensor, logits: Tensor | None) -> Tensor:
        """(B, columns, D) and (B, columns, C) to (B, edges): the edge to column 0 from 1, from 2, …, to 1 from 0, …"""
        nodes = self.embeddings(embeddings)
        if self.logits is not None:
            if logits is None:
                raise InputError(
                    "The edges were built with the columns' logits, but student_column_logits is not given"
                )
            nodes = torch.cat((self.logits(logits), nodes), dim=-1)
        # The layer on both ends laid side by side is the sum of its two halves.
        to, origin = self.edge.weight.chunk(2, dim=1)
        return _edges((nodes @ to.T) + (nodes @ origin.T).transpose(1, 2) + self.edge.bias)


def _edges(pairs: Tensor) -> Tensor:
    """What stands off the diagonal, row after row: (B, M, M) to (B, M · (M − 1))."""
    rows, columns = pairs.shape[:2]
    apart = pairs.flatten(1)[:, 1:].reshape(rows, columns - 1, columns + 1)[:, :, :-1]
    return apart.reshape(rows, columns * (columns - 1))


@without_autocast
def dmd_homogeneous(
    student_embeddings: tuple[Tensor, ...],
    edge_scores: Tensor,
    student_column_logits: tuple[Tensor, ...] | None = None,
    present: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    sharpness: float = 0.125,
    prior: Prior = None,
    regulariser: float = 10.0,
    distance: Distance = "absolute",
) -> Tensor:
    """Σ over edges (w + prior) · ‖to − from‖₁, averaged over rows, plus regulariser · ‖mean of w − prior‖².

    w are the softmax of the edges' scores, to and from the logits of the columns' own heads at both ends; only what an
    edge leads to receives gradient from the distance. The columns' representations in the shared space are alike, so
    that without heads of their own the distance is between the representations.

    Without a prior in the sum and the regulariser, the edges would learn to weigh the smallest distance alone.

    Args:
        student_embeddings: (B, D) each, two columns or more: shared representations.
        edge_scores: (B, columns · (columns − 1)), what `EdgeScores` gives: to column 0 from 1, from 2, …, to 1 from 0…
        student_column_logits: (B, C) each, what a head on each column's representation says.
        present: bool (B, columns); edges from or to an absent column count nothing. All are there when left out.
        weight: (B,) weight of each row, not negative.
        sharpness: multiplies the scores before their softmax.
        prior: expected weight of each edge, in the order of `edge_scores`, summing to 1; all equal when left out.
        regulariser: weight of the squared distance between the mean weights and the prior.
        distance: between both ends of an edge: the sum of absolute differences (the paper's), the sum of their
            squares, or 1 − cosine.

    Returns:
        A scalar, at least 0. Typical weight: 0.05.

    Raises:
        InputError: when shapes do not belong together, or the prior has not one number an edge.
    """
    embeddings = stack_columns(student_embeddings, "student_embeddings", at_least=2)
    ends = embeddings if student_column_logits is None else _column_logits(student_column_logits, embeddings)
    edges = _Edges(edge_scores, embeddings, sharpness, prior, present, weight)
    return edges.mean(edges.weights * _distances(ends, distance)) + regulariser * edges.deviation()


@without_autocast
def dmd_heterogeneous(
    student_embeddings: tuple[Tensor, ...],
    student_column_logits: tuple[Tensor, ...],
    edge_scores: Tensor,
    present: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    sharpness: float = 0.125,
    prior: Prior = None,
    regulariser: float = 10.0,
    distance: Distance = "absolute",
    representations: Literal["none", "apart"] = "none",
    representation_weight: float = 10.0,
) -> Tensor:
    """As `dmd_homogeneous`, between the logits of representations that have little in common.

    Private representations are not comparable themselves, so that the columns' heads are needed. The authors' code
    adds a term that the paper does not have (``representations="apart"``): representation_weight · Σ over edges of
    (mean of w + prior) · (mean of max(0, cos(to, from))), which pushes the representations of different columns apart.

    Args:
        student_embeddings: (B, D) each, two columns or more: private representations.
        student_column_logits: (B, C) each, what a head on each column's representation says.
        edge_scores: (B, columns · (columns − 1)), what `EdgeScores` gives: to column 0 from 1, from 2, …, to 1 from 0…
        present: bool (B, columns); edges from or to an absent column count nothing. All are there when left out.
        weight: (B,) weight of each row, not negative.
        sharpness: multiplies the scores before their softmax.
        prior: expected weight of each edge, in the order of `edge_scores`, summing to 1; all equal when left out.
        regulariser: weight of the squared distance between the mean weights and the prior.
        distance: between both ends of an edge: the sum of absolute differences (the paper's), the sum of their
            squares, or 1 − cosine.
        representations: ``none``, or ``apart``, see above.
        representation_weight: of the term ``apart``.

    Returns:
        A scalar, at least 0. Typical weight: 0.05.

    Raises:
        InputError: when shapes do not belong together, or the prior has not one number an edge.
    """
    embeddings = stack_columns(student_embeddings, "student_embeddings", at_least=2)
    logits = _column_logits(student_column_logits, embeddings)
    edges = _Edges(edge_scores, embeddings, sharpness, prior, present, weight)
    loss = edges.mean(edges.weights * _distances(logits, distance)) + regulariser * edges.deviation()
    if representations == "none":
        return loss
    direction = unit_vectors(embeddings)
    cosine = _edges(direction @ direction.detach().transpose(1, 2)).clamp(min=0)
    there = edges.there
    apart = (edges.mean_of_each(edges.weights) * edges.mean_of_each(cosine * there)).sum()
    return loss + representation_weight * apart


def _column_logits(student_column_logits: tuple[Tensor, ...], embeddings: Tensor) -> Tensor:
    logits = stack_columns(student_column_logits, "student_column_logits", at_least=2)
    if logits.shape[:2] != embeddings.shape[:2]:
        raise InputError(
            f"There are {logits.shape[1]} student_column_logits of {logits.shape[0]} rows, "
            f"but {embeddings.shape[1]} student_embeddings of {embeddings.shape[0]} rows"
        )
    return logits


def _distances(ends: Tensor, distance: Distance) -> Tensor:
    """Distance of `to` and `from` of each edge, without gradient for where it comes from: (B, M, C) to (B, edges)."""
    if distance == "cosine":
        direction = unit_vectors(ends)
        return _edges(1 - direction @ direction.detach().transpose(1, 2))
    difference = ends[:, :, None] - ends.detach()[:, None]
    return _edges((difference.abs() if distance == "absolute" else difference.square()).sum(dim=-1))


class _Edges:
    """The weights of the edges of a batch, and means over its rows."""

    def __init__(
        self,
        scores: Tensor,
        embeddings: Tensor,
        sharpness: float,
        prior: Prior,
        present: Tensor | None,
        weight: Tensor | None,
    ) -> None:
        rows, columns = embeddings.shape[:2]
        count = columns * (columns - 1)
        if scores.shape != (rows, count):
            raise InputError(f"edge_scores has shape {tuple(scores.shape)}, not ({rows}, {count})")
        if prior is not None and len(prior) != count:
            raise InputError(f"The prior has {len(prior)} numbers, but {columns} columns have {count} edges")
        self.shares = row_shares(embeddings, weight)
        self.there = _both_there(present, embeddings)
        scores = torch.where(self.there > 0, sharpness * scores, torch.finfo(scores.dtype).min)
        self.learned = scores.softmax(dim=1) * self.there
        expected = _filled(prior, count, embeddings) * self.there
        total = expected.sum(dim=1, keepdim=True)
        self.expected = expected / torch.where(total > 0, total, 1)
        self.weights = self.learned + self.expected

    def mean_of_each(self, values: Tensor) -> Tensor:
        """(B, edges) to the mean of each edge over the rows."""
        return (self.shares[:, None] * values).sum(dim=0)

    def mean(self, values: Tensor) -> Tensor:
        """(B, edges) to the sum over the edges of their means."""
        return self.mean_of_each(values).sum()

    def deviation(self) -> Tensor:
        """Squared distance between the mean of the learned weights and what is expected."""
        return self.mean_of_each(self.learned - self.expected).square().sum()


def _both_there(present: Tensor | None, embeddings: Tensor) -> Tensor:
    """1 at the edges between columns that a row has, 0 elsewhere: (B, edges)."""
    rows, columns = embeddings.shape[:2]
    if present is None:
        return embeddings.new_ones(rows, columns * (columns - 1))
    if present.shape != (rows, columns):
        raise InputError(f"present has shape {tuple(present.shape)}, not ({rows}, {columns})")
    there = present.to(embeddings.dtype)
    return _edges(there[:, :, None] * there[:, None])


def _filled(prior: Prior, count: int, embeddings: Tensor) -> Tensor:
    """The prior as a tensor made on the device itself, number by number, so that nothing is copied to it."""
    if prior is None:
        return embeddings.new_full((count,), 1 / count)
    return torch.cat([embeddings.new_full((1,), share) for share in prior])


def _build_scores(shapes: Mapping[str, Shape | tuple[Shape, ...]], width: int, *, logits: bool) -> EdgeScores:
    """The layers, for the shapes that `build` is given."""
    widths = {}
    for name in ("student_embeddings", "student_column_logits"):
        given = shapes.get(name)
        if given is None and (name == "student_embeddings" or logits):
            raise InputError(f"The shape of {name} is not given", where="build", fix=f"Give shapes[{name!r}]")
        if given is not None:
            columns = {column[-1] if isinstance(column, tuple) else None for column in given}
            if len(columns) != 1 or None in columns:
                raise InputError(f"{name} has columns of shapes {given}, not all of one width", where="build")
            widths[name] = columns.pop()
    embedding_width = widths["student_embeddings"]
    assert embedding_width is not None
    return EdgeScores(embedding_width, widths.get("student_column_logits"), width)


class DMDHomogeneous(DistillationLoss):
    """`dmd_homogeneous` as a module that learns the scores of the edges."""

    options_type = DMDHomogeneousOptions
    edge_width: int
    sharpness: float
    prior: Prior
    regulariser: float
    distance: Distance
    edges: EdgeScores

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """Layers for the scores of the edges."""
        self.edges = _build_scores(shapes, self.edge_width, logits=False)

    @without_autocast
    def forward(
        self,
        student_embeddings: tuple[Tensor, ...],
        student_column_logits: tuple[Tensor, ...] | None = None,
        present: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `dmd_homogeneous`."""
        require_built(self, "edges")
        embeddings = stack_columns(student_embeddings, "student_embeddings", at_least=2)
        logits = None if student_column_logits is None else _column_logits(student_column_logits, embeddings)
        return dmd_homogeneous(
            student_embeddings,
            self.edges(embeddings, logits),
            student_column_logits,
            present,
            weight,
            sharpness=self.sharpness,
            prior=self.prior,
            regulariser=self.regulariser,
            distance=self.distance,
        )


class DMDHeterogeneous(DistillationLoss):
    """`dmd_heterogeneous` as a module that learns the scores of the edges."""

    options_type = DMDHeterogeneousOptions
    edge_width: int
    sharpness: float
    prior: Prior
    regulariser: float
    distance: Distance
    representations: Literal["none", "apart"]
    representation_weight: float
    edges: EdgeScores

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002 (the signature of every loss with parts)
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """Layers for the scores of the edges."""
        self.edges = _build_scores(shapes, self.edge_width, logits=True)

    @without_autocast
    def forward(
        self,
        student_embeddings: tuple[Tensor, ...],
        student_column_logits: tuple[Tensor, ...],
        present: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `dmd_heterogeneous`."""
        require_built(self, "edges")
        embeddings = stack_columns(student_embeddings, "student_embeddings", at_least=2)
        logits = _column_logits(student_column_logits, embeddings)
        return dmd_heterogeneous(
            student_embeddings,
            student_column_logits,
            self.edges(embeddings, logits),
            present,
            weight,
            sharpness=self.sharpness,
            prior=self.prior,
            regulariser=self.regulariser,
            distance=self.distance,
            representations=self.representations,
            representation_weight=self.representation_weight,
        )
