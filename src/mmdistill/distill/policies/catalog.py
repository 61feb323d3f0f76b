"""Registers the teaching policies and their options. No torch.

Which models a policy asks for is said by `mmdistill.run.plan`; what an entry names is what trains them.
"""

from __future__ import annotations

from pydantic import Field

from mmdistill.catalog import Entry, NoOptions, Options, register
from mmdistill.recipe.schema import LossTerm, LossWeight


class OwnPastOptions(Options):
    """Options of `own_past`."""

    decay: float = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="Share of the average that is kept at each step; at most (1 + step) / (10 + step).",
    )


class CoTrainedOptions(Options):
    """Options of `co_trained`."""

    losses: list[LossTerm] | None = Field(
        default=None, description="What the teacher learns from the student; the student's own losses when left out."
    )
    supervised: float | LossWeight = Field(default=1.0, description="Weight of the teacher's loss on the targets.")


ENTRIES = (
    Entry(
        kind="policy",
        name="frozen",
        target="mmdistill.training.phase:student_phase",
        options=NoOptions,
        summary="Teachers are trained first and do not change; Hinton et al., 2015.",
    ),
    Entry(
        kind="policy",
        name="mutual",
        target="mmdistill.training.group:group_phase",
        options=NoOptions,
        summary="Students learn at the same time, each from the mean of the others; Zhang et al., CVPR 2018. Those of "
        "a recipe that have this policy are each other's peers; a lone one gets a peer of its own kind.",
    ),
    Entry(
        kind="policy",
        name="own_past",
        target="mmdistill.distill.own_past:OwnPast",
        options=OwnPastOptions,
        summary="The teacher is the moving average of the student's own weights; Tarvainen, Valpola, NIPS 2017.",
    ),
    Entry(
        kind="policy",
        name="co_trained",
        target="mmdistill.training.group:group_phase",
        options=CoTrainedOptions,
        summary="The trained teacher goes on learning beside the student, and from it, as C2KD does; Huo et al., CVPR "
        "2024.",
    ),
)

for entry in ENTRIES:
    register(entry)
