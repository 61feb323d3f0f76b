"""predictions.parquet: whole or not there, and read back as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.errors import InputError, MMDistillError
from mmdistill.evaluation.predictions import Predictions, read_predictions, write_predictions


def predictions(rows: int = 5, classes: int = 3, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    return Predictions(
        row=np.arange(rows) * 7,
        target=rng.integers(0, classes, rows),
        labelled=np.arange(rows) % 3 != 1,
        outputs={
            name: {"logits": rng.standard_normal((rows, classes)).astype(np.float32)}
            for name in ("image+sound", "sound")
        },
        split=np.array(["test" if row % 2 else "validation" for row in range(rows)]),
        state={"classes": ["a", "b", "ü"], "counts": [1, 2, 3]},
    )


def same(one: Predictions, two: Predictions) -> None:
    np.testing.assert_array_equal(one.row, two.row)
    np.testing.assert_array_equal(one.labelled, two.labelled)
    np.testing.assert_array_equal(one.target[one.labelled], two.target[two.labelled])
    np.testing.assert_array_equal(one.split, two.split)
    assert list(one.outputs) == list(two.outputs)
    for subset, taps in one.outputs.items():
        assert list(taps) == list(two.outputs[subset])
        for tap, values in taps.items():
            np.testing.assert_array_equal(values, two.outputs[subset][tap])
    assert (one.task, one.state) == (two.task, two.state)


@given(rows=st.integers(0, 20), classes=st.integers(1, 5), seed=st.integers(0, 99))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: int, classes: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("predictions") / "predictions.parquet"
    written = predictions(rows, classes, seed)
    write_predictions(path, written)
    same(read_predictions(path), written)


def test_rows_without_a_target_are_null_in_the_file_and_minus_one_when_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions())
    assert pq.read_table(path).column("target").null_count == 2 * 2
    assert (read_predictions(path).target[[1, 4]] == -1).all()


def test_anyone_can_read_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions())
    frame = pq.read_table(path).to_pandas()
    assert list(frame.columns) == ["row", "target", "split", "subset", "logits"]
    assert len(frame) == 10
    assert frame["subset"].tolist() == ["image+sound"] * 5 + ["sound"] * 5
    np.testing.assert_array_equal(np.stack(frame["logits"])[5:], predictions().outputs["sound"]["logits"])


def test_targets_and_outputs_of_several_numbers(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    outputs = {"text": {"values": np.arange(24, dtype=np.float32).reshape(4, 2, 3), "spread": np.arange(4.0)}}
    written = Predictions(
        np.arange(4), np.arange(8.0).reshape(4, 2), np.array([True, False, True, True]), outputs,
        np.array(["test"] * 4), task="regression",
    )  # fmt: skip
    write_predictions(path, written)
    found = read_predictions(path)
    same(found, written)
    assert found.outputs["text"]["values"].shape == (4, 2, 3)


def test_one_split_of_them() -> None:
    chosen = predictions().select("test")
    assert chosen.row.tolist() == [7, 21]
    assert chosen.outputs["sound"]["logits"].shape == (2, 3)


def test_a_file_that_is_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions())
    write_predictions(path, predictions(seed=1))
    same(read_predictions(path), predictions(seed=1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions())

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(MMDistillError, match="disk is full"):
        write_predictions(path, predictions(seed=1))
    monkeypatch.undo()
    same(read_predictions(path), predictions())
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    whole = predictions()
    with pytest.raises(MMDistillError, match="5 rows, but 4 of target"):
        write_predictions(path, replace(whole, target=whole.target[:4]))
    with pytest.raises(MMDistillError, match="subset 'sound'"):
        write_predictions(path, replace(whole, outputs={**whole.outputs, "sound": {"logits": np.zeros((5, 4))}}))
    assert not path.exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    missing, torn, other = (tmp_path / name for name in ("missing", "torn", "other"))
    torn.write_bytes(b"PAR1 nothing")
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(InputError, match="no such file"):
        read_predictions(missing)
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_predictions(torn)
    with pytest.raises(InputError, match="no predictions of format 1"):
        read_predictions(other)
