"""A column that has stopped getting better is frozen at its best, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from mmdistill.training.balances.branch_stopping import BranchStopping
from mmdistill.training.validation import Standing, Validation
from tests.training.standins import equal_weights, spec
from tests.training.two_columns import balance, new_model, train_model, training_of


def look(loud: float | None, quiet: float, higher: bool = True) -> Validation:
    columns = {"loud": Standing(loud, 1.0, 1.0), "quiet": Standing(quiet, 1.0, 1.0)}
    return Validation(0.5, columns, 1.0, higher)


def stopping(**options: Any) -> BranchStopping:
    made = balance("branch_stopping", training_of(new_model()), **options)
    assert isinstance(made, BranchStopping)
    return made


def test_it_waits_for_so_many_looks_without_a_better_probe() -> None:
    made = stopping(patience=2)
    for number, score in enumerate((0.5, 0.6, 0.6, 0.7, 0.7)):
        made.validated(number, look(score, 0.1 * number))
        assert made.frozen == ()
    made.validated(5, look(0.69, 0.9))
    assert made.frozen == ("loud",)
    made.validated(6, look(0.99, 0.95))
    assert made.frozen == ("loud",)


def test_where_lower_is_better_a_smaller_score_is_progress() -> None:
    made = stopping(patience=1)
    made.validated(1, look(0.5, 0.5, higher=False))
    made.validated(2, look(0.4, 0.6, higher=False))
    assert made.frozen == ("quiet",)


def test_a_score_that_is_not_defined_is_no_look() -> None:
    made = stopping(patience=1)
    made.validated(1, look(None, 0.5))
    made.validated(2, look(None, 0.6))
    assert made.frozen == ()


def test_a_frozen_encoder_is_put_back_to_its_best_look_and_rests() -> None:
    made = stopping(patience=1)
    model = made.training_of.model
    encoder = model.encoders["loud"]
    made.validated(1, look(0.5, 0.5))
    best = {name: value.clone() for name, value in encoder.state_dict().items()}
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    made.validated(2, look(0.4, 0.6))
    assert all(torch.equal(value, best[name]) for name, value in encoder.state_dict().items())
    model.train()
    made.train()
    assert not encoder.training
    assert model.encoders["quiet"].training
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.after_backward(0)
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.encoders["quiet"].parameters())


def test_without_restore_it_stays_as_it_is() -> None:
    made = stopping(patience=1, restore=False)
    encoder = made.training_of.model.encoders["loud"]
    made.validated(1, look(0.5, 0.5))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.fill_(2.0)
    made.validated(2, look(0.4, 0.6))
    assert made.frozen == ("loud",)
    assert all(bool((parameter == 2).all()) for parameter in encoder.parameters())


def test_what_it_knows_is_in_its_state() -> None:
    made, other = stopping(patience=1), stopping(patience=1)
    made.validated(1, look(0.5, 0.5))
    made.validated(2, look(0.4, 0.6))
    other.load_state_dict(made.state_dict())
    assert other.frozen == ("loud",)
    other.validated(3, look(0.4, 0.59))
    assert other.frozen == ("loud", "quiet")


def test_the_weights_of_the_best_epoch_are_kept_before_a_branch_is_put_back() -> None:
    """The epoch in which a branch is put back may be the model's best: its score was that of the weights before."""
    scores: Iterator[tuple[float, float]] = iter([(0.1, 0.5), (0.9, 0.4), (0.2, 0.4)])
    model = new_model()
    at_best: list[dict[str, torch.Tensor]] = []

    def validate() -> Validation:
        score, loud = next(scores)
        if score == 0.9:
            at_best.append({name: value.clone() for name, value in model.state_dict().items()})
        columns = {"loud": Standing(loud, 1.0, 1.0), "quiet": Standing(score, 1.0, 1.0)}
        return Validation(score, columns, 1.0)

    _, (made,) = train_model(model, spec(epochs=3), validate=validate, branch_stopping={"patience": 1})
    assert isinstance(made, BranchStopping)
    assert "loud" in made.frozen
    assert all(torch.equal(value, at_best[0][name]) for name, value in model.state_dict().items())


def test_a_column_that_is_frozen_learns_no_more_while_the_other_does() -> None:
    model = new_model()
    seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []

    def validate() -> Validation:
        both = (model.encoders["loud"].state_dict(), model.encoders["quiet"].state_dict())
        seen.append(({k: v.clone() for k, v in both[0].items()}, {k: v.clone() for k, v in both[1].items()}))
        columns = {"loud": Standing(0.5, 1.0, 1.0), "quiet": Standing(0.1 * len(seen), 1.0, 1.0)}
        return Validation(0.5, columns, 1.0)

    settings = spec(epochs=4, select="last", optimizer={"name": "adamw", "weight_decay": 0.1})
    train_model(model, settings, validate=validate, branch_stopping={"patience": 1})
    first, *_, last = seen
    assert all(torch.equal(first[0][name], last[0][name]) for name in first[0])
    assert not any(torch.equal(seen[1][1][name], last[1][name]) for name in last[1] if "weight" in name)
    assert not equal_weights(model, new_model())
