"""The model of the library: an encoder a column, a strategy for missing ones, a fusion, a head a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.errors import InputError, nearest
from mmdistill.models.column_modules import ColumnModules
from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.layers.mlp import projection
from mmdistill.models.masking import where_true
from mmdistill.models.missing.build import build_missing
from mmdistill.models.tap_names import auxiliary_tap, logits_tap, mask_tap, numbered_tap, refuse_clashes
from mmdistill.models.tap_shapes import gives_tokens, tap_shapes

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo
    from mmdistill.models.encoders.encoded import Encoded
    from mmdistill.recipe.schema import ModelSpec

Outputs: TypeAlias = dict[str, Tensor]
Arrays: TypeAlias = Mapping[str, Tensor]
Head: TypeAlias = "int | Callable[[int], nn.Module]"
"""How many outputs a linear head has, or a function from the width of `fused` to the head."""


class MultimodalModel(nn.Module):
    """Encoders → missing → fusion → heads. Absent columns are masked all the way: what is in them changes no output.

    Args:
        features: the feature of each column that the model reads.
        spec: encoders, strategy for missing columns, fusion and dropout. Its columns are those of `features`.
        heads: by task, the number of outputs of a linear head, or a function from the width of `fused` to the head.
            Without any the model ends at `fused`.

    Attributes:
        columns: the columns it reads, sorted, so that their order in a recipe does not matter.
        feature_names: the names of the features it reads, in the order of `columns`.
        dims: the width of each column's embedding.

    Raises:
        InputError: when columns and encoders do not match, a name is unknown or a column bears the name of a tap.
        pydantic.ValidationError: when an option is unknown or has a bad value.
    """

    def __init__(self, features: Mapping[str, FeatureInfo], spec: ModelSpec, heads: Mapping[str, Head]) -> None:
        super().__init__()
        _check_columns(features, spec)
        self.spec = spec
        self.columns = tuple(sorted(features))
        self.features = {column: features[column] for column in self.columns}
        self.feature_names = tuple(info.name for info in self.features.values())
        self.head_sizes = {task: None if callable(head) else int(head) for task, head in heads.items()}
        refuse_clashes(self.columns, tuple(heads))
        self.encoders = ColumnModules({column: _encoder(info, spec) for column, info in self.features.items()})
        self.dims = {column: cast(int, encoder.dim) for column, encoder in self.encoders.items()}
        self.missing = build_missing(spec.missing, self.dims)
        self.fusion = build_fusion(spec.fusion, self.dims, self._columns_with_tokens)
        self.projection = projection(cast(int, self.fusion.dim), spec.projection) if spec.projection else nn.Identity()
        dim = spec.projection or cast(int, self.fusion.dim)
        self.head_dropout = nn.Dropout(spec.head_dropout)
        self.heads = ColumnModules({task: _head(head, dim) for task, head in heads.items()})
        self._logits = {task: logits_tap(task, tuple(heads)) for task in heads}
        self._taps: dict[str, tuple[int | None, ...]] | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks it has heads for."""
        return tuple(self.heads)

    @property
    def taps(self) -> dict[str, tuple[int | None, ...]]:
        """Every tap with its shape per row; None stands for a length that differs from batch to batch.

        Found by two small forward passes in eval mode, once.
        """
        if self._taps is None:
            self._taps = tap_shapes(self)
        return self._taps

    def forward(self, features: Mapping[str, Arrays], present: Mapping[str, Tensor] | None = None) -> Outputs:
        """Compute every tap.

        Args:
            features: arrays by feature name, each batch first; sequences (B, L, …) with `mask` (B, L). A feature
                that is left out counts as absent in every row.
            present: by column, bool (B,): which rows have it. A column that is left out is there in every row, and
                its arrays are taken as they are, which saves masking them; None: all are.

        Returns:
            tap → tensor: `logits` (or `<task>.logits` with several tasks), `fused` (B, dim), `<column>` (B, dim), and
            where an encoder has them `<column>.tokens` (B, L, dim) with `<column>.tokens.mask` (B, L),
            `<column>.maps` (B, C, …), `<column>.stages.0`, `<column>.stages.1`… (B, C, …), the maps at the end of each
            stage, and `<column>.layers.0`… (B, L, dim) with `<column>.layers.0.mask`…, the tokens after each layer.
            What belongs to a column that a row lacks is zero or masked, but for maps, which are those of an input of
            zeros. A fusion and a strategy for missing columns may add taps; while training they may also add
            `auxiliary.<name>`, scalars that they want to be small, which an objective adds to its terms.
        """
        whose = _present(self, features, present)
        masked = set() if present is None else set(present.keys())
        outputs, embeddings, tokens, masks = self._encode(features, whose, masked)
        completed = self.missing(embeddings, tokens, masks, whose)
        joined = self.fusion(completed.embeddings, completed.tokens, completed.masks, completed.present)
        for part in (completed, joined):
            outputs.update(part.taps)
            outputs.update((auxiliary_tap(name), value) for name, value in part.auxiliary.items())
        outputs["fused"] = fused = self.projection(joined.embedding)
        for task, head in self.heads.items():
            outputs[self._logits[task]] = head(self.head_dropout(fused))
        return outputs

    def _columns_with_tokens(self) -> list[str]:
        return [column for column, info in self.features.items() if gives_tokens(self.encoders[column], info)]

    def _encode(
        self, features: Mapping[str, Arrays], whose: Mapping[str, Tensor], masked: Set[str]
    ) -> tuple[Outputs, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """The taps of the encoders, and by column their embeddings, tokens and masks."""
        outputs: Outputs = {}
        embeddings: dict[str, Tensor] = {}
        tokens: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        given = features.keys()
        for column, encoder in self.encoders.items():
            rows, name = whose[column], self.features[column].name
            if name not in given:
                outputs[column] = embeddings[column] = _nothing(self, rows, self.dims[column])
                continue
            arrays = features[name]
            if column in masked or "mask" in arrays.keys():  # noqa: SIM118 (a TensorDict refuses `in` on itself)
                arrays = _visible(arrays, rows)
            encoded: Encoded = encoder(arrays)
            embedding = where_true(rows, encoded.embedding) if column in masked else encoded.embedding
            outputs[column] = embeddings[column] = embedding
            if encoded.tokens is not None:
                masks[column] = _token_mask(rows, encoded.tokens, encoded.mask)
                tokens[column] = encoded.tokens
                outputs[f"{column}.tokens"] = encoded.tokens
                outputs[mask_tap(f"{column}.tokens")] = masks[column]
            if encoded.maps is not None:
                outputs[f"{column}.maps"] = encoded.maps
            outputs.update(_inner(column, rows, encoded))
        return outputs, embeddings, tokens, masks


def build_model(
    spec: ModelSpec, features: Mapping[str, FeatureInfo], heads: Mapping[str, Head], seed: int
) -> MultimodalModel:
    """A new model whose first weights depend on the arguments alone.

    Equal seeds give equal weights whatever was drawn before, and the process's own random state is left as it was.

    Args:
        spec: see `MultimodalModel`.
        features: see `MultimodalModel`.
        heads: see `MultimodalModel`.
        seed: of the first weights.

    Raises:
        InputError: see `MultimodalModel`.
    """
    with torch.random.fork_rng(devices=[]):
        # Weights are made on the CPU. `torch.manual_seed` would reseed every other device as well.
        torch.default_generator.manual_seed(seed)
        return MultimodalModel(features, spec, heads)


def _check_columns(features: Mapping[str, FeatureInfo], spec: ModelSpec) -> None:
    if not features:
        raise InputError("A model needs at least one column", where="encoders", fix="Name an encoder for a column")
    for column in spec.encoders:
        if column not in features:
            raise InputError(
                f"The model has an encoder for {column!r}, but no such column was prepared",
                where=f"encoders.{column}",
                fix=nearest(column, list(features)),
            )
    for column in features:
        if column not in spec.encoders:
            raise InputError(
                f"No encoder is named for the column {column!r}", where="encoders", fix=f"Add {column}: to the encoders"
            )


def _encoder(info: FeatureInfo, spec: ModelSpec) -> nn.Module:
    component, kind = spec.encoders[info.column], f"{info.type} encoder"
    catalog.get(kind, component.name, where=f"encoders.{info.column}")
    return component.build(kind, info)


def _head(head: Head, dim: int) -> nn.Module:
    return head(dim) if callable(head) else nn.Linear(dim, int(head))


def _present(
    model: MultimodalModel, features: Mapping[str, Arrays], present: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Bool (B,) for every column of the model."""
    given = features.keys()
    said = () if present is None else present.keys()
    stated = {} if present is None else {column: present[column] for column in model.columns if column in said}
    reference = next(iter(stated.values()), None)
    if reference is None:
        read = [name for name in model.feature_names if name in given]
        if not read:
            raise InputError(
                "None of the model's features is given, and nothing says how many rows there are",
                fix=f"Give at least one of: {', '.join(model.feature_names)}",
            )
        reference = next(iter(features[read[0]].values()))
    every = torch.ones(reference.shape[:1], dtype=torch.bool, device=reference.device)
    return {
        column: stated.get(column, every) if info.name in given else ~every for column, info in model.features.items()
    }


def _visible(arrays: Arrays, rows: Tensor) -> dict[str, Tensor]:
    """A feature's arrays without what stands in absent rows.

    Encoders ignore what a sequence holds under a false mask, so there the mask is enough; other arrays are set to zero
    in absent rows, since a NaN that reaches a layer comes back in the gradient of its weights.
    """
    if "mask" not in arrays.keys():  # noqa: SIM118 (a TensorDict refuses `in` on itself)
        return {name: where_true(rows, values) for name, values in arrays.items()}
    if arrays["mask"].shape[1] == 0:  # no row of the batch has a single element, yet layers need one
        arrays = {
            name: torch.cat([values, values.new_zeros(values.shape[0], 1, *values.shape[2:])], 1)
            for name, values in arrays.items()
        }
    mask = arrays["mask"] & rows.unsqueeze(1)
    return {name: mask if name == "mask" else values for name, values in arrays.items()}


def _token_mask(rows: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Bool (B, L): the tokens that are real, in the rows that have the column."""
    there = rows.unsqueeze(1).expand(tokens.shape[:2])
    return there if mask is None else there & mask


def _inner(column: str, rows: Tensor, encoded: Encoded) -> Outputs:
    """What an encoder has computed on its way, as taps."""
    inner = {numbered_tap(column, "stages", number): maps for number, maps in enumerate(encoded.stages)}
    if encoded.layers:
        mask = _token_mask(rows, encoded.layers[0], encoded.mask)
        for number, tokens in enumerate(encoded.layers):
            tap = numbered_tap(column, "layers", number)
            inner |= {tap: tokens, mask_tap(tap): mask}
    return inner


def _nothing(model: MultimodalModel, rows: Tensor, dim: int) -> Tensor:
    parameter = next(model.parameters(), None)
    dtype = torch.get_default_dtype() if parameter is None else parameter.dtype
    return torch.zeros(rows.shape[0], dim, dtype=dtype, device=rows.device)
