"""Labels that stand beside points without covering each other."""

from __future__ import annotations


def apart(wanted: list[float], gap: float) -> list[float]:
    """Positions as near as can be to those wanted, at least `gap` from each other, in the same order.

    Neighbours that are too close form a block around their common middle; blocks that then touch are joined.

    Args:
        wanted: positions in any unit and order.
        gap: smallest distance between two of them, in the same unit.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[tuple[float, int]] = []
    for index in order:
        middle, size = wanted[index], 1
        while blocks and middle - blocks[-1][0] < gap * (size + blocks[-1][1]) / 2:
            before, count = blocks.pop()
            middle, size = (before * count + middle * size) / (count + size), size + count
        blocks.append((middle, size))
    placed = [middle + gap * (place - (size - 1) / 2) for middle, size in blocks for place in range(size)]
    result = [0.0] * len(wanted)
    for index, position in zip(order, placed, strict=True):
        result[index] = position
    return result
