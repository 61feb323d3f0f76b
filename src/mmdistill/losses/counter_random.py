"""Random integers that are a function of their place: the same on every device, in any order, after any restart.

A generator has a state that would have to be saved, moved and read; here every number is a hash of what it is for
(seed, step, row, number of the draw), by the mixing function of SplitMix64: Steele, Lea, Flood, "Fast Splittable
Pseudorandom Number Generators", OOPSLA 2014.
"""

from __future__ import annotations

from torch import Tensor

_STEP = -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio of 2⁶⁴, as a signed number
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


def mixed(values: Tensor) -> Tensor:
    """A hash of each int64 value: all its 64 bits depend on all bits of the value. Works in place."""
    values = values.mul_(_STEP)
    values = values.bitwise_xor_(_shifted(values, 30)).mul_(_FIRST)
    values = values.bitwise_xor_(_shifted(values, 27)).mul_(_SECOND)
    return values.bitwise_xor_(_shifted(values, 31))


def _shifted(values: Tensor, bits: int) -> Tensor:
    """`values` to the right by `bits`, filled with zeros as an unsigned number would be."""
    return (values >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def drawn_below(values: Tensor, bound: Tensor) -> Tensor:
    """A hash of each value as an integer from 0 to `bound` − 1. Works in place.

    Args:
        values: int64, any shape.
        bound: int64 that broadcasts against it, from 1 to 2³¹.

    Returns:
        int64 of the shape of `values`; each result with probability 1 / bound up to one part in 2³² / bound.
    """
    return _shifted(mixed(values), 32).mul_(bound).bitwise_right_shift_(32)
