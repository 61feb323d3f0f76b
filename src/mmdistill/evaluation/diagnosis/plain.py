"""A column's prepared features as a plain matrix, one row a row, for models that are no networks.

What is done depends on the type of the column alone and is learnt from training rows:

- image: pixels averaged down to 16 × 16 at most, principal components;
- audio: mean, deviation and percentiles of every mel bin over time, and its mean in each quarter of the time,
  principal components; a waveform becomes a log-power spectrogram first;
- text: counts of tokens weighted by inverse document frequency, rows of length one;
- tabular: the standardised numbers, what is missing, and an indicator a category;
- vector: the vector, or the mean of a sequence of them.

A row that lacks the column gets the mean of the training rows and a one in a column that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from mmdistill.data.features import FeatureInfo
from mmdistill.data.store import FeatureStore

Rows = NDArray[np.int64]
Matrix = Any
"""float64 (rows, features): a NumPy array, or a SciPy sparse matrix for texts."""
COMPONENTS = 64
PIXELS = 16
WORDS = 20_000
_ROWS_AT_ONCE = 512
_FRAME, _HOP, _BANDS = 256, 128, 40
_PERCENTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class PlainColumn:
    """A column of some rows.

    Args:
        train: (training rows, features).
        held_out: (other rows, features), of what was learnt from the training rows.
    """

    train: Matrix
    held_out: Matrix


def plain_column(store: FeatureStore, present: Tensor, train: Rows, held_out: Rows) -> PlainColumn:
    """The plain matrices of one feature.

    Args:
        store: its prepared rows.
        present: bool (rows of the table,), which rows have it.
        train: numbers of the rows that scale, components and vocabulary are learnt from.
        held_out: numbers of other rows.
    """
    there = [present[torch.from_numpy(rows)].numpy() for rows in (train, held_out)]
    if store.info.type == "text":
        both = _texts(store, train, held_out, there[0])
    else:
        read = _reader(store.info)
        both = _scaled(_read(store, train, read), _read(store, held_out, read), there[0])
    filled = [_without_absent(matrix, has) for matrix, has in zip(both, there, strict=True)]
    if not there[0].all():
        filled = [sparse_or_dense([matrix, ~has[:, None]]) for matrix, has in zip(filled, there, strict=True)]
    return PlainColumn(*filled)


def sparse_or_dense(blocks: list[Matrix]) -> Matrix:
    """Matrices side by side, sparse as soon as one of them is."""
    if any(sparse.issparse(block) for block in blocks):
        return sparse.hstack([sparse.csr_array(block, dtype=np.float64) for block in blocks], format="csr")
    return np.concatenate([np.asarray(block, dtype=np.float64) for block in blocks], axis=1)


def side_by_side(columns: Sequence[PlainColumn]) -> PlainColumn:
    """Several columns as one."""
    return PlainColumn(
        sparse_or_dense([one.train for one in columns]), sparse_or_dense([one.held_out for one in columns])
    )


def standardised(train: NDArray[Any], held_out: NDArray[Any]) -> PlainColumn:
    """Embeddings with the mean of the training rows taken off, in their standard deviations."""
    first, other = (np.asarray(values, dtype=np.float64) for values in (train, held_out))
    mean, deviation = first.mean(axis=0), first.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    return PlainColumn((first - mean) / scale, (other - mean) / scale)


def _without_absent(matrix: Matrix, there: NDArray[np.bool_]) -> Matrix:
    if sparse.issparse(matrix):
        return sparse.diags_array(there.astype(np.float64)) @ matrix
    return np.where(there[:, None], matrix, 0.0)


Reader = Callable[[dict[str, Tensor]], Tensor]


def _read(store: FeatureStore, rows: Rows, read: Reader) -> NDArray[np.float64]:
    blocks = [
        read(store.gather(torch.from_numpy(rows[start : start + _ROWS_AT_ONCE]))).double().numpy()
        for start in range(0, len(rows), _ROWS_AT_ONCE)
    ]
    return np.nan_to_num(np.concatenate(blocks))


def _reader(info: FeatureInfo) -> Reader:
    if info.type == "tabular":
        cardinalities = list(info.state["cardinalities"])
        return lambda arrays: _table(arrays, cardinalities)
    return {"image": _pixels, "audio": _sound, "vector": _vector}[info.type]


def _pixels(arrays: dict[str, Tensor]) -> Tensor:
    values = arrays["values"].float()
    height, width = (min(side, PIXELS) for side in values.shape[-2:])
    return F.adaptive_avg_pool2d(values, (height, width)).flatten(1)


def _vector(arrays: dict[str, Tensor]) -> Tensor:
    values = arrays["values"].float()
    return values if "mask" not in arrays else _mean(values, arrays["mask"])


def _sound(arrays: dict[str, Tensor]) -> Tensor:
    """(B, T, M) log-mels or (B, T) samples to statistics over time."""
    values, mask = arrays["values"].float(), arrays["mask"]
    if values.dim() == 2:
        values, mask = _spectrogram(values, mask)
    mean = _mean(values, mask)
    deviation = _mean((values - mean[:, None]).square(), mask).sqrt()
    unknown = values.masked_fill(~mask[..., None], torch.nan)
    percentiles = unknown.nanquantile(torch.tensor(_PERCENTILES), dim=1)
    length, places = mask.sum(dim=1), torch.arange(mask.shape[1])
    quarter = (4 * places[None] / length.clamp(min=1)[:, None]).long()
    parts = [_mean(values, mask & (quarter == part)) for part in range(4)]
    return torch.cat([mean, deviation, *percentiles, *parts], dim=1)


def _spectrogram(samples: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Log-power in bands of equal width, (B, frames, bands), and which frames begin within the sound."""
    samples = F.pad(samples, (0, max(0, _FRAME - samples.shape[1])))
    frames = samples.unfold(1, _FRAME, _HOP) * torch.hann_window(_FRAME)
    power = torch.fft.rfft(frames).abs().square()[..., 1:]
    bands = F.adaptive_avg_pool1d(power.flatten(0, 1)[:, None], _BANDS).view(*power.shape[:2], _BANDS)
    begins = torch.arange(power.shape[1]) * _HOP
    return bands.clamp(min=1e-10).log(), begins[None] < mask.sum(dim=1, keepdim=True)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Over the elements (B, L, D) that the mask (B, L) holds true; zero where there is none."""
    return values.masked_fill(~mask[..., None], 0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)[:, None]


def _table(arrays: dict[str, Tensor], cardinalities: list[int]) -> Tensor:
    indicators = [
        F.one_hot(arrays["categorical"][:, place].long(), size).float() for place, size in enumerate(cardinalities)
    ]
    return torch.cat([arrays["numeric"].float(), arrays["missing"].float(), *indicators], dim=1)


def _scaled(train: NDArray[np.float64], held_out: NDArray[np.float64], there: NDArray[np.bool_]) -> list[Matrix]:
    """Standardised, then principal components, by what the training rows that have the column say."""
    known = train[there] if there.any() else train
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    kept = deviation > 1e-9 * (1 + np.abs(mean))
    scaled = [(rows[:, kept] - mean[kept]) / deviation[kept] for rows in (train, held_out)]
    known = (known[:, kept] - mean[kept]) / deviation[kept]
    if kept.sum() <= COMPONENTS or len(known) < 2:
        return scaled
    values, vectors = np.linalg.eigh(known.T @ known / len(known))
    axes = vectors[:, ::-1][:, :COMPONENTS]
    size = np.sqrt(np.maximum(values[::-1][:COMPONENTS], 0)[0])
    return [rows @ axes / (size if size > 0 else 1.0) for rows in scaled]


def _texts(store: FeatureStore, train: Rows, held_out: Rows, there: NDArray[np.bool_]) -> list[Matrix]:
    """Counts of the tokens that most training rows have, by inverse document frequency, each row of length one."""
    size = int(store.info.state["vocabulary_size"])
    counts = [_token_counts(store, rows, size) for rows in (train, held_out)]
    documents = np.asarray((counts[0][there] > 0).sum(axis=0)).ravel()
    tokens = np.sort(np.argsort(-documents, kind="stable")[: min(WORDS, int((documents > 1).sum()) or 1)])
    weight = np.log((1 + there.sum()) / (1 + documents[tokens])) + 1
    weighted = []
    for count in counts:
        chosen = sparse.csr_array(count[:, tokens], dtype=np.float64)
        chosen.data = 1 + np.log(chosen.data)
        chosen = chosen @ sparse.diags_array(weight)
        length = np.sqrt(np.asarray(chosen.multiply(chosen).sum(axis=1)).ravel())
        weighted.append(sparse.diags_array(1 / np.where(length > 0, length, 1)) @ chosen)
    return weighted


def _token_counts(store: FeatureStore, rows: Rows, vocabulary: int) -> Any:
    blocks = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        arrays = store.gather(torch.from_numpy(rows[start : start + _ROWS_AT_ONCE]))
        row, _ = arrays["mask"].nonzero(as_tuple=True)
        token = arrays["values"][arrays["mask"]]
        ones = np.ones(len(token))
        blocks.append(sparse.csr_array((ones, (row.numpy(), token.numpy())), shape=(len(arrays["mask"]), vocabulary)))
    return sparse.vstack(blocks, format="csr")
