"""From the cells of a target column to classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.errors import InputError
from mmdistill.tasks.classification import ClassificationTask
from mmdistill.tasks.labels import label


def classes(cells: list[Any], train: list[int] | None = None) -> list[str]:
    found: list[str] = ClassificationTask().fit(cells, range(len(cells)) if train is None else train)["classes"]
    return found


def test_text_labels_are_sorted_as_text() -> None:
    assert classes(["pear", "apple", "fig", "apple"]) == ["apple", "fig", "pear"]


def test_labels_that_look_like_numbers_are_sorted_by_value_and_keep_their_spelling() -> None:
    assert classes(["10", "9", "2", "-1", "07"]) == ["-1", "2", "07", "9", "10"]
    assert classes(["1.5", "1.25", "10"]) == ["1.25", "1.5", "10"]


def test_one_label_that_is_no_number_makes_all_of_them_text() -> None:
    assert classes(["10", "9", "n/a"]) == ["10", "9", "n/a"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (3, "3"), (np.int64(3), "3"), (3.0, "3"), (2.5, "2.5"), (np.float32(2.0), "2"), (True, "true"),
        (np.bool_(False), "false"), ("  cat ", "cat"), ("NA", "NA"), ("", None), ("  ", None), (None, None),
    ],
)  # fmt: skip
def test_cells_as_labels(cell: Any, expected: str | None) -> None:
    assert label(cell, "row 0") == expected


def test_only_training_rows_make_classes() -> None:
    assert classes(["a", "b", "c"], train=[0, 1]) == ["a", "b"]


def test_training_rows_are_counted_by_class() -> None:
    state = ClassificationTask().fit(["b", "a", "b", None, "a", "b"], [0, 1, 2, 3])
    assert state == {"classes": ["a", "b"], "counts": [1, 2]}


def test_rows_without_a_target_are_unlabelled() -> None:
    task = ClassificationTask()
    cells = ["b", None, "a", ""]
    values, labelled = task.encode(cells, task.fit(cells, range(4)))
    assert values.tolist() == [1, -1, 0, -1]
    assert values.dtype == np.int64
    assert labelled.tolist() == [True, False, True, False]


@given(st.lists(st.one_of(st.none(), st.integers(-30, 30), st.sampled_from(["x", "y y", "Ω"])), min_size=1))
def test_encoding_can_be_undone(cells: list[Any]) -> None:
    task = ClassificationTask()
    if len({str(cell) for cell in cells if cell is not None}) < 2:
        with pytest.raises(InputError):
            task.fit(cells, range(len(cells)))
        return
    state = task.fit(cells, range(len(cells)))
    values, labelled = task.encode(cells, state)
    decoded = [state["classes"][value] if known else None for value, known in zip(values, labelled, strict=True)]
    assert decoded == [None if cell is None else str(cell) for cell in cells]
    assert sum(state["counts"]) == labelled.sum()


# Bad input


def test_one_class_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="same class, 'yes'"):
        classes(["yes", "yes", None])


def test_no_target_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="No training row has a target"):
        classes([None, "", "a"], train=[0, 1])


def test_a_class_that_training_does_not_have_names_the_row() -> None:
    task = ClassificationTask()
    cells = ["cat", "dog", "dgo"]
    state = task.fit(cells, [0, 1])
    with pytest.raises(InputError, match=r"pets\.csv, line 4: The class 'dgo' is in no training row.*'dog'"):
        task.encode(cells, state, where=lambda row: f"pets.csv, line {row + 2}")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float32("nan")])
@pytest.mark.parametrize("row", [1, 3])
def test_a_number_that_is_not_finite_names_the_row(number: float, row: int) -> None:
    cells: list[Any] = [1.0, 2.0, 1.0, 2.0]
    cells[row] = number
    task = ClassificationTask()
    with pytest.raises(InputError, match=rf"row {row}: The target is (nan|inf)"):
        task.encode(cells, task.fit(cells, [0, 1, 2]))


@pytest.mark.parametrize("spelling", ["nan", "NaN", "inf"])
def test_the_word_nan_among_numbers_is_refused_and_among_words_a_class(spelling: str) -> None:
    with pytest.raises(InputError, match=f"row 2: The target is '{spelling}'"):
        classes(["1", "2", spelling])
    assert spelling in classes(["chapati", "roti", spelling])


@pytest.mark.parametrize("cell", [["a", "b"], {"a": 1}, np.zeros(3), b"a"])
def test_a_cell_that_is_no_single_label_names_row_and_kind(cell: Any) -> None:
    with pytest.raises(InputError, match="row 1: The target is a "):
        classes(["a", cell])
