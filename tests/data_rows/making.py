"""Small pictures, sounds and features for the tests of this folder."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmdistill.data.cells import Cell
from mmdistill.data.features import Feature, FeatureInfo, describe_feature, extractor, features_for
from mmdistill.data.modalities.base import Modality
from mmdistill.data.modalities.reader import CellReader
from mmdistill.recipe.schema import ColumnSpec


def data_folder(name: str) -> Path:
    """A folder of the real data; the test is skipped where there is none."""
    root = os.environ.get("MMDISTILL_DATA")
    if not root:
        pytest.skip("MMDISTILL_DATA is not set: no real data")
    return Path(root) / name


def png(values: np.ndarray | Image.Image, **options: Any) -> bytes:
    """A picture as the bytes of a PNG file."""
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    stream = io.BytesIO()
    image.save(stream, options.pop("format", "PNG"), **options)
    return stream.getvalue()


def grey_png(value: int, size: int = 8) -> bytes:
    """A grey picture of one value."""
    return png(np.full((size, size), value, np.uint8))


def sine(seconds: float = 0.5, rate: int = 16_000, frequency: float = 440.0) -> np.ndarray:
    """A tone, float32."""
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def sound_file(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """Samples as the bytes of a sound file."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


def feature(kind: str, column: str = "x", source: str | None = None, **settings: Any) -> Feature:
    """One feature of a column of that name."""
    spec = ColumnSpec.model_validate({"type": kind, "source": source, **settings})
    return features_for({column: spec})[0]


def modality(kind: str, folder: Path | None = None, **settings: Any) -> Modality:
    """A modality with its settings."""
    return feature(kind, **settings).modality(CellReader(folder))


def fitted(kind: str, cells: list[Cell], folder: Path | None = None, **settings: Any) -> FeatureInfo:
    """What a feature of the column ``x`` learns from some cells."""
    own = feature(kind, **settings)
    built = own.modality(CellReader(folder))
    return describe_feature(own, built, built.fit(iter([{"x": cell} for cell in cells])))


def extracted(kind: str, cell: Cell, folder: Path | None = None, **settings: Any) -> np.ndarray:
    """`values` of one cell, under what is learnt from that cell alone."""
    info = fitted(kind, [cell], folder, **settings)
    arrays = extractor(info, CellReader(folder))({"x": cell})
    assert arrays is not None
    return arrays["values"]
