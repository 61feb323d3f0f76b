"""A bar on a terminal, plain lines elsewhere; neither changes what is learnt."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mmdistill.training.progress import Bar, Lines, Silent, progress_for
from tests.training.standins import Memory, equal_weights, new_model, spec, train_model


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=160, color_system=None), text


def test_a_terminal_gets_a_bar_and_a_log_gets_lines() -> None:
    assert isinstance(progress_for(console(True)[0]), Bar)
    assert isinstance(progress_for(console(False)[0]), Lines)


def test_lines_tell_epoch_step_losses_and_score() -> None:
    plain, text = console(False)
    scores = iter([0.5, 0.75, 0.25])
    train_model(new_model(), Memory(), spec(), validate=lambda: next(scores), progress=Lines(plain))
    lines = text.getvalue().splitlines()
    assert lines[0] == "student: 15 steps"
    assert "epoch 2, step 10/15, supervised" in lines[2]
    assert lines[2].endswith("validation 0.7500 (best)")
    assert lines[3].endswith("validation 0.2500")
    assert len(lines) == 4


def test_lines_tell_that_training_goes_on(tmp_path: Path) -> None:
    train_model(new_model(), Memory(), spec(), folder=tmp_path)
    plain, text = console(False)
    train_model(new_model(), Memory(), spec(), folder=tmp_path, progress=Lines(plain))
    assert text.getvalue().splitlines() == ["student: 15 steps, going on after 15"]


def test_the_bar_shows_name_steps_losses_and_score() -> None:
    terminal, text = console(True)
    train_model(new_model(), Memory(), spec(), validate=lambda: 0.5, progress=Bar(terminal))
    for part in ("student", "15/15", "supervised", "epoch 1, validation 0.5000 *"):
        assert part in text.getvalue()


@pytest.mark.parametrize("kind", [Bar, Lines])
def test_looking_on_changes_nothing(kind: type[Bar] | type[Lines]) -> None:
    seen, unseen = new_model(), new_model()
    train_model(seen, Memory(), spec(), progress=kind(console(True)[0]))
    train_model(unseen, Memory(), spec(), progress=Silent())
    assert equal_weights(seen, unseen)
