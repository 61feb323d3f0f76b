"""Nothing stands in: the fusion is told what is absent."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmdistill.catalog import NoOptions
from mmdistill.models.missing.completed import Completed


class Mask(nn.Module):
    """Absent columns stay absent, and the fusion leaves them out in its own way. It has no parameters.

    Args:
        dims: width of each column's embedding.
        options: none.
    """

    def __init__(self, dims: Mapping[str, int], options: NoOptions) -> None:  # noqa: ARG002 (as every strategy)
        super().__init__()

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        tokens: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
    ) -> Completed:
        """What was given, as it is."""
        return Completed(embeddings, tokens, masks, present)
