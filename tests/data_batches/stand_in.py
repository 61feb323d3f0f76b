"""Prepared rows held in memory, with the interface of `mmdistill.data.store`, and feature descriptions for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdistill.data.features import FeatureInfo
from mmdistill.data.modalities.base import ArraySpec


def image_info(
    name: str = "image", channels: int = 1, size: tuple[int, int] = (28, 28), column: str | None = None
) -> FeatureInfo:
    state = {"size": list(size), "channels": channels, "mean": [100.0] * channels, "std": [50.0] * channels}
    return FeatureInfo(name, column or name, "image", {}, state, {"values": ArraySpec((channels, *size), "uint8")})


def text_info(name: str = "text", tokenizer: str = "") -> FeatureInfo:
    state = {"vocabulary_size": 1000, "pad_id": 0, "unknown_id": 1, "tokenizer": tokenizer}
    return FeatureInfo(name, name, "text", {}, state, {"values": ArraySpec((), "int64", sequence=True)})


def log_mel_info(
    name: str = "sound", bins: int = 40, sample_rate: int = 16_000, high: float | None = None
) -> FeatureInfo:
    settings = {"sample_rate": sample_rate, "low_frequency": 20.0, "high_frequency": high, "features": "log_mel"}
    arrays = {"values": ArraySpec((bins,), "float32", sequence=True)}
    return FeatureInfo(name, name, "audio", settings, {"mean": [0.0] * bins, "std": [1.0] * bins}, arrays)


def waveform_info(name: str = "sound", sample_rate: int = 16_000) -> FeatureInfo:
    settings = {"sample_rate": sample_rate, "low_frequency": 20.0, "high_frequency": None, "features": "waveform"}
    arrays = {"values": ArraySpec((), "float32", sequence=True)}
    return FeatureInfo(name, name, "audio", settings, {"mean": [0.0], "std": [1.0]}, arrays)


def tabular_info(fills: Sequence[float] = (0.5, -0.5, 0.25), categories: int = 2, name: str = "facts") -> FeatureInfo:
    state = {"numeric": [{"fill": fill} for fill in fills], "categorical": [], "cardinalities": [9] * categories}
    arrays = {
        "numeric": ArraySpec((len(fills),), "float32"),
        "missing": ArraySpec((len(fills),), "bool"),
        "categorical": ArraySpec((categories,), "int64"),
    }
    return FeatureInfo(name, name, "tabular", {}, state, arrays)


def vector_info(
    mean: Sequence[float], std: Sequence[float], sequence: bool = False, name: str = "vector"
) -> FeatureInfo:
    state = {"dim": len(mean), "sequence": sequence, "mean": list(mean), "std": list(std)}
    return FeatureInfo(
        name, name, "vector", {}, state, {"values": ArraySpec((len(mean),), "float32", sequence=sequence)}
    )


class MemoryStore:
    """A `FeatureStore` over tensors; of sequences it is given the padded values and their lengths."""

    def __init__(self, info: FeatureInfo, arrays: Mapping[str, Tensor], lengths: Tensor | None = None) -> None:
        self.info, self._arrays, self._lengths = info, arrays, lengths
        self.gathered: list[list[int]] = []

    def gather(self, rows: Tensor) -> dict[str, Tensor]:
        self.gathered.append(rows.tolist())
        arrays = {name: values.index_select(0, rows) for name, values in self._arrays.items()}
        if self._lengths is None:
            return arrays
        lengths = self._lengths[rows]
        longest = int(lengths.max())
        mask = torch.arange(longest) < lengths[:, None]
        return {name: values[:, :longest] for name, values in arrays.items()} | {"mask": mask}


class MemoryRows:
    """`PreparedRows` over memory stores; every row has every column unless `present` says otherwise."""

    def __init__(self, rows: int, *stores: MemoryStore, present: Mapping[str, Tensor] | None = None) -> None:
        self.rows = rows
        self.features: dict[str, Any] = {store.info.name: store for store in stores}
        columns = {store.info.column for store in stores}
        self.present = {column: torch.ones(rows, dtype=torch.bool) for column in columns} | dict(present or {})


def image_rows(rows: int, size: int = 4) -> MemoryRows:
    """Rows of one-channel images, each holding its row number (modulo 256) in every pixel."""
    values = (torch.arange(rows) % 256).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, size, size).contiguous()
    return MemoryRows(rows, MemoryStore(image_info(size=(size, size)), {"values": values}))


def labels(rows: int, classes: int = 10) -> dict[str, tuple[Tensor, Tensor]]:
    """A fully labelled task."""
    return {"digit": (torch.arange(rows) % classes, torch.ones(rows, dtype=torch.bool))}
