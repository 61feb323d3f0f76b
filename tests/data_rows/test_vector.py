"""Ready-made features: one vector a row or a sequence of them, from lists, arrays and files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from mmdistill.data.features import extractor
from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.moments import Moments
from mmdistill.data.modalities.reader import CellReader
from tests.data_rows.making import extracted, fitted, modality

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


@pytest.mark.parametrize(
    "cell",
    [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3], np.int16), "[1, 2.0, 3e0]", npy(np.array([1.0, 2, 3])),
     {"bytes": npy(np.array([1, 2, 3])), "path": None}],
)  # fmt: skip
def test_one_vector_in_all_its_forms(cell: object) -> None:
    values = extracted("vector", cell)
    assert values.dtype == np.float32
    assert values.tolist() == [1, 2, 3]


@pytest.mark.parametrize("cell", [ROWS, ROWS.tolist(), json.dumps(ROWS.tolist()), npy(ROWS)])
def test_a_sequence_in_all_its_forms(cell: object) -> None:
    np.testing.assert_array_equal(extracted("vector", cell), ROWS)
    np.testing.assert_array_equal(extracted("vector", cell, max_length=2), ROWS[:2])


def test_files_beside_the_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS[1])
    np.savez(tmp_path / "b.npz", first=ROWS[2], second=ROWS[3])
    assert extracted("vector", "a.npy", tmp_path).tolist() == ROWS[1].tolist()
    assert extracted("vector", "b.npz", tmp_path, key="second").tolist() == ROWS[3].tolist()
    with pytest.raises(CellError, match=r"several arrays \(first, second\). Name one with `key`"):
        extracted("vector", "b.npz", tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("cell", [2, "2", 2.0, np.int64(2)])
def test_rows_of_one_array_for_the_whole_table(tmp_path: Path, save: object, cell: object) -> None:
    save(tmp_path / "f.npz", audio=ROWS, video=ROWS * 2)  # type: ignore[operator]
    assert extracted("vector", cell, tmp_path, root="f.npz", key="video").tolist() == (ROWS[2] * 2).tolist()


def test_rows_of_a_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", ROWS)
    assert extracted("vector", 3, tmp_path, root="f.npy").tolist() == ROWS[3].tolist()


@pytest.mark.parametrize(
    ("cell", "message"),
    [(4, "asks for row 4 of f.npz, which has rows 0 to 3"), (-1, "asks for row -1"), ("x", "not the number of a row"),
     (1.5, "not the number of a row"), (True, "not the number of a row"), (float("nan"), "not the number of a row")],
)  # fmt: skip
def test_rows_that_are_not_there(tmp_path: Path, cell: object, message: str) -> None:
    np.savez(tmp_path / "f.npz", a=ROWS)
    with pytest.raises(CellError, match=message):
        extracted("vector", cell, tmp_path, root="f.npz")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": "f.npz", "key": "audoi"}, r"no array 'audoi'. Did you mean 'audio'"),
        ({"root": "g.npz", "key": "audio"}, "g.npz, which is not there"),
        ({"root": "f.npz", "key": "audio", "max_megabytes": 0.00001}, "more than max_megabytes"),
        ({"root": "f.npz", "key": "scalar"}, "has no rows"),
        ({"root": "f.npz", "key": "objects"}, "without pickle"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    np.savez(tmp_path / "f.npz", audio=ROWS, scalar=np.float32(1), objects=objects)
    with pytest.raises(CellError, match=message):
        extracted("vector", 0, tmp_path, **settings)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([1.0, float("nan")], "NaN or infinity"),
        ("[1, Infinity]", "NaN or infinity"),
        ([1e300], "NaN or infinity"),
        ([[1, 2], [3]], "differ in length"),
        ("[1, 2", "not a list in JSON"),
        ("[" * 100_000, "not a list in JSON"),
        ("[]", r"shape \(0,\)"),
        ([["a"]], "not of numbers"),
        ([1 + 2j], "not of numbers"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (3.5, r"is a number \(3.5\), not a vector"),
        ({"a": 1}, "a mapping with the keys a"),
        (b"no array", "without pickle"),
        (npy(np.array([None, 1], dtype=object), allow_pickle=True), "without pickle"),
    ],
)
def test_says_what_is_wrong_with_a_vector(cell: object, message: str) -> None:
    with pytest.raises(CellError, match=message):
        extracted("vector", cell)


def test_every_row_has_the_shape_of_the_first() -> None:
    extract = extractor(fitted("vector", [[1.0, 2.0]]), CellReader(None))
    with pytest.raises(CellError, match=r"has the shape \(3,\), not \(2,\) as the first training row"):
        extract({"x": [1.0, 2.0, 3.0]})
    with pytest.raises(CellError, match=r"has the shape \(1, 2\), not \(2,\)"):
        extract({"x": [[1.0, 2.0]]})
    extract = extractor(fitted("vector", [ROWS]), CellReader(None))
    assert extract({"x": ROWS[:1]})["values"].shape == (1, 3)  # type: ignore[index]
    with pytest.raises(CellError, match=r"not \(length, 3\)"):
        extract({"x": ROWS[:, :2]})


def test_the_recipe_may_say_what_rows_are() -> None:
    assert extracted("vector", ROWS, sequence=True).shape == (4, 3)
    with pytest.raises(CellError, match="`sequence` is false"):
        extracted("vector", ROWS, sequence=False)
    with pytest.raises(CellError, match="`sequence` is true"):
        extracted("vector", ROWS[0], sequence=True)


def test_state_holds_the_statistics() -> None:
    info = fitted("vector", list(ROWS))
    assert (info.state["dim"], info.state["sequence"]) == (3, False)
    np.testing.assert_allclose(info.state["mean"], ROWS.mean(axis=0))
    np.testing.assert_allclose(info.state["std"], ROWS.std(axis=0))
    assert fitted("vector", [ROWS, ROWS[:2]]).arrays["values"].sequence


@pytest.mark.parametrize("cell", [None, "", "  "])
def test_absence(cell: object) -> None:
    assert modality("vector").absent({"x": cell})
    assert not modality("vector").absent({"x": [0.0]})


def test_moments_do_not_cancel_and_do_not_depend_on_the_grouping() -> None:
    values = 1e9 + np.random.default_rng(0).standard_normal((1_000, 2))
    for cuts in ([500], [1, 2, 900], list(range(1, 1000))):
        moments = Moments(2)
        for part in np.split(values, cuts):
            moments.update(part)
        np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(moments.std, values.std(axis=0), rtol=1e-6)
