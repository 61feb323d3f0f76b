"""Features: a column of the table together with extraction settings.

Models read features. Two models may read one column under different settings (224 pixels and 64); where the settings
are the same, so is the feature, and it is prepared once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError

from mmdistill import catalog
from mmdistill.data.modalities.base import ArraySpec, Cell, Modality, ModalityOptions, State
from mmdistill.data.modalities.reader import CellReader
from mmdistill.errors import InputError, nearest
from mmdistill.recipe.schema import ColumnSpec


@dataclass(frozen=True)
class Feature:
    """A column with its extraction settings.

    Args:
        name: the column's name, or ``<column>@<8 hex digits>`` for settings that are a model's own.
        column: name of the column in the recipe.
        type: the modality: image, text, audio, tabular, vector or one that a user registered.
        sources: the columns of the table that are read.
        settings: the typed options of the modality.
        state: vocabulary and statistics that were learnt elsewhere; learnt from the training rows when None.
    """

    name: str
    column: str
    type: str
    sources: tuple[str, ...]
    settings: Any
    state: State | None = None

    def modality(self, reader: CellReader) -> Modality:
        """The modality that extracts this feature from cells read by `reader`."""
        return catalog.get("modality", self.type).load()(self.settings, reader)


@dataclass(frozen=True)
class FeatureInfo:
    """All that an encoder needs to be built and a predictor needs to extract.

    Args:
        name: name of the feature.
        column: name of the column in the recipe.
        type: name of the modality.
        settings: the extraction settings as plain data; `options` has them typed.
        state: what the modality learnt from the training rows. Its keys, by type:

            - image: ``size`` [height, width], ``channels``, ``mean`` and ``std`` per channel (0 to 255);
            - text: ``vocabulary_size``, ``pad_id`` (0 when trained), ``unknown_id``, ``tokenizer`` (JSON text);
            - audio: ``mean`` and ``std`` per mel band (of one element for a waveform), ``frame_rate`` in hertz;
            - tabular: ``numeric`` and ``categorical`` (a mapping per source column), ``cardinalities`` (indices per
              categorical column: 0 missing, 1 unknown, 2... the categories);
            - vector: ``dim``, ``sequence``, ``mean`` and ``std`` per dimension.
        arrays: the arrays of a row by name.
        sources: the columns of the table that are read.
    """

    name: str
    column: str
    type: str
    settings: dict[str, Any]
    state: State
    arrays: dict[str, ArraySpec]
    sources: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.sources:
            object.__setattr__(self, "sources", (self.column,))

    @property
    def options(self) -> Any:
        """The extraction settings, typed."""
        return catalog.get("modality", self.type).options.model_validate(self.settings)

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON data."""
        return {
            "name": self.name,
            "column": self.column,
            "type": self.type,
            "sources": list(self.sources),
            "settings": self.settings,
            "state": self.state,
            "arrays": {name: spec.to_json() for name, spec in self.arrays.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FeatureInfo:
        """Back from `to_json`."""
        return cls(
            name=document["name"],
            column=document["column"],
            type=document["type"],
            settings=dict(document["settings"]),
            state=dict(document["state"]),
            arrays={name: ArraySpec.from_json(spec) for name, spec in document["arrays"].items()},
            sources=tuple(document["sources"]),
        )


def learnt_feature(info: FeatureInfo) -> Feature:
    """The feature of a finished model: prepared with the vocabulary and statistics that the model was trained with."""
    return Feature(info.name, info.column, info.type, info.sources, info.options, info.state)


def features_for(
    columns: Mapping[str, ColumnSpec], overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Feature]:
    """The features of a model: one a column, in the order of `columns`.

    Args:
        columns: the columns that the model reads.
        overrides: the model's own settings by column; keys left out are the column's.

    Raises:
        InputError: when an override names no column, or a setting is unknown or out of range.
    """
    overrides = overrides or {}
    for column in overrides:
        if column not in columns:
            raise InputError(
                f"`features` names the column {column!r}, which is not read", fix=nearest(column, list(columns))
            )
    return [_feature(column, spec, overrides.get(column, {})) for column, spec in columns.items()]


def _feature(column: str, spec: ColumnSpec, override: Mapping[str, Any]) -> Feature:
    entry = catalog.get("modality", spec.type, where=f"data.columns.{column}.type")
    own = _validated(entry.options, spec.model_extra or {}, f"data.columns.{column}")
    settings = _validated(entry.options, {**(spec.model_extra or {}), **override}, f"features.{column}")
    name = column if settings == own else f"{column}@{_digest(settings)}"
    sources = (
        settings.sources(column, spec.source) if isinstance(settings, ModalityOptions) else (spec.source or column,)
    )
    return Feature(name, column, spec.type, tuple(sources), settings)


def _validated(options: type[catalog.Options], settings: Mapping[str, Any], where: str) -> catalog.Options:
    try:
        return options.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([where, *(str(part) for part in first["loc"] if isinstance(part, int) or part in settings)])
        known = list(options.model_fields)
        fix = nearest(str(first["loc"][-1]), known) if first["type"] == "extra_forbidden" else ""
        what = "There is no such setting" if fix else first["msg"].removeprefix("Value error, ")
        raise InputError(what, where=key, fix=fix) from error


def _digest(settings: catalog.Options) -> str:
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def describe_feature(feature: Feature, modality: Modality, state: State) -> FeatureInfo:
    """The `FeatureInfo` of a feature whose modality has learnt `state`."""
    return FeatureInfo(
        name=feature.name,
        column=feature.column,
        type=feature.type,
        settings=feature.settings.model_dump(mode="json"),
        state=state,
        arrays=modality.arrays(state),
        sources=feature.sources,
    )


def extractor(info: FeatureInfo, reader: CellReader) -> Callable[[Mapping[str, Cell]], dict[str, np.ndarray] | None]:
    """A function from the cells of a row (source column → cell; a source left out counts as empty) to its arrays.

    It returns None for an absent row and raises `CellError` for one that cannot be read. Sequences have their own
    length: (T, ...).
    """
    modality: Modality = catalog.get("modality", info.type).load()(info.options, reader)

    def extract(cells: Mapping[str, Cell]) -> dict[str, np.ndarray] | None:
        own = {source: cells.get(source) for source in info.sources}
        return None if modality.absent(own) else modality.extract(own, info.state)

    return extract
