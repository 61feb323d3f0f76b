"""Every distribution of modality dropout: what all promise, and what each says of its own chances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from mmdistill import catalog
from mmdistill.data.modality_dropouts.build import build_dropout
from mmdistill.data.modality_dropouts.curriculum import Curriculum
from mmdistill.data.modality_dropouts.difficulty import Difficulty
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.data.modality_dropouts.options import DropoutOptions
from mmdistill.data.modality_dropouts.weighted_choice import weighted_choice
from mmdistill.errors import InputError
from mmdistill.recipe.schema import Component, ModelSpec

NAMES = [entry.name for entry in catalog.entries("modality dropout")]
NEEDED: dict[str, dict[str, Any]] = {"listed": {"combinations": {"a": 0.2, "c+b": 0.5, "a+b+c": 0.3}}}
MANY = torch.arange(20_000)
THREE = ("a", "b", "c")
every = pytest.mark.parametrize("name", NAMES)


def made(name: str, columns: tuple[str, ...] = THREE, seed: int = 0, **options: Any) -> ModalityDropout:
    component = Component(name=name, **(NEEDED.get(name, {}) | options))
    dropout = build_dropout(component, columns, seed=seed, total_steps=100)
    assert dropout is not None
    return dropout


def complete(columns: tuple[str, ...] = THREE, rows: int = len(MANY)) -> dict[str, Tensor]:
    return {column: torch.ones(rows, dtype=torch.bool) for column in columns}


def subset_counts(shown: Mapping[str, Tensor]) -> Counter[str]:
    rows = torch.stack([shown[column] for column in sorted(shown)], 1).tolist()
    return Counter("".join(column for column, there in zip(sorted(shown), row, strict=True) if there) for row in rows)


def assert_chances(counts: Counter[str], chances: Mapping[str, float]) -> None:
    assert set(counts) <= set(chances)
    total = sum(counts.values())
    assert sum(chances.values()) == pytest.approx(1)
    expected = [chance / sum(chances.values()) * total for chance in chances.values()]
    assert stats.chisquare([counts[name] for name in chances], expected).pvalue > 1e-3


def taught(dropout: ModalityDropout) -> ModalityDropout:
    """After some observations, where it takes any."""
    for step in range(3):
        shown = dropout(complete(rows=64), torch.arange(64), step)
        dropout.observe(shown, torch.arange(64) / 16 + shown["a"].float(), torch.ones(64))
    return dropout


@every
@settings(max_examples=30, deadline=None)
@given(
    present=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=20),
    seed=st.integers(0, 1000),
    step=st.integers(0, 150),
)
def test_what_is_shown_was_there_and_something_is(
    name: str, present: list[tuple[bool, bool, bool]], seed: int, step: int
) -> None:
    dropout = taught(made(name, seed=seed))
    had = dict(zip(THREE, torch.tensor(present).unbind(1), strict=True))
    before = {column: flags.clone() for column, flags in had.items()}
    shown = dropout(had, torch.arange(len(present)), step)
    stacked_had, stacked_shown = torch.stack(list(had.values())), torch.stack([shown[column] for column in had])
    assert not (stacked_shown & ~stacked_had).any()
    assert torch.equal(stacked_shown.any(0), stacked_had.any(0))
    assert all(torch.equal(had[column], before[column]) for column in had)


@every
def test_row_step_and_seed_decide_and_neither_the_batch_nor_the_order_of_columns(name: str) -> None:
    dropout = taught(made(name))
    shown = dropout(complete(), MANY, 60)
    assert all(torch.equal(flags, dropout(complete(), MANY, 60)[column]) for column, flags in shown.items())
    part = dropout(complete(THREE[::-1], 50), MANY[100:150], 60)
    backwards = taught(made(name, THREE[::-1]))(complete(THREE[::-1]), MANY, 60)
    for column, flags in shown.items():
        assert torch.equal(part[column], flags[100:150])
        assert torch.equal(backwards[column], flags)
    assert any(not torch.equal(flags, dropout(complete(), MANY, 61)[column]) for column, flags in shown.items())
    other = taught(made(name, seed=1))(complete(), MANY, 60)
    assert any(not torch.equal(flags, other[column]) for column, flags in shown.items())


@every
def test_a_resumed_training_hides_the_same(name: str) -> None:
    dropout, resumed = taught(made(name)), made(name)
    resumed.load_state_dict(dropout.state_dict())
    shown, again = dropout(complete(), MANY, 60), resumed(complete(), MANY, 60)
    assert all(torch.equal(again[column], flags) for column, flags in shown.items())


@every
def test_drawing_changes_no_state_and_no_random_numbers_of_torch(name: str) -> None:
    dropout = taught(made(name))
    before = {key: tensor.clone() for key, tensor in dropout.state_dict().items()}
    state = torch.random.get_rng_state()
    dropout(complete(), MANY, 60)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in dropout.state_dict().items())


@every
def test_its_options_say_which_subsets_it_makes(name: str) -> None:
    """Every subset that is drawn is said to be made, and every one that is said to be made is drawn."""
    options = Component(name=name, **NEEDED.get(name, {})).options("modality dropout")
    assert isinstance(options, DropoutOptions)
    dropout = taught(made(name))
    for size in (1, 2, 3):
        for had in combinations(THREE, size):
            present = {column: torch.full((len(MANY),), column in had) for column in THREE}
            drawn = {frozenset(subset) for subset in subset_counts(dropout(present, MANY, 60))}
            every_one = [frozenset(one) for length in (1, 2, 3) for one in combinations(THREE, length)]
            assert drawn == {one for one in every_one if options.makes(one, frozenset(had))}


@every
def test_one_column_is_never_hidden(name: str) -> None:
    assert build_dropout(Component(name=name, **NEEDED.get(name, {})), ("a",), seed=0, total_steps=9) is None


def test_uniform_shows_every_subset_of_what_a_row_has_equally_often() -> None:
    names = ["a", "b", "c", "ab", "ac", "bc", "abc"]
    assert_chances(subset_counts(made("uniform")(complete(), MANY, 3)), dict.fromkeys(names, 1 / 7))
    two = complete() | {"b": torch.zeros(len(MANY), dtype=torch.bool)}
    assert_chances(subset_counts(made("uniform")(two, MANY, 3)), dict.fromkeys(["a", "c", "ac"], 1 / 3))


def test_uniform_takes_many_columns_and_refuses_too_many() -> None:
    columns = tuple(f"c{index:02}" for index in range(30))
    shown = made("uniform", columns)(complete(columns, 4000), MANY[:4000], 0)
    shares = torch.stack(list(shown.values())).float().mean(1)
    assert ((shares - 0.5).abs() < 0.05).all()
    with pytest.raises(InputError, match="at most 30 columns, not 31"):
        made("uniform", (*columns, "more"))


def test_listed_combinations_are_shown_as_often_as_stated() -> None:
    assert_chances(subset_counts(made("listed")(complete(), MANY, 0)), {"a": 0.2, "bc": 0.5, "abc": 0.3})
    halved = {key: value / 2 for key, value in NEEDED["listed"]["combinations"].items()}
    assert_chances(
        subset_counts(made("listed", combinations=halved)(complete(), MANY, 0)), {"a": 0.2, "bc": 0.5, "abc": 0.3}
    )


def test_a_row_without_a_listed_column_is_shown_the_rest() -> None:
    nobody = torch.zeros(len(MANY), dtype=torch.bool)
    # Of a+b+c and a there is nothing but a, and of c+b nothing at all, so that it is not drawn.
    only_a = made("listed")(complete() | {"b": nobody, "c": nobody}, MANY, 0)
    assert subset_counts(only_a) == {"a": len(MANY)}
    without_a = made("listed")(complete() | {"a": nobody}, MANY, 0)
    assert subset_counts(without_a) == {"bc": len(MANY)}
    without_b = made("listed")(complete() | {"b": nobody}, MANY, 0)
    assert_chances(subset_counts(without_b), {"a": 0.2, "c": 0.5, "ac": 0.3})
    unlisted = made("listed", combinations={"a": 1.0})(complete() | {"a": nobody}, MANY, 0)
    assert subset_counts(unlisted) == {"bc": len(MANY)}


@pytest.mark.parametrize(
    ("combinations", "message"),
    [({"a+sond": 1.0}, "'sond'"), ({"a+b": 1.0, "b + a": 2.0}, "twice"), ({"": 1.0}, "''")],
)
def test_combinations_that_make_no_sense_are_refused(combinations: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        made("listed", combinations=combinations)
    assert caught.value.where == "modality_dropout.combinations"


def test_a_combination_with_a_column_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"combinations: 'a\+ a' names the column 'a' twice\. Name it once"):
        made("listed", combinations={"a+ a": 1.0})


def test_a_column_with_a_plus_in_its_name_can_be_listed() -> None:
    shown = made("listed", ("a+b", "c"), combinations={"a+b": 1.0})(complete(("a+b", "c")), MANY, 0)
    assert shown["a+b"].all() and not shown["c"].any()


def test_the_chance_of_a_curriculum_rises_and_then_stays() -> None:
    dropout = made("curriculum", start=0.1, end=0.5, share=0.4)
    assert isinstance(dropout, Curriculum)
    assert [dropout.probability(step) for step in (0, 20, 40, 99)] == pytest.approx([0.1, 0.3, 0.5, 0.5])
    for step in (0, 40):
        hidden = (~dropout(complete(), MANY, step)["a"]).double().mean().item()
        probability = dropout.probability(step)
        assert hidden == pytest.approx(probability - probability**3 / 3, abs=0.015)


def test_a_curriculum_from_zero_begins_with_complete_rows() -> None:
    assert subset_counts(made("curriculum")(complete(), MANY, 0)) == {"abc": len(MANY)}


def difficulty(**options: Any) -> Difficulty:
    dropout = made("difficulty", ("a", "b"), **options)
    assert isinstance(dropout, Difficulty)
    return dropout


def shown_as(*subsets: str) -> dict[str, Tensor]:
    return {column: torch.tensor([column in subset for subset in subsets]) for column in ("a", "b")}


def test_difficulty_follows_the_loss_of_every_subset() -> None:
    dropout = difficulty(momentum=0.75)
    ones = torch.ones(5)
    dropout.observe(shown_as("a", "a", "b", "", "ab"), torch.tensor([1.0, 3.0, 5.0, 99.0, float("nan")]), ones)
    # In the order a, b, ab. A loss that is not finite, and a row that was shown nothing, count nothing.
    assert dropout.losses.tolist() == [2, 5, 0]
    assert dropout.observed.tolist() == [True, True, False]
    known = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    dropout.observe(shown_as("a", "a", "ab", "ab", "ab"), torch.tensor([6.0, 99.0, 1.0, 2.0, 3.0]), known)
    assert dropout.losses.tolist() == [0.75 * 2 + 0.25 * 6, 5, 2]


def test_difficulty_draws_by_the_softmax_of_the_losses_and_explores() -> None:
    dropout = difficulty(temperature=2.0, exploration=0.2)
    dropout.observe(shown_as("a", "b", "ab"), torch.tensor([1.0, 3.0, 0.5]), torch.ones(3))
    softmax = torch.tensor([1.0, 3.0, 0.5]).div(2).softmax(0)
    chances = 0.2 / 3 + 0.8 * softmax
    torch.testing.assert_close(dropout.chances(torch.tensor([[True, True]]))[0], chances)
    assert dropout.chances(torch.tensor([[True, False], [False, False]])).tolist() == [[1, 0, 0], [0, 0, 0]]
    counts = subset_counts(dropout(complete(("a", "b")), MANY, 0))
    assert_chances(counts, dict(zip(["a", "b", "ab"], chances.double().tolist(), strict=True)))


def test_difficulty_begins_uniformly_and_takes_the_unseen_for_hard() -> None:
    dropout, both = difficulty(exploration=0.0), torch.tensor([[True, True]])
    torch.testing.assert_close(dropout.chances(both)[0], torch.full((3,), 1 / 3))
    dropout.observe(shown_as("a", "b"), torch.tensor([1.0, 4.0]), torch.ones(2))
    chances = dropout.chances(both)[0]
    torch.testing.assert_close(chances[2], chances[1])
    assert chances[1] > chances[0]


def test_difficulty_refuses_too_many_columns() -> None:
    columns = tuple(f"c{index:02}" for index in range(10))
    assert len(made("difficulty", columns).losses) == 1023
    with pytest.raises(InputError, match="at most 10 columns, not 11"):
        made("difficulty", (*columns, "more"))


def test_difficulty_asks_for_the_losses() -> None:
    assert [name for name in NAMES if made(name).reads_losses] == ["difficulty"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("listed", {"combinations": {}}),
        ("listed", {"combinations": {"a": 0.0}}),
        ("curriculum", {"start": 0.5, "end": 0.2}),
        ("curriculum", {"end": 1.0}),
        ("curriculum", {"share": 0.0}),
        ("difficulty", {"temperature": 0.0}),
        ("difficulty", {"exploration": 1.1}),
        ("difficulty", {"momentum": 1.0}),
        ("uniform", {"probability": 0.1}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(name, **options)


def test_a_number_is_short_for_independent() -> None:
    spec = ModelSpec.model_validate({"encoders": {"a": "mlp"}, "modality_dropout": 0.3})
    assert spec.modality_dropout == Component(name="independent", probability=0.3)


def test_weighted_choice_never_takes_what_has_no_weight() -> None:
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0]])
    draws = torch.tensor([0.0, 0.2499, 0.25, 1 - 2**-24])
    assert weighted_choice(weights.expand(4, -1), draws).tolist() == [1, 1, 3, 3]
    assert weighted_choice(torch.zeros(1, 3), torch.zeros(1)).tolist() == [0]
    tenths = torch.full((1, 10), 0.1)
    assert weighted_choice(tenths, torch.tensor([1 - 2**-24])).tolist() == [9]
