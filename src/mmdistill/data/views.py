"""Random numbers that belong to a row and a view, not to a generator's state.

A view is one reproducible augmentation of a row. Its numbers are a pure function of (seed, row, view, stream,
position), so teacher and student, a resumed run, a run on another device and one with another batch size all see the
same view. View 0 is the clean row.

The generator is counter-based: a 64-bit key is mixed from (seed, stream, row, view) and the number at position i is the
finalizer of SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators", with Stafford's
variant 13 constants) of key + (i + 1)·γ. Everything is wrapping int64 arithmetic, the same on every device.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Views = Tensor | int
Stream = str | int


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as `value`."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_VIEW_GAMMA = _signed(0xD1342543DE82EF95)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
# `>>` keeps the sign of an int64; these masks make it the logical shift that the mixer needs.
_KEEP_30, _KEEP_27, _KEEP_31 = (1 << 34) - 1, (1 << 37) - 1, (1 << 33) - 1
_KEEP_24, _KEEP_32 = (1 << 24) - 1, (1 << 32) - 1


def _mix_(bits: Tensor) -> Tensor:
    """SplitMix64's finalizer, in place on int64 `bits`."""
    bits.bitwise_xor_((bits >> 30).bitwise_and_(_KEEP_30)).mul_(_MIX_1)
    bits.bitwise_xor_((bits >> 27).bitwise_and_(_KEEP_27)).mul_(_MIX_2)
    return bits.bitwise_xor_((bits >> 31).bitwise_and_(_KEEP_31))


@functools.lru_cache(maxsize=4096)
def derive(seed: int, stream: Stream) -> int:
    """Another seed (int64), independent of `seed`, for what `stream` names; for example one per column.

    The number 7 and the name ``"7"`` are different streams.
    """
    text = f"{seed & ((1 << 64) - 1)}/{'#' if isinstance(stream, int) else ''}{stream}"
    return _signed(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def keys(seed: int, rows: Tensor, views: Views, stream: Stream) -> Tensor:
    """One 64-bit key for each row, from which `uniform_from` and `normal_from` draw.

    A key can be passed on in place of the (seed, row, view) that it stands for, for example among the parameters of an
    augmentation that draws noise in the shape of each feature.

    Args:
        seed: any integer; its low 64 bits count.
        rows: int64 (B,), row numbers.
        views: int64 (B,), or one number for all rows.
        stream: what the numbers are for; different streams are independent.

    Returns:
        int64 (B,).
    """
    return keys_from(derive(seed, stream), rows, views)


def keys_from(derived: int, rows: Tensor, views: Views) -> Tensor:
    """`keys` with what `derive` gives for the seed and the stream, which torch.compile cannot trace."""
    key = _mix_(rows + derived)
    key += views * _VIEW_GAMMA if isinstance(views, Tensor) else _signed(views * _VIEW_GAMMA)
    return _mix_(key)


def _bits(key: Tensor, count: int) -> Tensor:
    """int64 (B, count): 64 random bits for each key and position."""
    # (i + 1)·γ would wrap in `arange`'s own arithmetic as well, but multiplying makes the wrap explicit.
    positions = torch.arange(1, count + 1, dtype=torch.int64, device=key.device).mul_(_GAMMA)
    return _mix_(key.unsqueeze(-1) + positions)


def _unit(bits: Tensor) -> Tensor:
    """float32 in [0, 1): the top 24 bits, which float32 holds exactly, so that every device agrees."""
    return (bits >> 40).bitwise_and_(_KEEP_24).to(torch.float32).mul_(2.0**-24)


def uniform_from(key: Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Uniform numbers in [0, 1) from keys, float32 (B, *shape). Positions run over `shape` in row-major order.

    The number at a position does not depend on how far the first axis of `shape` reaches, so a sequence has the same
    numbers however much padding its batch adds.
    """
    return _unit(_bits(key, math.prod(shape))).view(len(key), *shape)


def normal_from(key: Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Standard normal numbers from keys, float32 (B, *shape), by the Box-Muller transform; at most 5.9 in magnitude.

    Each 64-bit number gives two of 24 bits and so two normals. Devices agree up to their `log` and `cos` (some units in
    the last place). Positions as in `uniform_from`.
    """
    count = math.prod(shape)
    bits = _bits(key, (count + 1) // 2)
    angle = (bits & _KEEP_24).to(torch.float32).mul_(2.0 * math.pi * 2.0**-24)
    # Half a step away from 0 keeps the logarithm finite.
    radius = (bits >> 40).bitwise_and_(_KEEP_24).to(torch.float32).add_(0.5).mul_(2.0**-24)
    radius = radius.log_().mul_(-2.0).sqrt_()
    # A complex tensor holds its two parts side by side, which gives the pairs without a copy.
    pairs = torch.view_as_real(torch.complex(radius * angle.cos(), radius.mul_(angle.sin_())))
    return pairs.flatten(1)[:, :count].reshape(len(key), *shape)


def uniform(seed: int, rows: Tensor, views: Views, stream: Stream, shape: Sequence[int] = ()) -> Tensor:
    """Uniform numbers in [0, 1), a pure function of (seed, row, view, stream, position).

    Args:
        seed: any integer.
        rows: int64 (B,), row numbers.
        views: int64 (B,), or one number for all rows.
        stream: what the numbers are for.
        shape: shape per row.

    Returns:
        float32 (B, *shape) on the device of `rows`, bit for bit the same on every device.
    """
    return uniform_from(keys(seed, rows, views, stream), shape)


def normal(seed: int, rows: Tensor, views: Views, stream: Stream, shape: Sequence[int] = ()) -> Tensor:
    """Standard normal numbers; arguments and result as in `uniform`, precision as in `normal_from`."""
    return normal_from(keys(seed, rows, views, stream), shape)


def integers(seed: int, rows: Tensor, views: Views, stream: Stream, high: int, shape: Sequence[int] = ()) -> Tensor:
    """Integers from 0 up to and without `high` (1 to 2³¹), int64 (B, *shape); other arguments as in `uniform`.

    Lemire's multiplication: the top 32 bits times `high`, over 2³²; no value is favoured by more than high/2³².
    """
    if not 1 <= high <= 1 << 31:
        raise ValueError(f"high is {high}, not between 1 and 2**31")
    bits = _bits(keys(seed, rows, views, stream), math.prod(shape))
    return (((bits >> 32) & _KEEP_32) * high >> 32).view(len(rows), *shape)


def chance(
    seed: int, rows: Tensor, views: Views, stream: Stream, probability: float, shape: Sequence[int] = ()
) -> Tensor:
    """True with `probability`, bool (B, *shape); never at 0 and always at 1. Other arguments as in `uniform`."""
    return uniform(seed, rows, views, stream, shape) < probability
