"""What the fusion of a trained model shows of itself: what it attends to, and how its columns lie in a shared space."""

from __future__ import annotations

from typing import Any

from mmdistill.evaluation.attention import attention_shares
from mmdistill.models.any_model import AnyModel
from mmdistill.run.workshop import Workshop

ROWS = 256
"""Test rows behind a picture: a mean over some hundreds does not move any more."""


def fusion_facts(shop: Workshop, model: AnyModel) -> dict[str, Any]:
    """What goes into a run's record for the pictures of a fusion; empty for a model whose fusion has none.

    Args:
        shop: the run.
        model: trained, of the run.
    """
    rows = shop.dataset.splits.test[:ROWS]
    found = {"attention": attention_shares(model, shop.dataset.clean_loader(rows, model.feature_names, shop.device))}
    return {name: facts for name, facts in found.items() if facts is not None}
