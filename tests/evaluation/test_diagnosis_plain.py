"""Columns as plain matrices: what is learnt from training rows, what absent rows get, every type of column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from mmdistill.data.features import Feature
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import read_table
from mmdistill.evaluation.diagnosis.plain import PlainColumn, plain_column
from mmdistill.recipe.schema import ColumnSpec

TRAIN, OTHERS = np.arange(30), np.arange(30, 40)


def prepared(folder: Path, column: dict[str, Any], cells: list[Any]) -> PreparedRows:
    path = folder / "table.jsonl"
    path.write_text("\n".join(json.dumps({"x": cell}) for cell in cells) + "\n")
    spec = ColumnSpec.model_validate(column)
    sources = spec.settings().sources("x", None)
    return prepare(read_table(path), [Feature("x", "x", spec.type, sources, spec.settings())], TRAIN, folder / "cache")


def plain(rows: PreparedRows) -> PlainColumn:
    return plain_column(rows.features["x"], rows.present["x"], TRAIN, OTHERS)


def test_vectors_are_standardised_by_training_rows(tmp_path: Path) -> None:
    values = 5 + 3 * np.random.default_rng(0).normal(size=(40, 4))
    found = plain(prepared(tmp_path, {"type": "vector"}, values.tolist()))
    assert found.train.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert found.train.std(axis=0) == pytest.approx(1, abs=1e-5)
    expected = (values[30:] - values[:30].mean(axis=0)) / values[:30].std(axis=0)
    assert found.held_out == pytest.approx(expected, abs=1e-4)


def test_rows_that_lack_the_column_get_the_mean_and_a_mark(tmp_path: Path) -> None:
    values: list[Any] = np.random.default_rng(0).normal(size=(40, 4)).tolist()
    for row in (3, 35):
        values[row] = None
    found = plain(prepared(tmp_path, {"type": "vector"}, values))
    assert found.train.shape == (30, 5)
    assert found.train[3].tolist() == [0, 0, 0, 0, 1]
    assert found.held_out[5].tolist() == [0, 0, 0, 0, 1]
    assert found.train[:, 4].sum() == 1


def test_wide_columns_become_components_and_constant_ones_are_left_out(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(size=(40, 2)) @ generator.normal(size=(2, 90)), np.ones((40, 3))], axis=1)
    found = plain(prepared(tmp_path, {"type": "vector"}, values.tolist()))
    assert found.train.shape == (30, 64)
    assert (np.abs(found.train[:, :2]).max(axis=0) > 0.1).all()
    assert found.train[:, 2:] == pytest.approx(0, abs=1e-4)


def test_sequences_of_vectors_are_averaged_over_what_is_there(tmp_path: Path) -> None:
    cells = [[[float(row), 1.0]] * (1 + row % 3) for row in range(40)]
    found = plain(prepared(tmp_path, {"type": "vector", "sequence": True}, cells))
    assert found.train.shape == (30, 1)
    assert np.diff(found.train[:, 0]) == pytest.approx(np.diff(found.train[:, 0])[0])


def test_texts_become_sparse_rows_of_length_one(tmp_path: Path) -> None:
    words = ["red apple", "green pear", "red pear", "green apple apple"]
    found = plain(prepared(tmp_path, {"type": "text"}, [words[row % 4] for row in range(39)] + [None]))
    assert sparse.issparse(found.train)
    assert np.sqrt(found.train.multiply(found.train).sum(axis=1)) == pytest.approx(1)
    assert np.abs(found.held_out.toarray()[9]).sum() == 0
    assert found.train.toarray()[0] == pytest.approx(found.train.toarray()[4])


def test_tables_hold_numbers_what_is_missing_and_categories(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    lines = [{"a": row % 7 if row % 5 else None, "b": "xy"[row % 2]} for row in range(40)]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    spec = ColumnSpec.model_validate({"type": "tabular", "numeric": ["a"], "categorical": ["b"]})
    feature = Feature("x", "x", "tabular", spec.settings().sources("x", None), spec.settings())
    rows = prepare(read_table(path), [feature], TRAIN, tmp_path / "cache")
    found = plain(rows)
    assert found.train.shape == (30, 4)  # the number, its absence, and the two categories that occur
    assert np.linalg.matrix_rank(found.train) == 3


@pytest.mark.parametrize("features", ["log_mel", "waveform"])
def test_sounds_of_different_lengths_become_statistics(features: str) -> None:
    from mmdistill.evaluation.diagnosis.plain import _sound

    generator = torch.Generator().manual_seed(0)
    values = (
        torch.randn(3, 2000, generator=generator)
        if features == "waveform"
        else torch.randn(3, 50, 8, generator=generator)
    )
    mask = torch.arange(values.shape[1])[None] < torch.tensor([values.shape[1], values.shape[1] // 2, 1])[:, None]
    found = _sound({"values": values, "mask": mask})
    assert found.shape == (3, 9 * (40 if features == "waveform" else 8))
    cut = values.shape[1] // 2
    short = _sound({"values": values[1:2, :cut], "mask": mask[1:2, :cut]})
    assert bool(found[:2].isfinite().all())
    if features == "log_mel":
        assert torch.allclose(found[1:2], short, atol=1e-5)


def test_images_are_made_small() -> None:
    from mmdistill.evaluation.diagnosis.plain import _pixels

    assert _pixels({"values": torch.zeros(2, 3, 64, 48, dtype=torch.uint8)}).shape == (2, 3 * 16 * 16)
    assert _pixels({"values": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}).shape == (2, 64)
