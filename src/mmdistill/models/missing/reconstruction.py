"""A small transformer reconstructs what is absent from what is present.

Woo, Lee, Park, Nugroho and Kim, "Towards Good Practices for Missing Modality Robust Action Recognition", AAAI 2023,
arXiv:2211.13916 (ActionMAE): in training some of the modality features are dropped, memory tokens stand beside the
rest, and the dropped features are reconstructed under a mean squared error. Here one pre-norm transformer takes the
place of the paper's encoder and decoder, the features are columns' embeddings of any width, and a column may really be
absent in training, where there is nothing to compare a reconstruction with.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmdistill.data.modality_dropouts.spared import shown_of
from mmdistill.losses.precision import widen
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.presence import kept, presence
from mmdistill.models.layers.transformer import TransformerLayer
from mmdistill.models.masking import where_true
from mmdistill.models.missing.catalog import ReconstructionOptions
from mmdistill.models.missing.completed import Completed
from mmdistill.models.missing.stand_ins import stand_in

LOSS = "missing_reconstruction"


class Reconstruction(nn.Module):
    """In training, present columns are hidden by chance; what is hidden or absent is reconstructed from the rest.

    Which are hidden is drawn from torch's own generator, whose state is part of a checkpoint, as for dropout. One
    column of a row always stays. The reconstruction takes the hidden column's place in the fusion; its target, the
    embedding itself, gets no gradient from the loss, since encoders would learn to be easy to guess. In evaluation
    nothing is hidden. A row that has nothing goes on having nothing.

    Args:
        dims: width of each column's embedding and tokens.
        options: see `ReconstructionOptions`.
    """

    def __init__(self, dims: Mapping[str, int], options: ReconstructionOptions) -> None:
        super().__init__()
        self.columns, self.hide, self.weight = tuple(dims), options.hide, options.weight
        std = options.dim**-0.5
        self.into = ColumnModules({column: nn.Linear(width, options.dim) for column, width in dims.items()})
        self.out = ColumnModules({column: nn.Linear(options.dim, width) for column, width in dims.items()})
        self.hidden = nn.Parameter(torch.randn(options.dim) * std)
        self.column = nn.Parameter(torch.randn(len(dims), options.dim) * std)
        self.memory = nn.Parameter(torch.randn(options.memory, options.dim) * std)
        self.layers = nn.ModuleList(TransformerLayer(options.dim, options.heads) for _ in range(options.depth))
        self.norm = nn.LayerNorm(options.dim)

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Completed:
        """See `stand_in`. In training with the reconstruction loss."""
        had = presence(present, self.columns)
        shown = shown_of(had, torch.rand(had.shape, device=had.device), self.hide) if self.training else had
        whose = dict(zip(self.columns, shown.unbind(1), strict=True))
        own = self.reconstruct(embeddings, whose)
        auxiliary = {}
        if self.training:
            auxiliary[LOSS] = self.weight * self._loss(own, embeddings, had & ~shown)
        return stand_in(embeddings, tokens, masks, whose, own, fillable=had.any(1), auxiliary=auxiliary)

    def reconstruct(self, embeddings: Mapping[str, Tensor], shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every column (B, dim) as the columns that are shown, bool (B,) each, let guess it."""
        vectors = kept(embeddings, shown, self.columns)
        given = torch.stack(
            [self.into[column](vector) for column, vector in zip(self.columns, vectors, strict=True)], dim=1
        )
        states = torch.where(presence(shown, self.columns).unsqueeze(2), given, self.hidden.to(given.dtype))
        states = states + self.column.to(given.dtype)
        memory = self.memory.to(given.dtype).expand(states.shape[0], -1, -1)
        states = torch.cat([states, memory], dim=1)
        everything = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        for layer in self.layers:
            states = layer(states, everything)
        guesses = self.norm(states[:, : len(self.columns)]).unbind(1)
        return {column: self.out[column](guess) for column, guess in zip(self.columns, guesses, strict=True)}

    def _loss(self, guesses: Mapping[str, Tensor], embeddings: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """The squared error, a mean over features and then over what was hidden of the batch; hidden: bool (B, M)."""
        errors = []
        for index, column in enumerate(self.columns):
            target = where_true(hidden[:, index], embeddings[column].detach())
            difference = widen(where_true(hidden[:, index], guesses[column])) - widen(target)
            errors.append(difference.square().mean(1))
        return torch.stack(errors, dim=1).sum() / hidden.sum().clamp(min=1)
