"""How the weight of a loss term changes over training."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mmdistill.recipe.spec import Spec

WeightShape = Literal["constant", "linear", "cosine", "step", "warm_up", "only_after", "ramp"]

_UNUSED: dict[WeightShape, dict[str, object]] = {
    "constant": {"start": 0.0, "begin": 0.0, "until": None},
    "step": {"until": None},
    "warm_up": {"start": 0.0},
    "only_after": {"start": 0.0, "until": None},
}
"""Keys that a shape does not read, with what they hold when they are left out."""


class LossWeight(Spec):
    """A weight that changes over training: from `start` at `begin` to `end` at `until`."""

    shape: WeightShape = Field(
        default="linear",
        description="linear, cosine: from start to end in a straight line or half a cosine; step: from start to end at "
        "`begin`, all at once; ramp: along exp(-5 (1 - t)²), slowly at first (Laine and Aila, 2017); warm_up: from 0 "
        "to end in a straight line; only_after: nothing before `begin`, end from then on; constant: end throughout.",
    )
    start: float = Field(default=0.0, ge=0, description="Weight before the change.")
    end: float = Field(default=1.0, ge=0, description="Weight after the change.")
    begin: float = Field(default=0.0, ge=0, description="When the change begins, in `unit`.")
    until: float | None = Field(
        default=None, ge=0, description="When the change is complete, in `unit`; at the end of training when left out."
    )
    unit: Literal["fraction", "steps", "epochs"] = Field(
        default="fraction", description="What `begin` and `until` count: fractions of all steps, steps, or epochs."
    )

    @model_validator(mode="after")
    def _keys_that_count(self) -> Self:
        for key, default in _UNUSED.get(self.shape, {}).items():
            if getattr(self, key) != default:
                raise ValueError(f"a weight of the shape {self.shape} does not use {key!r}: remove it")
        if self.unit == "fraction":
            for key in ("begin", "until"):
                if (getattr(self, key) or 0) > 1:
                    raise ValueError(f"{key} is a fraction of all steps, at most 1: set `unit` to steps or epochs")
        return self

    @property
    def always_zero(self) -> bool:
        """Whether it is zero at every step."""
        return self.start == 0 and self.end == 0
