"""Numbers as people read them."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.report import numbers
from mmdistill.report.spread import spread


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.score, 0.9316, "0.932"),
        (numbers.score, -0.25, "−0.250"),
        (numbers.score, 12.3456, "12.35"),
        (numbers.score, 123456.0, "123,456"),
        (numbers.signed, 0.0123, "+0.012"),
        (numbers.signed, -0.0123, "−0.012"),
        (numbers.signed, 0.0001, "0.000"),
        (numbers.count, 1_243_786, "1,243,786"),
        (numbers.compact, 998, "998"),
        (numbers.compact, 999.9, "1.00 k"),
        (numbers.compact, 48_210, "48.2 k"),
        (numbers.compact, 1_243_786, "1.24 M"),
        (numbers.compact, 999_999, "1.00 M"),
        (numbers.significant, 0.193, "0.193"),
        (numbers.significant, 99.97, "100"),
        (numbers.significant, 0.0, "0"),
        (numbers.significant, 0.00004, "4.0e−05"),
        (numbers.percent, 0.925, "92.5 %"),
        (numbers.ratio, 25.8, "25.8×"),
        (numbers.duration, 42.1, "42.1 s"),
        (numbers.duration, 192, "3 min 12 s"),
        (numbers.duration, 3840, "1 h 04 min"),
        (numbers.p_value, 0.0001, "< 0.001"),
        (numbers.p_value, 0.412, "0.41"),
        (numbers.interval, (-0.012, 0.034), "[−0.012,\u00a0+0.034]"),
    ],
)
def test_numbers_are_written_for_people(write: object, value: object, text: str) -> None:
    assert callable(write)
    assert write(value) == text
    assert write(None) == numbers.MISSING


@given(st.floats(-1e9, 1e9))
def test_a_score_reads_back_near_its_value(value: float) -> None:
    read = float(numbers.score(value).replace(numbers.MINUS, "-").replace(",", ""))
    assert read == pytest.approx(value, abs=max(5.01e-4, abs(value) * 5.01e-4))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_the_spread_is_mean_and_sample_deviation(values: list[float]) -> None:
    found = spread([*values, None])
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.std == pytest.approx(statistics.stdev(values))
    assert found.count == len(values)


def test_one_value_has_no_deviation_and_none_has_no_spread() -> None:
    one = spread([0.5])
    assert one is not None
    assert one.std is None
    assert spread([None]) is None
