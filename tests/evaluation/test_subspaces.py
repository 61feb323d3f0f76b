"""Shared and private vectors as a plane and as cosines."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmdistill.errors import InputError
from mmdistill.evaluation.subspaces import subspaces

COLUMNS = ("image", "sound", "note")


def vectors(rows: int = 8, dim: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, 3, dim)), generator.normal(size=(rows, 3, dim))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_cosines_are_those_of_every_pair_that_is_there() -> None:
    shared, private = vectors()
    present = np.random.default_rng(1).random((8, 3)) < 0.6
    there = [(row, column) for row, column in np.argwhere(present)]
    same, others = [], []
    for row, column in there:
        for row_2, column_2 in there:
            if column < column_2:
                (same if row == row_2 else others).append(cosine(shared[row, column], shared[row_2, column_2]))
    found = subspaces(shared, private, COLUMNS, present)["cosine"]
    assert found["same_row"] == pytest.approx(np.mean(same))
    assert found["other_rows"] == pytest.approx(np.mean(others))
    own = [cosine(shared[place], private[place]) for place in there]
    assert found["shared_private"] == pytest.approx(np.mean(own))


def test_the_plane_is_that_of_the_principal_components() -> None:
    from sklearn.decomposition import PCA

    shared, private = vectors(20)
    found = subspaces(shared, private, COLUMNS)
    fitted = PCA(2).fit(np.stack([shared, private]).reshape(-1, 5))
    assert found["explained"] == pytest.approx(fitted.explained_variance_ratio_.tolist())
    for part, values in (("shared", shared), ("private", private)):
        for index, column in enumerate(COLUMNS):
            expected = fitted.transform(values[:, index])
            assert np.abs(found[part][column]) == pytest.approx(np.abs(expected))


def test_rows_that_agree_are_told_from_rows_that_do_not() -> None:
    said = np.random.default_rng(0).normal(size=(50, 1, 16))
    found = subspaces(np.repeat(said, 3, axis=1), -np.repeat(said, 3, axis=1), COLUMNS)["cosine"]
    assert found["same_row"] == pytest.approx(1)
    assert abs(found["other_rows"]) < 0.1
    assert found["shared_private"] == pytest.approx(-1)


def test_at_most_so_many_rows_are_shown_evenly_over_the_table() -> None:
    shared, private = vectors(1000)
    found = subspaces(shared, private, COLUMNS)
    assert (found["rows"], found["shown"]) == (1000, 300)
    assert all(len(found[part][column]) == 300 for part in ("shared", "private") for column in COLUMNS)
    ten = subspaces(shared, private, COLUMNS, most=10)
    assert ten["shown"] == 10
    assert ten["cosine"] == found["cosine"]


def test_what_is_absent_is_neither_read_nor_shown() -> None:
    shared, private = vectors()
    present = np.ones((8, 3), dtype=bool)
    present[3:, 1] = False
    expected = subspaces(shared, private, COLUMNS, present)
    shared[3:, 1], private[3:, 1] = np.nan, np.inf
    assert subspaces(shared, private, COLUMNS, present) == expected
    assert [len(expected["shared"][column]) for column in COLUMNS] == [8, 3, 8]


def test_the_result_is_json_and_the_same_each_time() -> None:
    shared, private = vectors()
    found = subspaces(shared.astype(np.float32), private.astype(np.float32), COLUMNS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert subspaces(shared.astype(np.float32), private.astype(np.float32), COLUMNS) == found


@pytest.mark.parametrize("rows", [0, 3])
def test_without_anything_there_are_no_points_and_no_cosines(rows: int) -> None:
    shared, private = vectors(rows)
    found = subspaces(shared, private, COLUMNS, np.zeros((rows, 3), dtype=bool))
    assert (found["rows"], found["shown"]) == (rows, 0)
    assert found["shared"] == {"image": [], "sound": [], "note": []}
    assert set(found["cosine"].values()) == {None}


def test_vectors_that_are_all_alike_or_of_one_number_have_a_plane() -> None:
    same = np.ones((4, 3, 5))
    assert subspaces(same, same, COLUMNS)["explained"] == [0.0, 0.0]
    shared, private = vectors(4, dim=1)
    found = subspaces(shared, private, COLUMNS)
    assert found["explained"] == pytest.approx([1.0, 0.0])
    assert all(y == 0 for _, y in found["shared"]["image"])


def test_shapes_that_do_not_belong_together_and_broken_numbers_are_refused() -> None:
    shared, private = vectors()
    with pytest.raises(InputError, match="there are 2 columns"):
        subspaces(shared, private, COLUMNS[:2])
    with pytest.raises(InputError, match="Shared vectors have shape"):
        subspaces(shared, private[:4], COLUMNS)
    with pytest.raises(InputError, match="`present` has shape"):
        subspaces(shared, private, COLUMNS, np.ones((8, 2), dtype=bool))
    shared[2, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        subspaces(shared, private, COLUMNS)
