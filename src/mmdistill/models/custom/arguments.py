"""Which array of which column each argument of a module gets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError, nearest
from mmdistill.models.custom.recorder import unwrapped

VALUES, MASK, PRESENT = "values", "mask", "present"
_MASK_NAMES = ("attention_mask", "mask")


@dataclass(frozen=True)
class Argument:
    """One argument of a module.

    Args:
        name: of the argument.
        column: that it is read from.
        array: of the column's feature: `values`, `mask`, another that the feature has, or `present`, bool (B,), which
            rows have the column.
    """

    name: str
    column: str
    array: str = VALUES


@dataclass(frozen=True)
class Signature:
    """The arguments that a module takes.

    Args:
        names: in their order.
        required: those without a default.
        any_name: whether it takes others as well (``**kwargs``).
        by_position: whether names cannot be used in the call, as for ``forward(*inputs)``.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    any_name: bool = False
    by_position: bool = False


def signature_of(module: nn.Module) -> Signature:
    """The arguments of a module's ``forward``, of the module itself where it is wrapped."""
    inner = unwrapped(module)
    stated = getattr(inner, "input_names", None)
    if stated is not None:
        return Signature(tuple(stated), tuple(stated))
    parameters = inspect.signature(inner.forward).parameters.values()
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    starred = any(one.kind == one.VAR_POSITIONAL for one in parameters) and not named
    return Signature(
        names=("inputs",) if starred else tuple(one.name for one in named),
        required=tuple(one.name for one in named if one.default is one.empty),
        any_name=any(one.kind == one.VAR_KEYWORD for one in parameters),
        by_position=starred or any(one.kind == one.POSITIONAL_ONLY for one in named),
    )


def stated_arguments(
    inputs: Mapping[str, str], signature: Signature, columns: Sequence[str] | None, where: str = "inputs"
) -> tuple[Argument, ...]:
    """The arguments as a user names them, such as ``{"input_ids": "text.values", "attention_mask": "text.mask"}``.

    Args:
        inputs: argument → ``<column>`` or ``<column>.<array>``.
        signature: of the module.
        columns: that exist; None when that is not known.
        where: for messages.

    Raises:
        InputError: when the module has no such argument, needs another one, or there is no such column.
    """
    for name in inputs:
        if name not in signature.names and not signature.any_name:
            raise InputError(
                f"The module has no argument {name!r}",
                where=f"{where}.{name}",
                fix=nearest(name, list(signature.names)),
            )
    missing = [name for name in signature.required if name not in inputs]
    if missing:
        raise InputError(
            f"The module needs {', '.join(map(repr, missing))} as well",
            where=where,
            fix="Say which array each of its arguments gets, as in {mask: text.mask}",
        )
    order = {name: place for place, name in enumerate(signature.names)}
    stated = sorted(inputs.items(), key=lambda pair: order.get(pair[0], len(order)))
    return tuple(_argument(name, array, columns, f"{where}.{name}") for name, array in stated)


def _argument(name: str, text: str, columns: Sequence[str] | None, where: str) -> Argument:
    if columns is None:
        column, dot, array = text.rpartition(".")
        return Argument(name, column, array) if dot and array in (VALUES, MASK, PRESENT) else Argument(name, text)
    if text in columns:
        return Argument(name, text)
    column, _, array = text.rpartition(".")
    if column not in columns:
        raise InputError(
            f"There is no column {column or text!r}", where=where, fix=nearest(column or text, list(columns))
        )
    return Argument(name, column, array)


def usual_arguments(
    signature: Signature, features: Mapping[str, FeatureInfo], where: str = "inputs"
) -> tuple[Argument, ...]:
    """The arguments where a user names none: a column of an argument's name, or the one column there is.

    A sequence brings its mask along when the module has an ``attention_mask`` or a ``mask``.

    Raises:
        InputError: when that is not clear.
    """
    known = [name for name in signature.names if name in features]
    pairs = {name: name for name in known}
    if len(features) == 1 and not known and signature.names:
        pairs = {signature.names[0]: next(iter(features))}
    arguments = [Argument(name, column) for name, column in pairs.items()]
    for column in pairs.values():
        if any(spec.sequence for spec in features[column].arrays.values()):
            mask = next((name for name in _MASK_NAMES if name in signature.names), None)
            if mask is None or len(features) > 1:
                raise _unclear(f"rows of {column!r} differ in length, and it is not clear how it is told", where)
            arguments.append(Argument(mask, column, MASK))
    given = {argument.name for argument in arguments}
    if set(pairs.values()) != set(features) or not set(signature.required) <= given:
        names = ", ".join(signature.names) or "none"
        raise _unclear(f"its arguments are {names}, the columns {', '.join(features)}", where)
    return tuple(sorted(arguments, key=lambda one: signature.names.index(one.name)))


def check_arrays(arguments: Sequence[Argument], features: Mapping[str, FeatureInfo], where: str = "inputs") -> None:
    """Refuse an array that its feature does not have.

    Raises:
        InputError: naming those that it has.
    """
    for argument in arguments:
        arrays = features[argument.column].arrays
        known = [*arrays, PRESENT, *[MASK] * any(spec.sequence for spec in arrays.values())]
        if arrays and argument.array not in known:
            raise InputError(
                f"The column {argument.column!r} has no array {argument.array!r}",
                where=f"{where}.{argument.name}",
                fix=f"{nearest(argument.array, known)} Write <column>.<array>",
            )


def _unclear(why: str, where: str) -> InputError:
    return InputError(
        f"Which argument of the module gets what is not clear: {why}",
        where=where,
        fix="Say it, as in {input_ids: text.values, attention_mask: text.mask}",
    )
