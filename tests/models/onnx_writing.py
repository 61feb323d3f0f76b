"""A minimal writer of ONNX files (protocol buffers by hand), so that tests need no exporter."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7


def write_linear(
    path: Path, weight: np.ndarray, bias: np.ndarray, rows: int | str = "rows", scores: str = "logits"
) -> None:
    """Write ``hidden = x @ weight``, ``logits = hidden + bias`` for inputs x (rows, inputs)."""
    inputs, outputs = weight.shape
    nodes = [_node("MatMul", ["x", "weight"], "hidden"), _node("Add", ["hidden", "bias"], scores)]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"linear")
    graph += _field(5, _tensor("weight", weight)) + _field(5, _tensor("bias", bias))
    graph += _field(11, _value("x", [rows, inputs]))
    graph += _field(12, _value(scores, [rows, outputs])) + _field(12, _value("hidden", [rows, outputs]))
    path.write_bytes(_number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 17)))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    return b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode()) + _field(4, kind.encode())


def _tensor(name: str, values: np.ndarray) -> bytes:
    numbers = values.astype("<f4").ravel()
    shape = b"".join(_number(1, size) for size in values.shape)
    return shape + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, struct.pack(f"<{len(numbers)}f", *numbers))


def _value(name: str, shape: list[int | str]) -> bytes:
    axes = b"".join(
        _field(1, _number(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape
    )
    tensor = _number(1, FLOAT) + _field(2, axes)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
