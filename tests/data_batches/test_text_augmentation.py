"""Texts: tokens go and swap as often as asked, special tokens and padding stay, and something always remains."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from mmdistill.data.augmentations.catalog import TextAugmentation
from mmdistill.data.augmentations.text import apply, parameters
from tests.data_batches.stand_in import text_info

SPECIAL = json.dumps(
    {
        "added_tokens": [
            {"id": 0, "content": "[PAD]", "special": True},
            {"id": 1, "content": "[UNK]", "special": True},
            {"id": 101, "content": "[CLS]", "special": True},
            {"id": 102, "content": "[SEP]", "special": True},
            {"id": 50, "content": "new", "special": False},
        ]
    }
)


def batch(texts: list[list[int]]) -> dict[str, Tensor]:
    longest = max(len(text) for text in texts)
    values = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[True] * len(text) + [False] * (longest - len(text)) for text in texts])
    return {"values": values, "mask": mask}


def vary(arrays: dict[str, Tensor], info=None, view: int = 1, **amounts: float) -> dict[str, Tensor]:
    rows = torch.arange(len(arrays["values"]))
    drawn = parameters(TextAugmentation(**amounts), 0, rows, torch.full_like(rows, view))
    return apply(arrays, drawn, info or text_info())


def texts_of(arrays: dict[str, Tensor]) -> list[list[int]]:
    return [row[mask].tolist() for row, mask in zip(arrays["values"], arrays["mask"], strict=True)]


@given(
    texts=st.lists(st.lists(st.integers(2, 99), min_size=1, max_size=9), min_size=1, max_size=12),
    drop=st.floats(0.01, 0.99),
    view=st.integers(1, 50),
)
def test_what_remains_is_a_part_of_the_text_in_its_order(texts: list[list[int]], drop: float, view: int) -> None:
    varied = vary(batch(texts), view=view, drop=drop)
    for text, left, mask, values in zip(texts, texts_of(varied), varied["mask"], varied["values"], strict=True):
        assert left
        rest = iter(text)
        assert all(token in rest for token in left)  # a subsequence
        assert mask[: len(left)].all()
        assert not mask[len(left) :].any()
        assert (values[len(left) :] == 0).all()


def test_tokens_go_as_often_as_asked_and_those_of_a_row_independently() -> None:
    arrays = batch([list(range(2, 42))] * 1000)
    kept = [len(text) for text in texts_of(vary(arrays, drop=0.25))]
    assert stats.binomtest(sum(kept), 40_000, 0.75).pvalue > 1e-3
    # The counts of a binomial distribution have this variance; one coin for a whole text would have 30 times as much.
    assert torch.tensor(kept).float().var() == pytest.approx(40 * 0.25 * 0.75, rel=0.2)


def test_the_token_that_stays_of_a_short_text_is_any_of_them() -> None:
    left = [text[0] for text in texts_of(vary(batch([[5, 6, 7]] * 900), drop=0.99)) if len(text) == 1]
    assert stats.chisquare([left.count(token) for token in (5, 6, 7)]).pvalue > 1e-3


@pytest.mark.parametrize("amounts", [{"drop": 0.9}, {"swap": 1.0}, {"drop": 0.9, "swap": 1.0}])
def test_special_tokens_stay_where_they_belong_and_a_token_between_them(amounts: dict[str, float]) -> None:
    arrays = batch([[101, 5, 6, 1, 7, 102], [101, 8, 102]] * 20)
    for text in texts_of(vary(arrays, text_info(tokenizer=SPECIAL), **amounts)):
        assert text[0] == 101
        assert text[-1] == 102
        assert len(text) >= 3
        assert not {101, 102} & set(text[1:-1])


def test_unknown_and_added_words_can_go_as_words_do() -> None:
    lost = texts_of(vary(batch([[101, 1, 50, 102]] * 60), text_info(tokenizer=SPECIAL), drop=0.5))
    assert {tuple(text) for text in lost} >= {(101, 1, 102), (101, 50, 102)}


def test_every_disjoint_pair_swaps_at_chance_one() -> None:
    swapped = {tuple(text) for text in texts_of(vary(batch([[2, 3, 4, 5, 6]] * 40), swap=1.0))}
    assert swapped == {(3, 2, 5, 4, 6), (2, 4, 3, 6, 5)}


def test_swapping_moves_a_token_by_one_place_at_most_and_loses_none() -> None:
    text = list(range(2, 30))
    moved = texts_of(vary(batch([text] * 400), swap=0.3))
    assert all(sorted(tokens) == text for tokens in moved)
    assert max(abs(token - 2 - place) for tokens in moved for place, token in enumerate(tokens)) == 1
    share = sum(token - 2 != place for tokens in moved for place, token in enumerate(tokens)) / (400 * len(text))
    assert share == pytest.approx(0.3 * 27 / 28, abs=0.02)  # one token in 28 has no partner


def test_a_longer_limit_on_length_shows_the_same_view() -> None:
    arrays = batch([list(range(2, 22))] * 50)
    short = {name: values[:, :10] for name, values in arrays.items()}
    first, second = vary(arrays, drop=0.3), vary(short, drop=0.3)
    for long_text, short_text in zip(texts_of(first), texts_of(second), strict=True):
        assert long_text[: len(short_text)] == short_text


def test_an_empty_text_stays_empty() -> None:
    arrays = {"values": torch.zeros(3, 4, dtype=torch.int64), "mask": torch.zeros(3, 4, dtype=torch.bool)}
    varied = vary(arrays, drop=0.5, swap=0.5)
    assert not varied["mask"].any()
    assert not varied["values"].any()
