"""Modality dropout: independent coins, one column always stays, absent columns stay absent."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmdistill.data.modality_dropouts.independent import drop

MANY = torch.arange(20_000)
EVERYWHERE = torch.ones(len(MANY), dtype=torch.bool)


@given(
    present=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=20),
    probability=st.floats(0, 0.999),
    seed=st.integers(0, 1000),
)
def test_what_stays_was_there_and_something_stays(
    present: list[tuple[bool, bool, bool]], probability: float, seed: int
) -> None:
    had = dict(zip("abc", torch.tensor(present).unbind(1), strict=True))
    kept = drop(had, seed, torch.arange(len(present)), 1, probability)
    stacked_had, stacked_kept = torch.stack(list(had.values())), torch.stack([kept[name] for name in had])
    assert not (stacked_kept & ~stacked_had).any()
    assert torch.equal(stacked_kept.any(0), stacked_had.any(0))


def test_a_column_is_hidden_as_often_as_asked_and_independently() -> None:
    kept = drop({"image": EVERYWHERE, "sound": EVERYWHERE}, 0, MANY, 1, 0.3)
    both = int((kept["image"] & kept["sound"]).sum())
    assert stats.binomtest(both, len(MANY), 0.7 * 0.7).pvalue > 1e-3
    # Alone: seen while the other is hidden (0.7 · 0.3), or spared when both would go (half of 0.3 · 0.3).
    alone = int((kept["image"] & ~kept["sound"]).sum())
    assert stats.binomtest(alone, len(MANY), 0.7 * 0.3 + 0.3 * 0.3 / 2).pvalue > 1e-3


def test_each_row_has_its_own_coin_and_it_changes_with_the_view() -> None:
    had = {"image": EVERYWHERE, "sound": EVERYWHERE}
    first, again, other = (drop(had, 0, MANY, view, 0.5)["image"] for view in (1, 1, 2))
    assert torch.equal(first, again)
    assert 0.3 < (first == other).float().mean() < 0.7


def test_neither_the_batch_nor_the_order_of_columns_matters() -> None:
    kept = drop({"image": EVERYWHERE, "sound": EVERYWHERE}, 0, MANY, 1, 0.5)
    part = drop({"sound": EVERYWHERE[:7], "image": EVERYWHERE[:7]}, 0, MANY[100:107], 1, 0.5)
    assert torch.equal(part["image"], kept["image"][100:107])
    assert torch.equal(part["sound"], kept["sound"][100:107])


def test_the_only_column_is_never_hidden_and_the_input_is_not_changed() -> None:
    had = {"image": EVERYWHERE.clone(), "sound": MANY % 2 == 0}
    before = {name: flags.clone() for name, flags in had.items()}
    kept = drop(had, 0, MANY, 1, 0.9)
    assert kept["image"][1::2].all()
    assert all(torch.equal(had[name], before[name]) for name in had)
    assert drop({"image": EVERYWHERE}, 0, MANY, 1, 0.9)["image"].all()


def test_probability_zero_hides_nothing() -> None:
    assert all(flags.all() for flags in drop({"a": EVERYWHERE, "b": EVERYWHERE}, 0, MANY, 1, 0.0).values())


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_an_impossible_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        drop({"a": EVERYWHERE, "b": EVERYWHERE}, 0, MANY, 1, probability)
