"""What a source gives: the module, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mmdistill.models.custom.conversions import Statistics


@dataclass(frozen=True)
class Loaded:
    """A module from somewhere.

    Args:
        module: itself.
        pixels: statistics that images are standardised with, in units of pixels / 255; None where the source does not
            say.
        channels: image channels that it reads; None for as many as there are.
        conversions: argument → what its array has to go through.
        classes: names of its classes in their order, where the source says them.
        portable: keys of the specification that build the same architecture again without any download.
    """

    module: nn.Module
    pixels: Statistics | None = None
    channels: int | None = None
    conversions: Mapping[str, nn.Module] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    portable: Mapping[str, Any] = field(default_factory=dict)
