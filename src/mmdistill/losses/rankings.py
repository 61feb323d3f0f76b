"""The Plackett-Luce model of a ranking: the first place is drawn by a softmax, then the next of what is left."""

from __future__ import annotations

import torch
from torch import Tensor


def place_surprises(scores: Tensor, others: Tensor | None = None) -> Tensor:
    """−log of the probability that each place goes to the item that has it, among the items not placed before.

    The product of the probabilities over all places is that of the ranking.

    Args:
        scores: (…, places), in the order of the ranking.
        others: (…), log-sum-exp of the scores of items that come after all of these; none when left out.

    Returns:
        (…, places), each at least 0.
    """
    places = scores.shape[-1]
    if others is not None:
        scores = torch.cat((scores, others[..., None]), dim=-1)
    left = scores.flip(-1).logcumsumexp(dim=-1).flip(-1)
    return (left - scores)[..., :places]
