"""Random numbers of a row and a view: a pure function, uniform, and independent in every argument."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmdistill.data.views import chance, derive, integers, keys, normal, normal_from, uniform, uniform_from

MANY = torch.arange(20_000)
int64 = st.integers(-(2**63), 2**63 - 1)


def splitmix64(state: int) -> int:
    """The next output of SplitMix64, in Python's unbounded integers."""
    mask = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@given(int64)
def test_the_draws_of_a_key_are_those_of_splitmix64(key: int) -> None:
    drawn = uniform_from(torch.tensor([key]), (3,))[0].tolist()
    state, expected = key & ((1 << 64) - 1), []
    for _ in range(3):
        expected.append((splitmix64(state) >> 40) / 2**24)
        state = (state + 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
    assert drawn == expected


def test_splitmix64_of_zero_is_the_published_value() -> None:
    assert splitmix64(0) == 0xE220A8397B1DCDAF


@given(
    seed=st.integers(-(2**70), 2**70),
    rows=st.lists(st.integers(0, 2**40), min_size=1, max_size=8),
    view=st.integers(0, 99),
)
def test_a_row_has_its_numbers_whatever_the_batch_it_is_in(seed: int, rows: list[int], view: int) -> None:
    together = uniform(seed, torch.tensor(rows), view, "crop", (2, 3))
    alone = torch.cat([uniform(seed, torch.tensor([row]), torch.tensor([view]), "crop", (2, 3)) for row in rows])
    assert torch.equal(together, alone)


def test_views_may_differ_from_row_to_row() -> None:
    rows, views = torch.tensor([5, 5, 9]), torch.tensor([1, 2, 1])
    drawn = uniform(0, rows, views, "x")
    assert drawn[0] == uniform(0, rows[:1], 1, "x") != drawn[1] == uniform(0, rows[:1], 2, "x")


@pytest.mark.parametrize("draw", [uniform_from, normal_from])
def test_more_padding_at_the_end_of_the_first_axis_changes_nothing(draw) -> None:
    key = keys(3, torch.arange(4), 1, "noise")
    assert torch.equal(draw(key, (9, 5))[:, :7], draw(key, (7, 5)))
    assert torch.equal(draw(key, (8,))[:, :7], draw(key, (7,)))


def test_shapes_types_and_range() -> None:
    rows = torch.arange(6)
    assert uniform(0, rows, 1, "a").shape == (6,)
    assert uniform(0, rows, 1, "a", (2, 0, 3)).shape == (6, 2, 0, 3)
    assert normal(0, rows, 1, "a", (3, 3)).shape == (6, 3, 3)
    assert uniform(0, rows[:0], 1, "a", (2,)).shape == (0, 2)
    drawn = uniform(0, MANY, 1, "a", (5,))
    assert drawn.dtype == torch.float32
    assert 0 <= drawn.min() < drawn.max() < 1


def test_the_arguments_are_not_changed() -> None:
    rows, views = torch.arange(4), torch.ones(4, dtype=torch.int64)
    normal(0, rows, views, "a", (3,))
    assert rows.tolist() == [0, 1, 2, 3]
    assert views.tolist() == [1, 1, 1, 1]


def assert_uniform(values: torch.Tensor) -> None:
    assert stats.kstest(values.double().numpy().ravel(), "uniform").pvalue > 1e-3


def assert_unrelated(first: torch.Tensor, second: torch.Tensor) -> None:
    """Neither correlated nor dependent: a chi-square test on an 8 × 8 table of the two."""
    table = np.histogram2d(first.numpy().ravel(), second.numpy().ravel(), bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_numbers_are_uniform_along_rows_views_positions_and_seeds() -> None:
    one = torch.zeros(1, dtype=torch.int64)
    assert_uniform(uniform(0, MANY, 1, "a"))
    assert_uniform(uniform(0, one.expand(len(MANY)), MANY, "a"))
    assert_uniform(uniform(0, one, 1, "a", (20_000,)))
    assert_uniform(torch.cat([uniform(seed, one, 1, "a") for seed in range(2_000)]))
    assert_uniform(torch.cat([uniform(0, one, 1, stream) for stream in range(2_000)]))


def test_every_bit_is_even() -> None:
    whole = (uniform(0, MANY, 1, "bits") * 2**24).to(torch.int64)
    for bit in range(24):
        ones = int(((whole >> bit) & 1).sum())
        assert stats.binomtest(ones, len(MANY)).pvalue > 1e-5


def test_neighbours_are_independent() -> None:
    drawn = uniform(0, MANY, 1, "a", (2,))
    assert_unrelated(drawn[:-1, 0], drawn[1:, 0])  # rows
    assert_unrelated(drawn[:, 0], drawn[:, 1])  # positions
    assert_unrelated(drawn[:, 0], uniform(0, MANY, 2, "a"))  # views
    assert_unrelated(drawn[:, 0], uniform(0, MANY, 1, "b"))  # streams
    assert_unrelated(drawn[:, 0], uniform(1, MANY, 1, "a"))  # seeds
    assert_unrelated(uniform(0, MANY, 2, "a"), uniform(0, MANY + 1, 1, "a"))  # the diagonal of rows and views


def test_keys_do_not_collide() -> None:
    rows, views = torch.arange(300).repeat(300), torch.arange(300).repeat_interleave(300)
    assert len(keys(0, rows, views, "a").unique()) == 90_000


def test_normal_numbers_are_normal_and_finite() -> None:
    drawn = normal(0, MANY, 1, "n", (4,))
    assert stats.kstest(drawn.double().numpy().ravel(), "norm").pvalue > 1e-3
    assert torch.isfinite(drawn).all()
    assert drawn.abs().max() < 6
    correlations = np.corrcoef(drawn.numpy().T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(len(MANY))
    # Two normals of one pair share their radius and angle; squares would be related if the transform were wrong.
    assert abs(np.corrcoef(drawn[:, 0].square().numpy(), drawn[:, 1].square().numpy())[0, 1]) < 4 / math.sqrt(len(MANY))


def test_integers_are_even_over_their_range() -> None:
    drawn = integers(0, MANY, 1, "i", 7)
    assert drawn.min() == 0
    assert drawn.max() == 6
    assert stats.chisquare(torch.bincount(drawn).numpy()).pvalue > 1e-3
    assert integers(0, MANY[:5], 1, "i", 1).tolist() == [0] * 5
    assert integers(0, MANY, 1, "i", 2**31).min() >= 0


@pytest.mark.parametrize("high", [0, -1, 2**31 + 1])
def test_an_empty_or_too_large_range_is_refused(high: int) -> None:
    with pytest.raises(ValueError, match="high"):
        integers(0, MANY, 1, "i", high)


def test_chance_is_never_at_zero_always_at_one_and_as_often_as_asked() -> None:
    assert not chance(0, MANY, 1, "c", 0.0).any()
    assert chance(0, MANY, 1, "c", 1.0).all()
    assert stats.binomtest(int(chance(0, MANY, 1, "c", 0.3).sum()), len(MANY), 0.3).pvalue > 1e-3


def test_seeds_are_derived_for_names_and_numbers_apart() -> None:
    derived = {
        derive(0, "image"),
        derive(0, "sound"),
        derive(1, "image"),
        derive(0, 7),
        derive(0, "7"),
        derive(-1, "image"),
    }
    assert len(derived) == 6
    assert derive(2**64 + 5, "image") == derive(5, "image")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same_numbers() -> None:
    rows = torch.arange(1000)
    assert torch.equal(uniform(9, rows, 3, "a", (7, 3)), uniform(9, rows.cuda(), 3, "a", (7, 3)).cpu())
    torch.testing.assert_close(normal(9, rows, 3, "a", (7,)), normal(9, rows.cuda(), 3, "a", (7,)).cpu())
