"""Token ids become word vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.errors import MMDistillError
from mmdistill.models.masking import sequence_mask, where_true

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


def vocabulary_size(info: FeatureInfo) -> int:
    """How many token ids the text feature has, padding and unknown included.

    Raises:
        MMDistillError: when the feature's state does not say so.
    """
    size = info.state.get("vocabulary_size")
    if not isinstance(size, int) or size < 1:
        raise MMDistillError(
            f"The text feature has no vocabulary_size (its state holds {sorted(info.state)})",
            where=f"column {info.column!r}",
            fix="Prepare the rows again, so that its tokeniser is fitted",
        )
    return size


class Words(nn.Module):
    """Learned vectors of a text feature's token ids.

    Args:
        info: a text feature; `state` holds `vocabulary_size`.
        dim: width of a word's vector.
        std: standard deviation of its features before training; 1/sqrt(dim) if not given.
    """

    def __init__(self, info: FeatureInfo, dim: int, std: float | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size(info), dim)
        # Vectors of about unit length, so that the layers behind see the same scale at every width.
        nn.init.normal_(self.embedding.weight, std=dim**-0.5 if std is None else std)

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The text feature's arrays to word vectors (B, L, dim) and their mask (B, L)."""
        mask = sequence_mask(arrays)
        return self.embedding(where_true(mask, arrays["values"])), mask
