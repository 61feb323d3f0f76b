"""The weight and bias of a model's linear head as inputs of a loss, as class activation maps need them.

The head stays the model's own: what is bound is found again at each step, so that the objective neither trains nor
saves it a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from mmdistill.distill.arguments import Argument, Side, Sources
from mmdistill.distill.layout import layout
from mmdistill.errors import InputError

HEAD_PARTS: dict[str, Literal["weight", "bias"]] = {"head_weight": "weight", "head_bias": "bias"}


def head_argument(
    sources: Sources, side: Side, what: str, task: str, where: str, optional: bool = False
) -> Argument | None:
    """Bind ``<side>_head_weight`` or ``<side>_head_bias``; None where it is optional and there is none.

    Raises:
        InputError: when the side has no linear head for the task.
    """
    head = sources.heads(side).get(task)
    part = getattr(head, HEAD_PARTS[what], None)
    if not isinstance(part, Tensor) or part.dim() != (2 if what == "head_weight" else 1):
        if optional:
            return None
        raise InputError(
            f"The loss reads the {side}'s linear head of {task!r}, and there is none",
            where=where,
            fix="Use a model whose head is one linear layer, or another loss",
        )
    return Argument(f"{side}_{what}", "student head" if side == "student" else "teacher head", (task, what))


def head_value(argument: Argument, heads: dict[str, nn.Module]) -> Tensor:
    """The parameter itself for a student, which gets gradient through it; without gradient for a teacher."""
    task, what = argument.keys
    value = cast(Tensor, getattr(heads[task], HEAD_PARTS[what]))
    return value if argument.origin == "student head" else value.detach()


def fitting_heads(arguments: Sequence[Argument], sources: Sources, where: str) -> list[Argument]:
    """The arguments, without the heads of a side whose maps have a channel for each class: these need no head.

    Raises:
        InputError: when a head reads another number of channels than the maps or features that it is bound beside have,
            since what it says about a channel would be said of another, or when the heads of student and teacher are
            of different classes.
    """
    kept = [one for one in arguments if not one.origin.endswith("head") or _fits(one, arguments, sources, where)]
    weights = [one for one in kept if one.kind == "head_weight"]
    classes = [int(_weight(one, sources).shape[0]) for one in weights]
    if len(set(classes)) > 1:
        raise InputError(
            f"The class counts differ: the heads of {weights[0].origin.split()[0]} and {weights[1].origin.split()[0]} "
            f"have {classes[0]} and {classes[1]} outputs",
            where=where,
            fix="Use a teacher of the same classes",
        )
    return kept


def _fits(head: Argument, arguments: Sequence[Argument], sources: Sources, where: str) -> bool:
    """Whether a head belongs to the maps or features of its side, which may be of classes already."""
    side = head.origin.removesuffix(" head")
    classes, reads = _weight(head, sources).shape
    for one in arguments:
        if one.origin != side or one.kind not in ("maps", "features", "tokens"):
            continue
        width = layout(one.kind, one.key, sources.shapes(one)[0]).width
        if width == classes != reads:
            return False
        if width != reads:
            raise InputError(
                f"The {side}'s head reads {reads} features, and its {one.key!r} has {width} channels",
                where=where,
                fix=f"Name the maps whose mean the head reads with taps.{side}, or use a model of one column",
            )
    return True


def _weight(head: Argument, sources: Sources) -> Tensor:
    heads = sources.student_heads if head.origin == "student head" else sources.teacher_heads
    return cast(Tensor, heads[head.key].weight)
