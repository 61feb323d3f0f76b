"""How well one column tells the target: leaks are found, identifiers and chance are not."""

from __future__ import annotations

import numpy as np
import pytest

from mmdistill.data.checks.determination import class_determination, number_determination
from mmdistill.data.checks.rows import combined, content_hash

RANDOM = np.random.default_rng(0)
CLASSES = [str(value) for value in RANDOM.integers(0, 3, 600)]


def test_a_copy_of_the_target_is_perfect_whatever_it_is_called() -> None:
    found = class_determination([f"code {name}" for name in CLASSES], CLASSES)
    assert (found.score, found.rule) == (1.0, "values")
    assert found.skill == 1.0


def test_identifiers_are_no_better_than_chance() -> None:
    for cells in ([f"id-{row}" for row in range(600)], [str(value) for value in RANDOM.permutation(600)]):
        found = class_determination(cells, CLASSES)
        assert abs(found.skill) < 0.15


def test_a_column_that_is_filled_for_one_class_only_is_found_by_its_gaps() -> None:
    cells = [f"{RANDOM.random():.9f}" if name == "0" else None for name in CLASSES]
    found = class_determination(cells, ["a" if name == "0" else "b" for name in CLASSES])
    assert found.score == 1.0


def test_a_threshold_is_found_as_a_range() -> None:
    numbers = RANDOM.random(600)
    found = class_determination(numbers.tolist(), ["high" if number > 0.3 else "low" for number in numbers])
    assert found.rule == "ranges"
    assert found.score > 0.97


def test_a_noisy_column_scores_its_agreement() -> None:
    """A column that shows the class in 80 % of the rows, and another class in the others."""
    cells = [name if RANDOM.random() < 0.8 else str((int(name) + 1) % 3) for name in CLASSES]
    assert class_determination(cells, CLASSES).score == pytest.approx(0.8, abs=0.05)


def test_an_empty_column_tells_nothing() -> None:
    found = class_determination([None] * 600, CLASSES)
    assert found.gained_rows <= 0


def test_numbers_are_scored_by_explained_variance() -> None:
    target = RANDOM.normal(size=2000)
    assert number_determination((target * 3).tolist(), target.tolist()).score > 0.95
    assert number_determination(RANDOM.normal(size=2000).tolist(), target.tolist()).score < 0.05
    assert number_determination(["a"] * 10, [1.0] * 10).score == 0


def test_many_classes_stay_within_bounded_memory() -> None:
    names = [f"class {row // 2}" for row in range(2000)]
    assert class_determination(names, names).rows == 2000


def test_hashes_tell_content_apart_and_gaps_are_zero() -> None:
    cells = ["1", 1, b"1", ["1"], {"a": "1"}, np.array([1]), np.array([1.0]), "", 1.5]
    assert len({content_hash([cell]) for cell in cells}) == len(cells)
    assert content_hash([None, None]) == 0
    assert content_hash([{"bytes": b"x", "path": "a"}]) == content_hash([{"bytes": b"x", "path": "b"}])
    one, two = np.array([1, 2], dtype=np.uint64), np.array([2, 1], dtype=np.uint64)
    assert combined([one, two])[0] != combined([one, two])[1]
    assert combined([np.zeros(2, np.uint64)]).tolist() == [0, 0]
