"""Which columns of each row a model was shown in a training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensordict import TensorDict
from torch import Tensor

from mmdistill.models.tap_names import SEEN

__all__ = ["SEEN", "rows_shown"]


def rows_shown(batch: TensorDict, outputs: Mapping[str, Tensor], columns: Sequence[str]) -> dict[str, Tensor]:
    """Column → bool (B,): the rows of which the model was shown that column.

    Args:
        batch: of the loader.
        outputs: what the model made of it.
        columns: of the model, in its order.
    """
    if SEEN in outputs:
        return dict(zip(columns, outputs[SEEN].unbind(1), strict=True))
    return {column: batch["present"][column] for column in columns}
