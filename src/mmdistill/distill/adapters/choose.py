"""The adapter that two shapes ask for, and the absence of one."""

from __future__ import annotations

from torch import nn

from mmdistill.catalog import NoOptions
from mmdistill.distill.adapters.adapter import Adapter
from mmdistill.distill.adapters.fitting import wanted_size
from mmdistill.distill.adapters.layers import linear
from mmdistill.distill.adapters.resampler import resampler
from mmdistill.distill.catalog import LinearOptions, ResamplerOptions
from mmdistill.distill.layout import Pair
from mmdistill.errors import InputError


def auto(pair: Pair, options: NoOptions) -> nn.Module | None:  # noqa: ARG001  as every adapter
    """What two shapes need: nothing, a linear map over the channels, maps of another size, or tokens resampled."""
    if pair.sizes_differ and pair.student.kind == "tokens":
        return resampler(pair, ResamplerOptions())
    if pair.widths_differ:
        return linear(pair, LinearOptions())
    return Adapter(None, channels_first=True, size=wanted_size(pair)) if pair.sizes_differ else None


def none(pair: Pair, options: NoOptions) -> None:  # noqa: ARG001  as every adapter
    """No adapter.

    Raises:
        InputError: when the loss needs one.
    """
    if pair.widths_differ:
        mine, theirs = (f"{side.tap!r} has width {side.width}" for side in (pair.student, pair.teacher))
        fix = "Set `adapter` to linear or mlp, or name other taps"
        raise InputError(f"The student's {mine}, the teacher's {theirs}", fix=fix)
    if pair.sizes_differ:
        raise InputError(f"{pair}", fix="Set `adapter` to auto, or name other taps")
