"""What a fusion attends to: the share of attention that goes from each kind of query to each kind of key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.models.fusion.attention_layout import NOTHING, learned_label

if TYPE_CHECKING:
    import torch

    from mmdistill.models.any_model import AnyModel
    from mmdistill.models.attention_weights import AttentionWeights
    from mmdistill.models.inference import Batches

Shares = dict[str, dict[str, float | None]]
"""Query label → key label → share; None where no query of the label was there."""
ROWS = 16
"""Rows whose weights are held at a time: they are as large as heads × queries × keys."""


def attention_shares(
    model: AnyModel, loader: Batches, device: torch.device | str | None = None
) -> dict[str, Any] | None:
    """Mean share of attention from each query label to each key label, over the rows of a loader.

    Labels are names of columns, for their positions, and words for what is learned (``class``, ``bottleneck``,
    ``latent``, ``query``). The share of a label is summed over its positions, so that a column of many tokens has more
    to attend to. What goes to the extra key of zeros stands under ``nothing``. Padding and absent columns do not count
    as queries, and cannot be attended to. A query label that is nowhere in these rows has None.

    Args:
        model: on `device`.
        loader: its epoch 0 is read.
        device: where batches go; where the model is when None.

    Returns:
        ``{"layers": {path: {"queries": [...], "keys": [...], "shares": [[...]]}}, "mean": {the same}}``: a table for
        each attention of the fusion by its module path, in the order they run, and their mean: for each query label
        over the attentions that have it as one, a key that an attention does not have counting as zero. Rows sum to
        one. None for a model whose fusion has no attention.
    """
    from mmdistill.models.attention_weights import attention_weights, shows_attention

    if not shows_attention(model):
        return None
    target = device if device is not None else next(model.parameters()).device
    nothing = learned_label(NOTHING, model.columns)
    sums: dict[str, dict[str, dict[str, float]]] = {}
    counts: dict[str, dict[str, float]] = {}
    for batch in loader.batches(0):
        for piece in batch.split(ROWS):
            moved = piece.to(target)
            for path, found in attention_weights(model, moved["features"], moved["present"]).items():
                _add(found, nothing, sums.setdefault(path, {}), counts.setdefault(path, {}))
    layers = {path: _divided(sums[path], counts[path]) for path in sums}
    return {
        "layers": {path: _table(shares, model.columns, nothing) for path, shares in layers.items()},
        "mean": _table(_mean(list(layers.values())), model.columns, nothing),
    }


def _add(found: AttentionWeights, nothing: str, sums: dict[str, dict[str, float]], counts: dict[str, float]) -> None:
    """Add the weights of some rows to the sums by query and key label, and the queries to their counts."""
    from mmdistill.models.masking import where_true

    by_position = where_true(found.counted, found.weights).sum(0).cpu().double().numpy()
    queries, query_places = _places(found.layout.queries)
    keys, key_places = _places((*found.layout.keys, nothing))
    totals = np.zeros((len(queries), len(keys)))
    np.add.at(totals, np.ix_(query_places, key_places), by_position)
    numbers = np.bincount(query_places, weights=found.counted.sum(0).cpu().numpy(), minlength=len(queries))
    for query, row, number in zip(queries, totals.tolist(), numbers.tolist(), strict=True):
        counts[query] = counts.get(query, 0.0) + number
        into = sums.setdefault(query, {})
        for key, total in zip(keys, row, strict=True):
            into[key] = into.get(key, 0.0) + total


def _places(labels: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The different labels in the order they first occur, and which of them stands at each position."""
    different = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return list(different), np.array([different[label] for label in labels], dtype=np.int64)


def _divided(sums: Mapping[str, Mapping[str, float]], counts: Mapping[str, float]) -> Shares:
    return {
        query: {key: total / counts[query] if counts[query] else None for key, total in row.items()}
        for query, row in sums.items()
    }


def _mean(layers: Sequence[Shares]) -> Shares:
    """The mean over the attentions in which a query label was there; None for one that never was."""
    mean: Shares = {}
    for query in dict.fromkeys(query for shares in layers for query in shares):
        rows = [shares[query] for shares in layers if query in shares]
        known = [row for row in rows if None not in row.values()]
        keys = dict.fromkeys(key for row in rows for key in row)
        mean[query] = {key: sum(row.get(key) or 0.0 for row in known) / len(known) if known else None for key in keys}
    return mean


def _table(shares: Shares, columns: Sequence[str], nothing: str) -> dict[str, Any]:
    """Shares as lists: columns first, in their order, then what is learned, then nothing."""

    def ordered(labels: Sequence[str]) -> list[str]:
        others = [label for label in labels if label not in columns and label != nothing]
        return [*(column for column in columns if column in labels), *others]

    queries = ordered(list(shares))
    keys = [*ordered(list(dict.fromkeys(key for row in shares.values() for key in row))), nothing]
    # A key that a query never has among its own, such as a column's in another column's stream, has no share of it.
    blank = {query: None if None in shares[query].values() else 0.0 for query in queries}
    return {
        "queries": queries,
        "keys": keys,
        "shares": [[shares[query].get(key, blank[query]) for key in keys] for query in queries],
    }
