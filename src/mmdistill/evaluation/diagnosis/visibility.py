"""How much of what a teacher knows a student can see: the modality focusing hypothesis.

Xue, Gao, Ren, Zhao, "The Modality Focusing Hypothesis: Towards Understanding Crossmodal Knowledge Distillation", ICLR
2023, arXiv:2206.06487: a teacher of other modalities helps as far as what decides its answers is general to both sides.
The paper's share γ of general decisive information is known for drawn data only. Here it is measured: what decides the
teacher's answers is found by permuting its channels (the paper's algorithm 1), and whether the student's columns show
it by predicting it from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmdistill.evaluation.diagnosis.estimates import Floats
from mmdistill.evaluation.diagnosis.plain import PlainColumn, side_by_side, standardised

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
_FOLDS = 3
_REPEATS = 10
_ROWS = 1000


def explained(seen: PlainColumn, told: tuple[Floats, Floats]) -> NDArray[np.float64]:
    """The share of each output's variance that a ridge regression explains on rows it was not fitted to.

    Args:
        seen: what the student's columns show of training rows and of others.
        told: what the teacher says of the same rows, (N, D) and (M, D).

    Returns:
        (D,) from 0 to 1; 0 where a mean would do better, or an output is the same for all rows.
    """
    from sklearn.linear_model import RidgeCV

    train, held_out = (np.asarray(values, dtype=np.float64) for values in told)
    folds = min(_FOLDS, len(train))
    model = RidgeCV(PENALTIES, cv=folds if folds > 1 else None).fit(seen.train, train)
    wrong = np.square(held_out - np.reshape(model.predict(seen.held_out), held_out.shape)).sum(axis=0)
    all_of_it = np.square(held_out - held_out.mean(axis=0)).sum(axis=0)
    return np.clip(1 - wrong / np.where(all_of_it > 0, all_of_it, 1), 0, 1) * (all_of_it > 0)


def visible_share(seen: PlainColumn, logits: tuple[Floats, Floats]) -> float:
    """The share of the variance of a teacher's logits that the columns explain, from 0 to 1.

    Each row's logits are centred first, since a constant added to them says nothing. What a linear model of plain
    features finds is a lower bound of what a network could see.
    """
    centred = [np.asarray(values, dtype=np.float64) for values in logits]
    train, held_out = (values - values.mean(axis=1, keepdims=True) for values in centred)
    weights = held_out.var(axis=0)
    if not weights.sum() > 0:
        return 0.0
    return float(np.average(explained(seen, (train, held_out)), weights=weights))


def decisive_visible_share(
    seen: PlainColumn, fused: tuple[Floats, Floats], head: Callable[[Tensor], Tensor], *, seed: int = 0
) -> float | None:
    """The visible share of a teacher's channels, each weighted by how much it decides the teacher's answers.

    Args:
        seen: what the student's columns show.
        fused: the teacher's features in front of its head, (N, D) and (M, D).
        head: from such features to the logits.
        seed: of the permutations that find what decides.

    Returns:
        From 0 to 1; None where no channel stands out.
    """
    import torch

    from mmdistill.losses.modality_focusing import modality_saliency

    some = torch.from_numpy(np.asarray(fused[1][:_ROWS]))
    with torch.no_grad():
        saliency = modality_saliency(some, head, head(some), repeats=_REPEATS, seed=seed).cpu().numpy()
    if not saliency.sum() > 0:
        return None
    return float(np.average(explained(seen, fused), weights=saliency))


def with_embeddings(
    plain: Mapping[str, PlainColumn], columns: tuple[str, ...], embeddings: Mapping[str, tuple[Floats, Floats]]
) -> PlainColumn:
    """What some columns show: their plain features, and what the teacher itself makes of those that it reads."""
    shown = [plain[column] for column in columns]
    shown += [standardised(*embeddings[column]) for column in columns if column in embeddings]
    return side_by_side(shown)
