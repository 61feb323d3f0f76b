"""What the fusion of a trained model shows of itself: what it attends to, and what its columns share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmdistill.evaluation.attention import attention_shares
from mmdistill.evaluation.subspaces import subspaces
from mmdistill.models.any_model import AnyModel
from mmdistill.models.inference import collect
from mmdistill.run.workshop import Workshop

ROWS = 256
"""Test rows behind a picture: a mean over some hundreds does not move any more."""


def fusion_facts(shop: Workshop, model: AnyModel) -> dict[str, Any]:
    """What goes into a run's record for the pictures of a fusion; empty for a model whose fusion has none.

    Args:
        shop: the run.
        model: trained, of the run.
    """
    found = {"attention": _attention(shop, model), "subspaces": _subspaces(shop, model)}
    return {name: facts for name, facts in found.items() if facts is not None}


def _attention(shop: Workshop, model: AnyModel) -> dict[str, Any] | None:
    rows = shop.dataset.splits.test[:ROWS]
    return attention_shares(model, shop.dataset.clean_loader(rows, model.feature_names, shop.device))


def _subspaces(shop: Workshop, model: AnyModel) -> dict[str, Any] | None:
    """The shared and private vectors of the columns, where the model has both for each of them."""
    taps = {part: [f"{column}.{part}" for column in model.columns] for part in ("shared", "private")}
    wanted = [tap for names in taps.values() for tap in names]
    if not set(wanted) <= set(model.taps) or len({model.taps[tap] for tap in wanted}) > 1:
        return None
    rows = shop.dataset.splits.test[:ROWS]
    outputs = collect(model, shop.dataset.clean_loader(rows, model.feature_names, shop.device), wanted)
    stacked = {part: torch.stack([outputs[tap] for tap in names], dim=1).numpy() for part, names in taps.items()}
    present = np.stack([shop.dataset.prepared.present[column][rows].numpy() for column in model.columns], axis=1)
    return subspaces(stacked["shared"], stacked["private"], model.columns, present)
