"""What columns share and what each has alone, of a model that keeps the two apart: as a picture and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.errors import InputError

Floats = NDArray[np.floating[Any]]
Wide = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST_ROWS = 300


def subspaces(
    shared: Floats, private: Floats, columns: Sequence[str], present: Bools | None = None, most: int = MOST_ROWS
) -> dict[str, Any]:
    """A plane of the shared and private vectors of some rows, and how alike they are over all rows.

    The plane is that of the two largest principal components of the vectors shown, shared and private together. Rows
    are taken evenly over the table. Cosines are means over the rows that have the columns in question.

    Args:
        shared: (rows, columns, dim).
        private: the same shape.
        columns: their names, in order.
        present: (rows, columns), which rows have which; all when left out. What stands in absent places is not read.
        most: how many rows the plane shows, at most.

    Returns:
        What JSON can hold: ``columns``; ``rows``, how many there are; ``shown``, how many of them the plane shows;
        ``explained``, the share of the variance on each of the two axes; ``shared`` and ``private``, by column the
        points ``[x, y]`` of the shown rows that have it; and ``cosine``, a mapping of means from −1 to 1 (None where
        there is no such pair): ``same_row`` and ``other_rows`` between the shared vectors of two columns in the same
        row and in different rows, ``shared_private`` between both vectors of a column in a row.

    Raises:
        InputError: when the shapes do not belong together, or a vector that is present is not finite.
    """
    there = _checked(shared, private, columns, present)
    parts = np.stack([np.where(there[..., None], part, 0) for part in (shared, private)]).astype(np.float64)
    if not np.isfinite(parts).all():
        raise InputError("A shared or private vector is not finite", fix="Look at the model's training curves")
    rows = np.flatnonzero(there.any(axis=1))
    chosen = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]
    plane, explained = _plane(parts[:, chosen], there[chosen])
    return {
        "columns": list(columns),
        "rows": len(there),
        "shown": len(chosen),
        "explained": explained,
        **{
            name: {column: plane[part, there[chosen, at], at].tolist() for at, column in enumerate(columns)}
            for part, name in enumerate(("shared", "private"))
        },
        "cosine": _cosines(parts, there),
    }


def _checked(shared: Floats, private: Floats, columns: Sequence[str], present: Bools | None) -> Bools:
    if shared.ndim != 3 or shared.shape != private.shape or shared.shape[1] != len(columns):
        raise InputError(
            f"Shared vectors have shape {shared.shape} and private ones {private.shape}, and there are {len(columns)} "
            "columns",
            fix="Give both as (rows, columns, dim)",
        )
    there = np.ones(shared.shape[:2], dtype=np.bool_) if present is None else present.astype(np.bool_)
    if there.shape != shared.shape[:2]:
        raise InputError(f"`present` has shape {there.shape}, the vectors {shared.shape}", fix="Give (rows, columns)")
    return there


def _plane(parts: Wide, there: Bools) -> tuple[Wide, list[float]]:
    """Coordinates (2, rows, columns, 2), and the share of the variance on each axis."""
    places = np.zeros((*parts.shape[:-1], 2))
    counted = np.broadcast_to(there, parts.shape[:-1])
    vectors = parts[counted]
    if not len(vectors):
        return places, [0.0, 0.0]
    _, lengths, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    axes = axes[:2]
    # The sign of an axis is arbitrary: its largest entry points up, so that equal data give equal pictures.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    places[counted, : len(axes)] = (vectors - vectors.mean(axis=0)) @ axes.T
    variances = np.zeros(2)
    variances[: len(axes)] = lengths[:2] ** 2
    total = float((lengths**2).sum())
    return places, (variances / total if total > 0 else variances).tolist()


def _cosines(parts: Wide, there: Bools) -> dict[str, float | None]:
    lengths = np.linalg.norm(parts, axis=-1, keepdims=True)
    shared, private = parts / np.where(lengths > 0, lengths, 1)
    # Cosines of all rows with all rows need their sums alone: Σ_i Σ_j a_i·b_j = (Σ a_i)·(Σ b_j).
    counts, sums = there.sum(axis=0), shared.sum(axis=0)
    same = every = 0.0
    same_count = every_count = 0
    for one in range(there.shape[1]):
        for other in range(one):
            same += float((shared[:, one] * shared[:, other]).sum())
            same_count += int((there[:, one] & there[:, other]).sum())
            every += float(sums[one] @ sums[other])
            every_count += int(counts[one] * counts[other])
    return {
        "same_row": _mean(same, same_count),
        "other_rows": _mean(every - same, every_count - same_count),
        "shared_private": _mean(float((shared * private).sum()), int(there.sum())),
    }


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None
