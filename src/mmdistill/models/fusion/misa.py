"""MISA: modality-invariant and modality-specific representations."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from mmdistill.losses.misa import misa_cmd, misa_difference, misa_reconstruction
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.families.subspaces import MISAOptions
from mmdistill.models.fusion.fused import NOTHING, Fused
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.layers.mlp import mlp
from mmdistill.models.layers.transformer import TransformerLayer, run_layers
from mmdistill.models.masking import where_true

Columns = Mapping[str, Tensor]


class MISA(nn.Module):
    """A shared encoder and one of each column's own, a transformer over the 2M representations, and layers behind.

    From Hazarika et al. 2020, section 3. Embeddings are brought to one width (``u``, the tap ``<column>.projected``);
    ``c = σ(W u)`` with one ``W`` for all columns is ``<column>.shared``, ``p = σ(W_c u)`` is ``<column>.private``, and
    a decoder of each column restores ``u`` from ``c + p`` as ``<column>.reconstruction``. While training, three losses
    shape them, `misa_cmd`, `misa_difference` and `misa_reconstruction` of `mmdistill.losses`, with the paper's
    weights; as in the authors' code the difference is a mean over pairs of channels. The transformer layer is pre-norm,
    which trains without warm-up; the paper's is post-norm.

    Representations of absent columns are attended to by none and are zero behind the transformer. The losses are over
    the rows that have the column, or both columns of a pair.

    Args:
        dims: width of each column's embedding.
        options: see `MISAOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: MISAOptions) -> None:
        super().__init__()
        self.columns, dim = tuple(dims), options.dim
        self.weights = (options.similarity_weight, options.difference_weight, options.reconstruction_weight)
        self.moments = options.moments
        self.project = ColumnModules(
            {
                column: nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.LayerNorm(dim))
                for column, width in dims.items()
            }
        )
        self.shared = nn.Linear(dim, dim)
        self.private = ColumnModules({column: nn.Linear(dim, dim) for column in dims})
        self.restore = ColumnModules({column: nn.Linear(dim, dim) for column in dims})
        self.transformer = nn.ModuleList(
            TransformerLayer(dim, options.heads, options.dropout) for _ in range(options.depth)
        )
        width = 2 * len(dims) * dim
        self.layers = mlp(width, options.hidden, options.dropout)
        self.dim = options.hidden[-1] if options.hidden else width

    def forward(
        self,
        embeddings: Columns,
        tokens: Columns,  # noqa: ARG002 (the signature of every fusion)
        masks: Columns,  # noqa: ARG002
        present: Columns,
    ) -> Fused:
        """Embeddings (B, dim) by column and `present` (B,) by column to (B, dim) and the representations (B, dim)."""
        vectors = dict(zip(self.columns, kept(embeddings, present, self.columns), strict=True))
        projected = {column: self.project[column](vector) for column, vector in vectors.items()}
        shared = {column: self.shared(vector).sigmoid() for column, vector in projected.items()}
        private = {column: self.private[column](vector).sigmoid() for column, vector in projected.items()}
        restored = {column: self.restore[column](shared[column] + private[column]) for column in self.columns}
        taps = {
            f"{column}.{name}": where_true(present[column], part[column])
            for name, part in (
                ("shared", shared), ("private", private), ("projected", projected), ("reconstruction", restored),
            )
            for column in self.columns
        }  # fmt: skip
        there = presence(present, self.columns).repeat(1, 2)
        states = torch.stack([*shared.values(), *private.values()], dim=1)
        seen = where_true(there, run_layers(self.transformer, where_true(there, states), there)[-1])
        return Fused(self.layers(seen.flatten(1)), taps, self._losses(taps, present) if self.training else NOTHING)

    def _losses(self, taps: Columns, present: Columns) -> dict[str, Tensor]:
        parts = ("shared", "private", "projected", "reconstruction")
        values = [{column: taps[f"{column}.{part}"] for column in self.columns} for part in parts]
        shared, private, projected, restored = values
        losses = {
            "similarity": similarity(shared, present, self.moments),
            "difference": difference(shared, private, present),
            "reconstruction": reconstruction(projected, restored, present),
        }
        return {name: weight * loss for weight, (name, loss) in zip(self.weights, losses.items(), strict=True)}


def similarity(shared: Columns, present: Columns, moments: int = 5) -> Tensor:
    """`misa_cmd` between each pair of columns over the rows that have both, averaged over the pairs.

    Args:
        shared: (B, D) by column, two columns or more.
        present: bool (B,) by column.
        moments: highest central moment that is compared.
    """
    pairs = [
        misa_cmd((shared[one], shared[other]), present[one] & present[other], moments=moments)
        for one, other in combinations(shared, 2)
    ]
    return torch.stack(pairs).mean()


def difference(shared: Columns, private: Columns, present: Columns) -> Tensor:
    """`misa_difference` of each column's two parts and of each pair's private parts, over the rows that have them.

    Args:
        shared: (B, D) by column.
        private: (B, D) by column.
        present: bool (B,) by column.
    """
    own = [(shared[column], private[column], present[column]) for column in shared]
    pairs = [(private[a], private[b], present[a] & present[b]) for a, b in combinations(private, 2)]
    products = [misa_difference((one,), (other,), rows, reduction="mean") for one, other, rows in own + pairs]
    return torch.stack(products).sum()


def reconstruction(projected: Columns, restored: Columns, present: Columns) -> Tensor:
    """`misa_reconstruction` of each column over the rows that have it, averaged over the columns.

    Args:
        projected: (B, D) by column.
        restored: (B, D) by column.
        present: bool (B,) by column.
    """
    errors = [misa_reconstruction((projected[column],), (restored[column],), present[column]) for column in projected]
    return torch.stack(errors).mean()
