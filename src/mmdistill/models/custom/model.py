"""Any torch.nn.Module as a model of the library: columns in, taps out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError, MMDistillError
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.custom.arguments import MASK, PRESENT, Argument, check_arrays, signature_of
from mmdistill.models.custom.recorder import Recorder, chosen_argument
from mmdistill.models.custom.tap_path import TapPath, choose, describe
from mmdistill.models.masking import sequence_mask, where_true
from mmdistill.models.tap_shapes import example_arrays, tap_shapes

if TYPE_CHECKING:
    from mmdistill.recipe.custom import CustomSpec

Outputs: TypeAlias = dict[str, Tensor]
Arrays: TypeAlias = Mapping[str, Tensor]


class CustomModel(nn.Module):
    """A module with the seam of `MultimodalModel`: ``model(features, present)`` gives taps by name.

    Taps inside the module are taken by forward hooks. They keep nothing after a forward pass, nor after one that
    failed, are traced through by torch.compile without a graph break, and stay in place under DistributedDataParallel.
    A copy has hooks of its own. Hooks stay on the module until `release`.

    Args:
        module: any module; it is used as it is and not copied.
        arguments: what each argument of its ``forward`` gets.
        taps: name → where it is taken.
        features: the feature of each column that it reads.
        conversions: argument → module that its array goes through, called with the array and all arrays of the feature.
        tasks: the tasks whose logits it gives.
        spec: what it can be built from again; None for a module that was handed over.
        classes: names of the classes in the order of its logits, where they are known.

    Attributes:
        columns: the columns it reads, sorted.
        feature_names: the names of the features it reads, in the order of `columns`.
        required_columns: those it cannot do without, because it is not told which rows have them.

    Raises:
        InputError: when a module, an array or an argument that is named does not exist.
    """

    def __init__(
        self,
        module: nn.Module,
        arguments: Sequence[Argument],
        taps: Mapping[str, TapPath],
        features: Mapping[str, FeatureInfo],
        *,
        conversions: Mapping[str, nn.Module] | None = None,
        tasks: Sequence[str] = (),
        spec: CustomSpec | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_arrays(arguments, features)
        self.module = module
        self.arguments, self.tap_paths = tuple(arguments), dict(taps)
        self.columns = tuple(sorted({argument.column for argument in arguments}))
        self.features = {column: features[column] for column in self.columns}
        self.feature_names = tuple(info.name for info in self.features.values())
        told = {argument.column for argument in arguments if argument.array == PRESENT}
        self.required_columns = tuple(column for column in self.columns if column not in told)
        self.conversions = ColumnModules(conversions or {})
        self.reordered = ColumnModules({})
        self.tasks, self.spec = tuple(tasks), spec
        self.classes = None if classes is None else tuple(classes)
        self._by_position = signature_of(module).by_position
        self.recorder = Recorder(module, self.tap_paths)
        self._taps: dict[str, tuple[int | None, ...]] | None = None

    @property
    def taps(self) -> dict[str, tuple[int | None, ...]]:
        """Every tap with its shape per row; None stands for a length that differs from batch to batch.

        Found by two small forward passes in eval mode, once.

        Raises:
            InputError: when a tap is no tensor, has no rows, or is changed in place after it was taken; or when nothing
                is known of the features.
        """
        if self._taps is None:
            unknown = [column for column, info in self.features.items() if not info.arrays]
            if unknown:
                raise InputError(
                    f"The shapes of {', '.join(unknown)} are not known, so those of the taps are not either",
                    where="wrap",
                    fix="Give wrap the `features` of prepared rows, or a batch as `example`",
                )
            self._taps = tap_shapes(Watched(self))
        return self._taps

    def forward(self, features: Mapping[str, Arrays], present: Mapping[str, Tensor] | None = None) -> Outputs:
        """Compute every tap.

        Args:
            features: arrays by feature name, each batch first. One that is left out counts as absent in every row.
            present: by column, bool (B,): which rows have it; looked at only for columns whose `present` is an argument
                of the module. What stands in their absent rows is set to zero. A column that is left out is there in
                every row.

        Raises:
            InputError: when a column that the module cannot do without is left out, or a tap is no tensor.
        """
        return self._taps_of(features, present, watching=False)

    def _taps_of(
        self, features: Mapping[str, Arrays], present: Mapping[str, Tensor] | None, *, watching: bool
    ) -> Outputs:
        arguments = self._read(features, present)
        self.recorder.start(watching)
        try:
            if self._by_position:
                output = self.module(*arguments.values())
            else:
                output = self.module(**arguments)
            recorded = self.recorder.values()
        finally:
            self.recorder.stop()
        outputs: Outputs = {}
        for tap, path in self.tap_paths.items():
            value = recorded[tap] if path.module else _of_whole(output, arguments, tap, path)
            outputs[tap] = self._finished(tap, path, value)
        return outputs

    def _finished(self, tap: str, path: TapPath, value: Any) -> Tensor:
        """A tap as it is handed over."""
        if not isinstance(value, Tensor):
            raise InputError(
                f"{str(path) or 'The output of the model'!s} is {describe(value)}, not a tensor",
                where=f"taps.{tap}",
                fix="Choose an element of it, as in backbone[0] or [last_hidden_state]",
            )
        if tap in self.reordered:
            value = self.reordered[tap](value)
        return value.bool() if tap.endswith(f".{MASK}") else value

    def reorder(self, tap: str, order: Sequence[int]) -> None:
        """Put the last axis of a tap into another order, from now on; weights are not touched.

        Args:
            tap: one of the taps.
            order: new place → old place.
        """
        device = next((value.device for value in self.parameters()), torch.device("cpu"))
        held = dict(self.reordered.items())
        earlier = held[tap].order.tolist() if tap in held else None  # type: ignore[operator]
        order = list(order) if earlier is None else [earlier[place] for place in order]
        self.reordered = ColumnModules(held | {tap: _Reordered(order).to(device)})

    def orders(self) -> dict[str, list[int]]:
        """The taps that were put into another order, and their orders."""
        return {tap: module.order.tolist() for tap, module in self.reordered.items()}  # type: ignore[operator]

    def release(self) -> nn.Module:
        """Take the hooks off and give the module back; this model has no more taps inside of it then."""
        self.recorder.remove()
        return self.module

    def _read(self, features: Mapping[str, Arrays], present: Mapping[str, Tensor] | None) -> dict[str, Any]:
        """The arguments of the module."""
        said = () if present is None else present.keys()
        read: dict[str, Any] = {}
        for argument in self.arguments:
            column = argument.column
            rows = present[column] if present is not None and column in said else None
            if argument.array == PRESENT:
                read[argument.name] = self._whose(column, features, rows)
                continue
            arrays = self._arrays(column, features)
            value = self._value(argument, arrays)
            if rows is not None and column not in self.required_columns:
                value = where_true(rows, value)
            if argument.name in self.conversions:
                value = self.conversions[argument.name](value, arrays)
            read[argument.name] = value
        return read

    def _value(self, argument: Argument, arrays: Arrays) -> Tensor:
        if argument.array == MASK:
            return sequence_mask(arrays)
        if argument.array not in arrays.keys():  # noqa: SIM118 (a TensorDict refuses `in` on itself)
            raise InputError(
                f"The feature {self.features[argument.column].name!r} has no array {argument.array!r}",
                where=f"inputs.{argument.name}",
                fix=f"It has: {', '.join(arrays.keys())}",
            )
        return arrays[argument.array]

    def _arrays(self, column: str, features: Mapping[str, Arrays]) -> Arrays:
        """The arrays of a column, zeros where the feature is left out."""
        info = self.features[column]
        if info.name in features.keys():  # noqa: SIM118 (a TensorDict refuses `in` on itself)
            return features[info.name]
        if column in self.required_columns:
            raise InputError(
                f"The model needs {column!r} and cannot do without: it is not told which rows have it",
                where="inputs",
                fix=f"Give a module that can an argument for it, as in {{mask: {column}.present}}",
            )
        reference = _any_array(features)
        arrays = example_arrays(info, len(reference), 1, reference.device)
        return {name: torch.zeros_like(values) if name == MASK else values for name, values in arrays.items()}

    def _whose(self, column: str, features: Mapping[str, Arrays], rows: Tensor | None) -> Tensor:
        """Bool (B,): the rows that have a column."""
        there = self.features[column].name in features.keys()  # noqa: SIM118
        if there and rows is not None:
            return rows
        reference = _any_array(features)
        return torch.full((len(reference),), there, dtype=torch.bool, device=reference.device)


class _Reordered(nn.Module):
    """The last axis in another order."""

    order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor(list(order), dtype=torch.int64))

    def forward(self, values: Tensor) -> Tensor:
        """(…, C) → (…, len(order))."""
        return values.index_select(-1, self.order)


class Watched(nn.Module):
    """A custom model that is looked at closely while it runs on an example: checks that a training cannot afford."""

    def __init__(self, model: CustomModel) -> None:
        super().__init__()
        self.model, self.features = model, model.features

    def forward(self, features: Mapping[str, Arrays]) -> Outputs:
        """The taps, each with one entry a row.

        Raises:
            InputError: see `CustomModel.taps`.
        """
        try:
            outputs = self.model._taps_of(features, None, watching=True)
        except MMDistillError:
            raise
        except Exception as error:  # of code that is not ours
            given = {argument.name: (argument.column, argument.array) for argument in self.model.arguments}
            raise InputError(
                f"The model fails on a small batch: {type(error).__name__}: {_first_line(error)}",
                where=f"forward({', '.join(f'{name}: {column}.{array}' for name, (column, array) in given.items())})",
                fix="Look at what its arguments are given (`inputs`), and at the shapes that it expects",
            ) from error
        rows = len(_any_array(features))
        for tap, value in outputs.items():
            if value.dim() == 0 or len(value) != rows:
                raise InputError(
                    f"{tap!r} has the shape {tuple(value.shape)} for a batch of {rows} rows: rows do not come first",
                    where=f"taps.{tap}",
                    fix="Name an output whose first axis is the batch",
                )
        return outputs


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _of_whole(output: Any, arguments: Mapping[str, Any], tap: str, path: TapPath) -> Any:
    """A tap of the whole model: of what it gives, or of what it is given."""
    where = f"taps.{tap}"
    if path.port == "input":
        return chosen_argument(tuple(arguments.values()), arguments, path.keys, where)
    if not path.keys and not isinstance(output, Tensor):
        # Models of transformers give more than logits.
        output = getattr(output, "logits", None) if hasattr(output, "logits") else output
        return output.get("logits", output) if isinstance(output, Mapping) else output
    return choose(output, path.keys, where)


def _any_array(features: Mapping[str, Arrays]) -> Tensor:
    arrays = next(iter(features.values()), None)
    if arrays is None:
        raise InputError("A model cannot be applied without features", fix="Give at least one feature")
    return next(iter(arrays.values()))
