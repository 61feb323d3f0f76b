"""The terminal shows the same numbers, never cut."""

from __future__ import annotations

import io
import statistics

import pytest
from fake_runs import VARIANTS, helped, hurt
from rich.console import Console

from mmdistill.errors import InputError
from mmdistill.report.terminal import results_table


def shown(renderable: object, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_scores_are_whole_at_every_width(variant: str, width: int) -> None:
    results = VARIANTS[variant]().results()
    text = shown(results_table(results), width)
    assert max(map(len, text.splitlines())) <= width
    for model in results["models"].values():
        score = statistics.fmean(run["metrics"][results["primary_metric"]] for run in model["runs"])
        assert f"{score:.3f}" in text
    assert " ".join(results["verdict"].split()) in " ".join(text.split())


def test_the_verdict_stands_at_the_end_with_its_interval() -> None:
    lines = shown(results_table(hurt().results()), 160).strip().splitlines()
    assert lines[-1].startswith("Distillation hurt: student is worse than baseline")
    assert "95 % interval −0.067 to −0.027" in lines[-1]


def test_an_interval_that_the_verdict_does_not_tell_is_added() -> None:
    run = hurt()
    run.extra = {"verdict": "It did not help."}
    lines = [line.strip() for line in shown(results_table(run.results())).strip().splitlines()]
    assert lines[-3:] == [
        "Distillation hurt",
        "It did not help.",
        "Gain: −0.046 Accuracy, 95 % interval [−0.067,\u00a0−0.027], 3 seeds",
    ]


def test_text_of_users_is_not_read_as_markup() -> None:
    run = helped()
    run.extra = {"verdict": "[red]not markup[/red] [/nothing]"}
    assert "[red]not markup[/red] [/nothing]" in shown(results_table(run.results()))


def test_results_that_are_not_finished_are_refused() -> None:
    with pytest.raises(InputError, match="'name' is missing"):
        results_table({"format": 1})
