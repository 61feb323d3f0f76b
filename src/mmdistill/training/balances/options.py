"""Options of the methods of balancing columns. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmdistill.catalog import Options
from mmdistill.errors import InputError, nearest
from mmdistill.recipe.schema import DistillSpec

Share = Annotated[float, Field(ge=0, le=1)]
FUSED = "fused"
"""What the model's own loss is called among the weights of losses; no column can be called so."""
BETWEEN = ":"
"""Between the name of a teacher and its tap, as `distill.combinations.combination` has it."""


class Span(Options):
    """Options of a method that works in a part of the training only."""

    start: Share = Field(default=0.0, description="Part of the training after which it begins.")
    end: Share = Field(default=1.0, description="Part of the training after which it ends.")

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.end <= self.start:
            raise ValueError("end has to be larger than start")
        return self

    def holds(self, step: int, total_steps: int) -> bool:
        """Whether a step, counted from 0, is in that part."""
        return self.start * total_steps <= step < self.end * total_steps


class OgmGeOptions(Span):
    """Options of the balance `ogm_ge`."""

    alpha: float = Field(
        default=0.1, gt=0, description="How strongly a dominant column is held back; 0.1 and 0.8 in the paper."
    )
    noise: bool = Field(
        default=True,
        description="Add Gaussian noise of the standard deviation of each gradient (generalisation enhancement).",
    )
    weights: Literal["all", "convolutions"] = Field(
        default="all",
        description="Which weights of the encoders: all, as in the paper, or those of four dimensions, as in its code.",
    )
    end: Share = Field(default=0.5, description="Part of the training after which it ends.")


class PrototypesOptions(Span):
    """Options of the balance `prototypes`."""

    alpha: float = Field(default=1.0, ge=0, description="Weight of the prototypical cross-entropy of slow columns.")
    mu: float = Field(default=0.1, ge=0, description="Weight of the entropy that dominant columns are to keep.")
    entropy_until: Share = Field(
        default=0.1, description="Part of the training in which dominant columns are to keep their entropy."
    )
    momentum: float = Field(
        default=0.2, ge=0, lt=1, description="Part of the old prototypes that is kept from epoch to epoch."
    )
    strength: Literal["ratio", "switch"] = Field(
        default="ratio",
        description="ratio: the slower a column, the stronger, up to 1, as in the paper; switch: 1 for a column slower "
        "than the others and 0 else, as in its code.",
    )
    end: Share = Field(default=0.67, description="Part of the training after which it ends.")


class GradientBlendingOptions(Options):
    """Options of the balance `gradient_blending`."""

    mode: Literal["online", "once"] = Field(
        default="online",
        description="online: weights are estimated again after every `every` looks at the validation rows; once: after "
        "the first of these only.",
    )
    every: int = Field(default=1, ge=1, description="Looks at the validation rows from one estimate to the next.")
    smallest_overfitting: float = Field(
        default=0.01,
        gt=0,
        description="Smallest change of the gap between validation and training loss that is divided by; smaller ones "
        "are noise.",
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Weights that are fixed instead of estimated: of each column's loss, and of the model's, `fused`.",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> GradientBlendingOptions:
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights are all zero, so that nothing would be learnt")
        return self

    def check(self, columns: Collection[str], where: str) -> None:
        """See `Options`; where weights are given, every column and the model itself have one."""
        names = [*columns, FUSED]
        for name in self.weights:
            if name not in names:
                what = f"The model has no loss {name!r} to weigh"
                raise InputError(what, where=f"{where}.weights", fix=nearest(name, names))
        missing = [name for name in names if self.weights and name not in self.weights]
        if missing:
            what, fix = f"There is no weight for {missing[0]!r}", f"Give every column and `{FUSED}` one"
            raise InputError(what, where=f"{where}.weights", fix=fix)


class AlternatingOptions(Options):
    """Options of the balance `alternating`."""

    joint_every: int = Field(
        default=3,
        ge=0,
        description="Every so many steps all columns are shown together, so that the fusion learns too; 0: never, as "
        "in the paper, whose model has no joint fusion.",
    )
    orthogonal: bool = Field(
        default=False,
        description="Take out of the gradient of the heads what would change their answers to the features of earlier "
        "steps.",
    )
    regularisation: float = Field(
        default=1.0, gt=0, description="How slowly directions are taken out; alpha of the recursive least squares."
    )


class BranchStoppingOptions(Options):
    """Options of the balance `branch_stopping`."""

    patience: int = Field(
        default=3, ge=1, description="Looks at the validation rows without a better probe before a column is frozen."
    )
    restore: bool = Field(default=True, description="Put a column's encoder back to its best look when it is frozen.")


class UnimodalTeachersOptions(Options):
    """Options of the balance `unimodal_teachers`."""

    weight: float = Field(
        default=1.0, gt=0, description="Weight of the squared distance to each teacher's features; tuned in the paper."
    )

    def distill(self, teachers: Mapping[str, str], logits: Mapping[str, str]) -> DistillSpec:  # noqa: ARG002
        """What the model learns from the models of its columns; see `feature_terms`."""
        return DistillSpec.model_validate({"losses": feature_terms(teachers, self.weight)})


class G2DOptions(Options):
    """Options of the balance `g2d`."""

    feature_weight: float = Field(default=1.0, ge=0, description="Weight of the distance to each teacher's features.")
    logit_weight: float = Field(default=1.0, ge=0, description="Weight of the KL divergence to each teacher's answer.")
    temperature: float = Field(default=1.0, gt=0, description="Softens both sides of that divergence.")
    prioritise: Share = Field(
        default=0.5,
        description="Part of the training in which one column at a time leads, the weakest first; 0: none. With more "
        "than two columns it is divided evenly among all but the strongest.",
    )

    @model_validator(mode="after")
    def _some_loss(self) -> G2DOptions:
        if self.feature_weight == 0 and self.logit_weight == 0:
            raise ValueError("feature_weight and logit_weight are both zero, so that the teachers would teach nothing")
        return self

    def distill(self, teachers: Mapping[str, str], logits: Mapping[str, str]) -> DistillSpec:
        """What the model learns from the models of its columns.

        Args:
            teachers: column → name of its model.
            logits: task → tap of its logits.
        """
        several = len(logits) > 1
        answers = [
            {
                "name": "kd",
                "weight": self.logit_weight,
                "temperature": self.temperature,
                "taps": {"student": tap, "teacher": f"{teacher}{BETWEEN}{tap}"},
                **({"task": task} if several else {}),
            }
            for teacher in teachers.values()
            for task, tap in logits.items()
        ]
        features = feature_terms(teachers, self.feature_weight)
        terms = [*(features if self.feature_weight else []), *(answers if self.logit_weight else [])]
        return DistillSpec.model_validate({"losses": terms})


def feature_terms(teachers: Mapping[str, str], weight: float) -> list[dict[str, object]]:
    """A squared distance between the embeddings of each column in the model and in the model of that column alone.

    Args:
        teachers: column → name of its model.
        weight: of each.
    """
    return [
        {
            "name": "fitnets",
            "weight": weight,
            "adapter": "none",
            "taps": {"student": column, "teacher": f"{teacher}{BETWEEN}{column}"},
        }
        for column, teacher in teachers.items()
    ]
