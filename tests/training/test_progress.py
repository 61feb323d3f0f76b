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


def test_a_second_training_draws_only_its_own_bar() -> None:
    terminal, text = console(True)
    bar = Bar(terminal)
    train_model(new_model(), Memory(), spec(epochs=1), progress=bar)
    first = text.getvalue()
    train_model(new_model(), Memory(), spec(epochs=2), progress=bar)
    second = text.getvalue()[len(first) :]
    assert "5/5" in first
    assert "10/10" in second
    assert "5/5" not in second


def test_a_long_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, text = console(False)
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr("mmdistill.training.progress.time.monotonic", lambda: next(clock))
    lines = Lines(plain)
    lines.start("student", 100, 0)
    for step in (10, 20, 30):
        lines.step(step)
        lines.losses({"supervised": 0.5, "total": 0.5, "gradient_norm": 1.0, "supervised/gradient_norm": 1.0})
    assert text.getvalue().splitlines() == ["student: 100 steps", "student: step 20/100, supervised 0.5"]


@pytest.mark.parametrize("kind", [Bar, Lines])
def test_looking_on_changes_nothing(kind: type[Bar] | type[Lines]) -> None:
    seen, unseen = new_model(), new_model()
    train_model(seen, Memory(), spec(), progress=kind(console(True)[0]))
    train_model(unseen, Memory(), spec(), progress=Silent())
    assert equal_weights(seen, unseen)
