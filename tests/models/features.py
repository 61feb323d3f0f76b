"""Small features of every modality and batches of them, for the tests of models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdistill.data.features import FeatureInfo
from mmdistill.data.modalities.base import ArraySpec


def image(column: str = "image", size: int = 28, channels: int = 1) -> FeatureInfo:
    state = {"size": [size, size], "channels": channels, "mean": [50.0] * channels, "std": [75.0] * channels}
    return FeatureInfo(
        column, column, "image", {"size": size}, state, {"values": ArraySpec((channels, size, size), "uint8")}
    )


def text(column: str = "text", vocabulary: int = 50, max_length: int = 32) -> FeatureInfo:
    state = {"vocabulary_size": vocabulary, "pad_id": 0, "unknown_id": 1}
    return FeatureInfo(
        column, column, "text", {"max_length": max_length}, state, {"values": ArraySpec((), "int64", sequence=True)}
    )


def log_mel(column: str = "sound", bands: int = 40) -> FeatureInfo:
    state = {"mean": [-5.0] * bands, "std": [2.0] * bands, "frame_rate": 100.0}
    settings = {"sample_rate": 8000, "features": "log_mel", "mel_bins": bands}
    return FeatureInfo(
        column, column, "audio", settings, state, {"values": ArraySpec((bands,), "float32", sequence=True)}
    )


def waveform(column: str = "sound") -> FeatureInfo:
    settings = {"sample_rate": 1000, "features": "waveform"}
    state = {"mean": [0.0], "std": [0.1], "frame_rate": 1000.0}
    return FeatureInfo(column, column, "audio", settings, state, {"values": ArraySpec((), "float32", sequence=True)})


def tabular(column: str = "table", numbers: int = 3, cardinalities: tuple[int, ...] = (5, 4)) -> FeatureInfo:
    arrays = {}
    if numbers:
        arrays |= {"numeric": ArraySpec((numbers,), "float32"), "missing": ArraySpec((numbers,), "bool")}
    if cardinalities:
        arrays["categorical"] = ArraySpec((len(cardinalities),), "int64")
    return FeatureInfo(column, column, "tabular", {}, {"cardinalities": list(cardinalities)}, arrays)


def vector(column: str = "vector", dim: int = 6, sequence: bool = False) -> FeatureInfo:
    state = {"dim": dim, "sequence": sequence, "mean": [1.0] * dim, "std": [2.0] * dim}
    return FeatureInfo(column, column, "vector", {}, state, {"values": ArraySpec((dim,), "float32", sequence)})


ENCODERS: list[tuple[str, FeatureInfo, dict[str, Any]]] = [
    ("tiny_cnn", image(), {}),
    ("cnn", image(size=16, channels=3), {"width": 8}),
    ("cnn", image(), {"width": 8, "pool": "max", "grid": 1}),
    ("resnet", image(), {"widths": [8, 16]}),
    ("mobilenet", image(size=70, channels=3), {"widths": [8, 16], "dim": 24}),
    ("mlp", image(size=8), {"hidden": [32, 16]}),
    ("bag", text(), {"dim": 16}),
    ("lstm", text(), {"embedding": 8, "hidden": 8, "layers": 2, "pool": "last"}),
    ("bilstm", text(), {"embedding": 8, "hidden": 8, "layers": 2, "pool": "max"}),
    ("bilstm", text(), {"embedding": 8, "hidden": 8, "pool": "last"}),
    ("transformer", text(), {"dim": 16, "depth": 2}),
    ("transformer", text(), {"dim": 16, "depth": 1, "positions": "learned"}),
    ("tiny_cnn", log_mel(), {}),
    ("cnn", log_mel(), {"width": 4, "dim": 16}),
    ("crnn", log_mel(), {"width": 4, "hidden": 8}),
    ("tiny_cnn", waveform(), {"filters": 8}),
    ("crnn", waveform(), {"filters": 8, "width": 4, "hidden": 8}),
    ("mlp", tabular(), {"hidden": [16, 8]}),
    ("mlp", tabular(numbers=0), {"hidden": [8]}),
    ("mlp", tabular(cardinalities=()), {"hidden": [8]}),
    ("ft_transformer", tabular(), {"dim": 16}),
    ("ft_transformer", tabular(numbers=0), {"dim": 16, "depth": 1}),
    ("ft_transformer", tabular(cardinalities=()), {"dim": 16, "depth": 1}),
    ("mlp", vector(), {"hidden": [16, 8]}),
    ("mlp", vector(sequence=True), {"hidden": [16, 8]}),
    ("gru", vector(sequence=True), {"hidden": 8, "layers": 2}),
    ("gru", vector(sequence=True), {"hidden": 8, "bidirectional": False}),
    ("transformer", vector(sequence=True), {"dim": 16}),
]  # fmt: skip


def case_name(case: tuple[str, FeatureInfo, dict[str, Any]]) -> str:
    name, info, options = case
    shape = "x".join(map(str, next(iter(info.arrays.values())).shape)) or "samples"
    return f"{info.type}-{name}-{shape}-{'-'.join(f'{key}={value}' for key, value in options.items())}"


def arrays(info: FeatureInfo, lengths: list[int], seed: int = 0, padded_to: int | None = None) -> dict[str, Tensor]:
    """Random arrays of one row a length; features without a sequence take their number of rows from `lengths`.

    A row is the same whatever the other rows and the padding are.
    """
    longest = max(padded_to or 0, *lengths)
    rows = [_row(info, length, seed * 1000 + number) for number, length in enumerate(lengths)]
    result: dict[str, Tensor] = {}
    for name, spec in info.arrays.items():
        if spec.sequence:
            values = torch.zeros(len(lengths), longest, *spec.shape, dtype=getattr(torch, spec.dtype))
            mask = torch.zeros(len(lengths), longest, dtype=torch.bool)
            for number, length in enumerate(lengths):
                values[number, :length] = rows[number][name]
                mask[number, :length] = True
            result |= {name: values, "mask": mask}
        else:
            result[name] = torch.stack([row[name] for row in rows])
    return result


def _row(info: FeatureInfo, length: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    row: dict[str, Tensor] = {}
    for name, spec in info.arrays.items():
        shape = (length, *spec.shape) if spec.sequence else spec.shape
        if spec.dtype == "uint8":
            row[name] = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        elif name == "categorical":
            sizes = torch.tensor(info.state["cardinalities"])
            row[name] = (torch.rand(shape, generator=generator) * sizes).long()
        elif spec.dtype == "int64":
            row[name] = torch.randint(1, info.state["vocabulary_size"], shape, generator=generator)
        elif spec.dtype == "bool":
            row[name] = torch.rand(shape, generator=generator) < 0.3
        else:
            row[name] = torch.randn(shape, generator=generator)
    return row


def lengths_for(info: FeatureInfo) -> list[int]:
    """Sequence lengths of a small batch: several seconds' worth for sound, few words for a text."""
    if info.type == "audio":
        return [37, 12, 20, 1] if info.arrays["values"].shape else [370, 95, 200, 11]
    return [7, 3, 5, 1]
