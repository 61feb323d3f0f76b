"""Several columns of the table as one modality: standardised numbers, indices of categories, missing values."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.data.cells import Cell
from mmdistill.data.features import FeatureInfo, describe_feature, extractor
from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.numbers import Reservoir, normal_scores, parse_category, parse_number
from mmdistill.data.modalities.reader import CellReader
from mmdistill.errors import InputError
from tests.data_rows.making import feature, modality

Row = dict[str, Cell]


def learnt(rows: list[Row], **settings: object) -> FeatureInfo:
    own = feature("tabular", **settings)
    built = own.modality(CellReader(None))
    return describe_feature(own, built, built.fit(iter(rows)))


def numbers(cells: list[Cell], wanted: Cell, **settings: object) -> tuple[float, bool]:
    info = learnt([{"age": cell} for cell in cells], numeric=["age"], **settings)
    arrays = extractor(info, CellReader(None))({"age": wanted})
    if arrays is None:
        pytest.fail("the row is absent")
    return float(arrays["numeric"][0]), bool(arrays["missing"][0])


def test_numbers_are_standardised_over_training_rows() -> None:
    cells: list[Cell] = ["10", 20, 30.0, " 40 "]
    values = np.array([10, 20, 30, 40.0])
    assert numbers(cells, "50") == (pytest.approx((50 - values.mean()) / values.std()), False)


@pytest.mark.parametrize(("impute", "stands"), [("median", 2.0), ("mean", 26.0)])
def test_a_missing_number_is_marked_and_imputed_in_standardised_units(impute: str, stands: float) -> None:
    rows: list[Row] = [{"age": number, "sex": "f"} for number in (1, 2, 2, 99)]
    info = learnt(rows, numeric=["age"], categorical=["sex"], impute=impute)
    arrays = extractor(info, CellReader(None))({"age": "", "sex": "f"})
    assert arrays is not None
    values = np.array([1, 2, 2, 99.0])
    assert arrays["missing"].tolist() == [True]
    assert arrays["numeric"][0] == pytest.approx((stands - values.mean()) / values.std(), rel=1e-6)


def test_categories_have_an_index_for_missing_and_for_unknown() -> None:
    rows: list[Row] = [{"sex": sex, "ward": 1} for sex in ("f", "f", "f", "m", "m", "rare")]
    info = learnt(rows, categorical=["sex", "ward"])
    extract = extractor(info, CellReader(None))

    def index(sex: Cell) -> int:
        arrays = extract({"sex": sex, "ward": 1})
        assert arrays is not None
        return int(arrays["categorical"][0])

    assert [index(sex) for sex in (None, " ", "new", "rare", "f", " m ")] == [0, 0, 1, 1, 2, 3]
    assert info.state["cardinalities"] == [4, 3]
    assert info.state["categorical"][0] == {"name": "sex", "categories": ["f", "m"]}


def test_equal_numbers_are_one_category_however_they_are_written() -> None:
    assert {parse_category(cell) for cell in (3, 3.0, "3", " 3", np.int64(3), Decimal(3))} == {"3"}
    assert (parse_category(True), parse_category(3.5)) == ("true", "3.5")


def test_only_the_most_frequent_categories_are_kept() -> None:
    rows: list[Row] = [{"c": name} for name in "aaabbbccd"]
    info = learnt(rows, categorical=["c"], max_categories=2, min_count=1)
    assert info.state["categorical"][0]["categories"] == ["a", "b"]


def test_equal_counts_are_ordered_by_name_so_that_row_order_does_not_matter() -> None:
    one = learnt([{"c": name} for name in "xxyyzz"], categorical=["c"])
    other = learnt([{"c": name} for name in "zyxzyx"], categorical=["c"])
    assert one.state == other.state


@pytest.mark.parametrize("cells", [{"age": None, "sex": None}, {"age": "", "sex": "  "}])
def test_the_row_is_absent_only_when_all_its_cells_are(cells: Row) -> None:
    own = modality("tabular", numeric=["age"], categorical=["sex"])
    assert own.absent(cells)
    assert not own.absent({**cells, "sex": "f"})
    assert not own.absent({**cells, "age": 0})


@pytest.mark.parametrize("word", ["NA", "abc", "nan", "1,234", "1_000", "0x10", "12 kg", "٣"])
def test_a_word_is_refused_with_what_to_do(word: str) -> None:
    with pytest.raises(CellError, match=r"The cell of 'age' .*not a number. Leave the cell empty"):
        numbers([1, 2], word)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999", float("inf"), float("-inf"), 10**400])
def test_infinity_is_refused(cell: Cell) -> None:
    with pytest.raises(CellError, match=r"The cell of 'age' is not finite"):
        numbers([1, 2], cell)


@pytest.mark.parametrize("cell", [[1], {"a": 1}, b"1", np.zeros(3)])
def test_what_is_no_number_and_no_category_is_refused(cell: Cell) -> None:
    with pytest.raises(CellError, match="not a number"):
        parse_number(cell)
    with pytest.raises(CellError, match="not a category"):
        parse_category(cell)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_being_written(number: float) -> None:
    assert parse_number(repr(number)) == number


@pytest.mark.parametrize(
    ("cell", "number"), [("1.", 1), (".5", 0.5), ("-2e3", -2000), (True, 1), (Decimal("2.5"), 2.5)]
)
def test_ways_to_write_a_number(cell: Cell, number: float) -> None:
    assert parse_number(cell) == number


@pytest.mark.parametrize("cell", [None, "", "  ", float("nan"), np.float32("nan")])
def test_nothing_is_no_number(cell: Cell) -> None:
    assert parse_number(cell) is None


def test_log_scaling_tames_large_numbers_and_keeps_the_sign() -> None:
    cells: list[Cell] = [-1000, -10, 0, 10, 1000]
    value, _ = numbers(cells, 1000, scaling="log")
    mirrored, _ = numbers(cells, -1000, scaling="log")
    assert value == pytest.approx(-mirrored)
    logs = np.log1p([1000, 10, 0, 10, 1000])
    assert value == pytest.approx(np.log1p(1000) / np.sqrt(np.mean(logs**2)), rel=1e-6)


def test_quantile_scaling_gives_a_normal_distribution_and_bounds_outliers() -> None:
    rng = np.random.default_rng(0)
    cells: list[Cell] = np.exp(3 * rng.standard_normal(4_000)).tolist()
    info = learnt([{"age": cell} for cell in cells], numeric=["age"], scaling={"age": "quantile"})
    extract = extractor(info, CellReader(None))
    values = np.array([extract({"age": cell})["numeric"][0] for cell in cells[:1_000]])  # type: ignore[index]
    assert abs(values.mean()) < 0.1
    assert abs(values.std() - 1) < 0.1
    assert abs(((values < 1).mean()) - 0.841) < 0.03
    assert abs(extract({"age": 1e300})["numeric"][0]) < 4  # type: ignore[index]


def test_normal_scores_of_ties_take_the_middle_of_their_ranks() -> None:
    scores = normal_scores(np.array([5.0] * 10))
    assert scores["knots"] == [5.0]
    assert scores["scores"] == pytest.approx([0.0])


def test_a_constant_column_is_zero() -> None:
    assert numbers([7, 7, 7], 7) == (0.0, False)
    assert numbers([0.1] * 3, 0.1) == (pytest.approx(0, abs=1e-12), False)


def test_a_number_that_training_rows_never_have_is_always_missing() -> None:
    info = learnt([{"age": None, "sex": "f"}] * 2, numeric=["age"], categorical=["sex"], scaling="quantile")
    arrays = extractor(info, CellReader(None))({"age": 3, "sex": "f"})
    assert arrays is not None
    assert np.isfinite(arrays["numeric"]).all()


def test_a_number_far_beyond_float32_is_refused() -> None:
    with pytest.raises(CellError, match="too far from the training rows"):
        numbers([1, 2, 3], 1e300)


def test_training_numbers_too_large_to_standardise_are_named() -> None:
    with pytest.raises(InputError, match="'age' are too large to standardise"):
        numbers([1e300, -1e300, 5], 5)


def test_arrays_are_described() -> None:
    info = learnt([{"a": 1, "b": 2, "c": "x"}] * 2, numeric=["a", "b"], categorical=["c"])
    assert {name: (spec.shape, spec.dtype) for name, spec in info.arrays.items()} == {
        "numeric": ((2,), "float32"),
        "missing": ((2,), "bool"),
        "categorical": ((1,), "int64"),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name the columns"),
        ({"numeric": ["a"], "categorical": ["a"]}, "named twice: a"),
        ({"numeric": ["a"], "scaling": {"b": "log"}}, "not numeric: b"),
        ({"numeric": ["a"], "scaling": "cubic"}, "data.columns.x.scaling"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        feature("tabular", **settings)


def test_a_sample_of_a_long_stream_is_even_and_the_same_each_time() -> None:
    samples = []
    for _ in range(2):
        reservoir = Reservoir(1_000)
        for number in range(20_000):
            reservoir.add(number)
        samples.append(reservoir.values)
    np.testing.assert_array_equal(*samples)
    assert len(np.unique(samples[0])) == 1_000
    assert abs(samples[0].mean() - 10_000) < 600
