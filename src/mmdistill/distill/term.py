"""One distillation loss of an objective, with its arguments bound."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmdistill.distill.arguments import Argument, Moment, Value
from mmdistill.distill.heads import head_value
from mmdistill.distill.schedules import WeightSchedule
from mmdistill.errors import InputError
from mmdistill.models.tap_names import SEEN, mask_tap

PRESENT = "row.present"
"""Entry of a teacher's signals: bool (B,), the rows of which the teacher has seen anything; all when left out."""
BETWEEN = ":"
"""Between the name of a teacher and its tap, where there are several teachers."""
BOTH_LOGITS = ("student_logits", "teacher_logits")
"""What transforms are applied to."""
_HEADS = frozenset({"student head", "teacher head"})


@dataclass(frozen=True)
class Bound:
    """A sample weight, or a transform of logits, with its arguments bound.

    Args:
        function: a sample weight gives (B,), not negative; a transform is a module that gives both sides' logits anew.
        arguments: where its arguments come from; for a transform, those beside the logits.
    """

    function: Callable[..., Any]
    arguments: tuple[Argument, ...] = ()


class Term(nn.Module):
    """One distillation loss with its arguments bound to taps.

    Args:
        name: under which it is logged.
        loss: the module.
        arguments: where each of its arguments comes from.
        weight: at each step.
        adapters: student's argument → an adapter for each of its taps, None where a tap fits.
        transforms: applied in this order to the logits of both sides.
        sample_weights: multiplied with what rows count anyway.
        heads: task → the student's head, and the teacher's, for arguments that are parameters of one; they are not part
            of this module.
    """

    def __init__(
        self,
        name: str,
        loss: nn.Module,
        arguments: Sequence[Argument],
        weight: WeightSchedule,
        *,
        adapters: Mapping[str, Sequence[nn.Module | None]] | None = None,
        transforms: Sequence[Bound] = (),
        sample_weights: Sequence[Bound] = (),
        heads: Mapping[str, Mapping[str, nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.loss, self.arguments, self.weight = name, loss, tuple(arguments), weight
        self.adapters = nn.ModuleDict(
            {key: nn.ModuleList(one or _Unchanged() for one in each) for key, each in (adapters or {}).items()}
        )
        self.transforms = nn.ModuleList(cast(nn.Module, one.function) for one in transforms)
        self._transforms, self._sample_weights = tuple(transforms), tuple(sample_weights)
        # In a tuple, where PyTorch does not look for modules: the heads belong to the models.
        self._heads = ({side: dict(each) for side, each in (heads or {}).items()},)
        origins = {argument.origin for argument in arguments}
        self._takes_weight, self._takes_labelled = "weight" in origins, "labelled" in origins
        every = [*arguments, *(one for each in (*transforms, *sample_weights) for one in each.arguments)]
        self._task = next((argument.key for argument in arguments if argument.origin == "target"), None)
        self._reads_target = any(argument.origin == "target" for argument in every)
        self._teacher_taps = {
            key for one in every if one.origin.startswith("teacher") and one.origin not in _HEADS for key in one.keys
        }
        owners = {tap.partition(BETWEEN)[0] if BETWEEN in tap else "" for tap in self._teacher_taps}
        self._owner = owners.pop() if len(owners) == 1 else ""

    @property
    def teacher_taps(self) -> set[str]:
        """The taps that the teacher has to give."""
        return set(self._teacher_taps)

    def forward(self, moment: Moment) -> Tensor:
        """The unweighted loss of a batch, a scalar.

        Raises:
            InputError: when the loss compares with targets and the batch is mixed up, or when rows have to be left out
                and the loss takes no weight.
        """
        if self._reads_target and moment.batch.get("mixed", None) is not None:
            raise InputError(
                f"The loss {self.name!r} needs one target a row, and mixup gives two",
                where="distill.losses",
                fix="Leave train.mixup out, or choose a loss without targets, such as kd",
            )
        if not self._takes_weight and self._seen(moment) is not None:
            raise InputError(
                f"The loss {self.name!r} takes no weight, and the teacher has seen nothing of some rows",
                where="distill.losses",
                fix="Choose a loss that takes one, or give every row a column that the teacher reads",
            )
        values = {argument.name: self._argument(argument, moment) for argument in self.arguments}
        for transform in self._transforms:
            extra = {one.name: self._value(one, moment, clean_target=True) for one in transform.arguments}
            both = transform.function(*(values[name] for name in BOTH_LOGITS), **extra)
            values.update(zip(BOTH_LOGITS, both, strict=True))
        result: Tensor = self.loss(**values)
        return result

    def _argument(self, argument: Argument, moment: Moment) -> Value:
        """The value of an argument as the loss sees it."""
        if argument.origin == "weight":
            return self._row_weight(moment)
        value = self._value(argument, moment, clean_target=not self._takes_labelled)
        if argument.name in self.adapters:
            return self._adapted(argument, value, moment)
        return value

    def _adapted(self, argument: Argument, value: Value, moment: Moment) -> Value:
        given = value if isinstance(value, tuple) else (value,)
        adapters = cast(nn.ModuleList, self.adapters[argument.name])
        adapted = tuple(
            adapter(one, moment.outputs.get(mask_tap(key)))
            for adapter, one, key in zip(adapters, given, argument.keys, strict=True)
        )
        return adapted if argument.several else adapted[0]

    def _value(self, argument: Argument, moment: Moment, clean_target: bool) -> Value:
        origin, key = argument.origin, argument.key
        if origin in ("student", "teacher"):
            taps = moment.outputs if origin == "student" else moment.signals
            return tuple(taps[one] for one in argument.keys) if argument.several else taps[key]
        if origin in ("student lengths", "teacher lengths"):
            return (moment.outputs if origin == "student lengths" else moment.signals)[key].sum(dim=1)
        if origin in _HEADS:
            return head_value(argument, self._heads[0]["student" if origin == "student head" else "teacher"])
        if origin == "target":
            target: Tensor = moment.batch["target"][key]
            # What stands in for a missing target may be no class at all; with its weight of zero any class will do.
            return _where_labelled(target, moment.batch["labelled"][key]) if clean_target else target
        if origin == "labelled":
            labelled: Tensor = moment.batch["labelled"][key]
            return labelled
        if origin == "row":
            rows: Tensor = moment.batch["row"]
            return rows
        if origin == "columns":
            return argument.keys
        if origin == "seen" and SEEN in moment.outputs:
            return moment.outputs[SEEN]
        return moment.progress if origin == "progress" else _present(argument.keys, moment.batch)

    def _seen(self, moment: Moment) -> Tensor | None:
        """Bool (B,): the rows of which the teacher has seen anything; None when of all.

        A term that reads one of several teachers asks for the rows of that one.
        """
        every = moment.signals.get(PRESENT)
        return moment.signals.get(f"{self._owner}{BETWEEN}{PRESENT}", every) if self._owner else every

    def _row_weight(self, moment: Moment) -> Tensor | None:
        """What a row counts: nothing when the teacher saw nothing of it, or when a target that is needed is missing."""
        counts = self._seen(moment)
        if self._task is not None and not self._takes_labelled:
            labelled = moment.batch["labelled"][self._task]
            counts = labelled if counts is None else counts & labelled
        weight = None if counts is None else counts.to(torch.float32)
        with torch.no_grad():
            for sample_weight in self._sample_weights:
                values: dict[str, Any] = {
                    one.name: self._value(one, moment, clean_target=True) for one in sample_weight.arguments
                }
                own = sample_weight.function(**values).to(torch.float32)
                # Not only multiplied: what is said about a row that counts for nothing may be NaN.
                weight = own if weight is None else torch.where(weight > 0, weight * own, 0)
        return weight


class _Unchanged(nn.Module):
    """In the place of an adapter where a tap fits."""

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002  as every adapter
        return values


def _present(columns: Collection[str], batch: Any) -> Tensor:
    """Bool (B, columns): which of the columns each row has; those that a batch says nothing of are there."""
    present = batch["present"]
    known = present.keys()
    every = next(iter(present.values())) if len(list(known)) else None
    if every is None:
        every = batch["row"] >= 0
    return torch.stack([present[column] if column in known else torch.ones_like(every) for column in columns], dim=1)


def _where_labelled(target: Tensor, labelled: Tensor) -> Tensor:
    return torch.where(labelled.view(-1, *[1] * (target.dim() - 1)), target, torch.zeros_like(target))
