"""Optimisers and learning-rate schedules by name. Imports no torch."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from mmdistill.catalog import Entry, Options, register


class OptimizerOptions(Options):
    """What all optimisers share."""

    weight_decay: float = Field(default=0.0, ge=0, description="Strength of the weight decay.")
    decay_vectors: bool = Field(
        default=False, description="Also decay biases and the scales of norms (parameters of at most one dimension)."
    )
    fused: bool | None = Field(
        default=None,
        description="PyTorch's one-kernel update: true, false, or left out: used where the parameters allow it.",
    )


class SGDOptions(OptimizerOptions):
    """Stochastic gradient descent; plain gradient descent when everything is left out."""

    momentum: float = Field(default=0.0, ge=0, lt=1, description="Share of the last update that is kept.")
    nesterov: bool = Field(default=False, description="Nesterov's form of momentum.")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGDOptions:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class AdamOptions(OptimizerOptions):
    """Adam; its weight decay is added to the gradient."""

    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="Decay of the two running moments.")
    eps: float = Field(default=1e-8, gt=0, description="Added to the denominator.")

    @field_validator("betas")
    @classmethod
    def _in_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("each of the betas lies in [0, 1)")
        return value


class AdamWOptions(AdamOptions):
    """AdamW; its weight decay is apart from the gradient."""

    weight_decay: float = Field(default=0.01, ge=0, description="Strength of the weight decay.")


class ScheduleOptions(Options):
    """What all schedules share."""

    warmup: float = Field(
        default=0.0,
        ge=0,
        description="Rise from 0 to the full rate: below 1 a fraction of all steps, from 1 on a number of steps.",
    )

    @field_validator("warmup")
    @classmethod
    def _whole_steps(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("a number of warm-up steps is whole; a fraction lies below 1")
        return value


class DecayOptions(ScheduleOptions):
    """A schedule that falls."""

    end: float = Field(default=0.0, ge=0, le=1, description="Share of the learning rate that is left at the end.")


def _register() -> None:
    optimizers = "mmdistill.training.optimizers"
    schedules = "mmdistill.training.schedules"
    for entry in (
        Entry("optimizer", "sgd", f"{optimizers}:sgd", SGDOptions, "Gradient descent, with momentum if asked for"),
        Entry("optimizer", "adam", f"{optimizers}:adam", AdamOptions, "Adam (Kingma and Ba, 2015)"),
        Entry("optimizer", "adamw", f"{optimizers}:adamw", AdamWOptions, "AdamW (Loshchilov and Hutter, 2019)"),
        Entry("schedule", "constant", f"{schedules}:constant", ScheduleOptions, "One learning rate throughout"),
        Entry("schedule", "linear", f"{schedules}:linear", DecayOptions, "Falls in a straight line"),
        Entry("schedule", "cosine", f"{schedules}:cosine", DecayOptions, "Falls as half a cosine"),
    ):
        register(entry)


_register()
