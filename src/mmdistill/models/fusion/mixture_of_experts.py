"""Mixture of experts on the joined columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.losses.precision import without_autocast
from mmdistill.models.fusion.families.decisions import MixtureOfExpertsOptions
from mmdistill.models.fusion.fused import NOTHING, Fused
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.masking import masked_softmax, where_true


class Experts(nn.Module):
    """A Linear layer for each expert, computed for every row in one product.

    Args:
        experts: how many there are.
        inputs: width of the input.
        outputs: width of the result.
    """

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(experts, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, 1, outputs).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        """(E, B, inputs), or (1, B, inputs) for all alike, to (E, B, outputs)."""
        return torch.matmul(values, self.weight) + self.bias


class MixtureOfExperts(nn.Module):
    """``h = Σ_e g_e · E_e(x)`` with ``g`` a softmax over the `top` largest gate scores of a row, zero elsewhere.

    ``x`` is the joined columns, zeros for an absent one, with a presence bit each, so that the gate knows what a row
    lacks. Every expert is computed for every row, which at the sizes of a fusion is faster than sending rows around.
    While training, `load_balance` keeps all experts in use; rows with nothing present do not count in it. The noise of
    Shazeer et al. (equation 4) is there on request; their second loss, which needs it, is not.

    Args:
        dims: width of each column's embedding.
        options: see `MixtureOfExpertsOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MixtureOfExpertsOptions) -> None:
        super().__init__()
        self.columns, self.dim = tuple(dims), options.dim
        self.top = options.top or options.experts
        self.balance, self.balance_weight = options.balance, options.balance_weight
        width = sum(dims.values()) + len(dims)
        self.gate = nn.Linear(width, options.experts)
        self.noise = nn.Linear(width, options.experts) if options.noise else None
        self.hidden = Experts(options.experts, width, options.hidden)
        self.out = Experts(options.experts, options.hidden, options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],  # noqa: ARG002 (the signature of every fusion)
        masks: Mapping[str, Tensor],  # noqa: ARG002
        present: Mapping[str, Tensor],
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim) and the gates (B, experts)."""
        there = presence(present, self.columns)
        vectors = kept(embeddings, present, self.columns)
        joined = torch.cat([*vectors, there.to(vectors[0].dtype)], dim=1)
        scores = self._scores(joined)
        chosen = largest(scores, self.top)
        gates = masked_softmax(scores, chosen, dim=1)
        said = self.out(self.hidden(joined.unsqueeze(0)).relu())
        fused = torch.einsum("be,ebd->bd", gates.to(said.dtype), said)
        auxiliary = {"load_balance": self._load_balance(scores, gates, there.any(1))} if self.training else NOTHING
        return Fused(fused, {"gates": gates}, auxiliary)

    @without_autocast
    def _scores(self, joined: Tensor) -> Tensor:
        """Of the gates (B, E), not in half precision, whose rounding would change which experts are chosen."""
        scores: Tensor = self.gate(joined.to(self.gate.weight.dtype))
        if self.noise is not None and self.training:
            scores = scores + torch.randn_like(scores) * F.softplus(self.noise(joined.to(scores.dtype)))
        return scores

    def _load_balance(self, scores: Tensor, gates: Tensor, counted: Tensor) -> Tensor:
        if self.balance == "importance":
            return self.balance_weight * importance_loss(gates, counted)
        # With all experts in use, the one that a row leans on most is the one that it was given to.
        given = largest(scores, self.top if self.top < scores.shape[1] else 1)
        return self.balance_weight * switch_loss(scores, given, counted)


def largest(scores: Tensor, count: int) -> Tensor:
    """Bool (B, E): the `count` largest scores of each row."""
    places = scores.topk(count, dim=1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, places, True)


def switch_loss(scores: Tensor, given: Tensor, counted: Tensor) -> Tensor:
    """``E · Σ_e f_e P_e``: share of the rows given to each expert, times its mean probability over all experts.

    Fedus et al. 2022, equations 4 to 6; with several experts a row, ``f`` is divided by their number, so that the
    value is 1 where the load is even, as with one.

    Args:
        scores: (B, E) of the gates.
        given: bool (B, E), to which experts each row is given.
        counted: bool (B,), the rows that count.

    Returns:
        A scalar; 1 with an even load, up to E; 0 where no row counts.
    """
    rows = counted.sum().clamp(min=1)
    shares = where_true(counted, given).sum(0) / (rows * given.sum(1).amax())
    probabilities = where_true(counted, scores.float().softmax(1)).sum(0) / rows
    return scores.shape[1] * (shares * probabilities).sum()


def importance_loss(gates: Tensor, counted: Tensor) -> Tensor:
    """Squared coefficient of variation of the experts' importance, the sum of their gates (Shazeer et al., eq. 6, 7).

    Args:
        gates: (B, E), each row summing to 1.
        counted: bool (B,), the rows that count.

    Returns:
        A scalar; 0 with an even load, up to E − 1; 0 where no row counts.
    """
    importance = where_true(counted, gates.float()).sum(0)
    mean = importance.mean()
    return (importance - mean).square().mean() / torch.where(mean > 0, mean, 1).square()
