"""Probes see what each column has learnt and change nothing of the model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.probes import ColumnProbes
from mmdistill.training.progress import _losses_text
from mmdistill.training.seen import SEEN
from tests.training.standins import equal_weights, spec
from tests.training.two_columns import CLASSES, Rows, new_model, phase_of, train_model


def test_a_model_learns_the_same_with_probes_and_without() -> None:
    for changes in ({}, {"clip_norm": 0.1}, {"accumulate": 2, "clip_norm": 0.1}):
        with_probes, without = new_model(), new_model()
        one, _ = train_model(with_probes, spec(**changes))
        other, _ = train_model(without, spec(**changes), probed=False)
        assert equal_weights(with_probes, without)
        for row, plain in zip(one.history, other.history, strict=True):
            assert {name: row[name] for name in plain if name not in ("seconds", "samples_per_second")} == {
                name: plain[name] for name in plain if name not in ("seconds", "samples_per_second")
            }


def test_the_total_and_the_gradient_norm_are_the_models_alone() -> None:
    result, _ = train_model(new_model(), spec())
    for row in result.history:
        assert row["total"] == row["supervised"]
        assert row["probe/loud"] is not None
        assert "probe/loud/gradient_norm" not in row


def test_the_history_has_the_score_of_every_probe_at_every_look(tmp_path: Path) -> None:
    result, _ = train_model(new_model(), spec(epochs=6, learning_rate=0.03), folder=tmp_path)
    looks = [row for row in result.history if row["validation_score"] is not None]
    assert len(looks) == 6
    assert looks[-1]["loud/validation_score"] > looks[-1]["quiet/validation_score"]  # type: ignore[operator]
    assert looks[-1]["probe/loud"] < looks[0]["probe/loud"]  # type: ignore[operator]
    header = (tmp_path / "history.csv").read_text().splitlines()[0].split(",")
    assert {"probe/loud", "probe/quiet", "loud/validation_score", "quiet/validation_score"} <= set(header)
    between = [row for row in result.history if row["validation_score"] is None]
    assert all(row["loud/validation_score"] is None for row in between)


def test_no_gradient_of_a_probe_reaches_the_model() -> None:
    model = new_model()
    phase, _ = phase_of(model, spec())
    terms = phase.step(Rows().every(), 0)
    probes = torch.stack(list(terms.beside.values())).sum()
    probes.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert terms.everything.item() == pytest.approx(terms.total.item() + probes.item())


def probes_of_two(dim: int = 2) -> ColumnProbes:
    return ColumnProbes(("loud", "quiet"), {"loud": dim, "quiet": dim}, CLASSES, "label", CrossEntropy(), seed=0)


def test_rows_without_the_column_or_not_shown_it_teach_nothing() -> None:
    probes, rows = probes_of_two(), Rows(rows=8)
    outputs = {one: torch.randn(8, 2) for one in ("loud", "quiet")}
    rows.present["loud"][:6] = False
    lacking = probes.losses(rows.every(), outputs)
    rows.present["loud"][:] = True
    seen = torch.ones(8, 2, dtype=torch.bool)
    seen[:6, 0] = False
    hidden = probes.losses(rows.every(), {**outputs, SEEN: seen})
    assert hidden["loud"].item() == lacking["loud"].item()
    assert hidden["loud"].item() != probes.losses(rows.every(), outputs)["loud"].item()


def test_train_losses_are_means_over_rows_since_the_last_look() -> None:
    probes, rows = probes_of_two(), Rows(rows=8)
    outputs = {one: torch.randn(8, 2) for one in ("loud", "quiet")}
    rows.present["quiet"][:] = False
    first = probes.losses(rows.every(), outputs)["loud"].item()
    rows.labelled[2:] = False
    second = probes.losses(rows.every(), outputs)["loud"].item()
    learnt = probes.take_train_losses()
    assert learnt["loud"] == pytest.approx((8 * first + 2 * second) / 10, rel=1e-5)
    assert math.isnan(learnt["quiet"])
    assert math.isnan(probes.take_train_losses()["loud"])


def test_weights_of_probes_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = probes_of_two()
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    other = probes_of_two()
    assert equal_weights(one, other)
    assert torch.equal(torch.rand(1), drawn)


def test_progress_shows_the_losses_of_the_model() -> None:
    assert _losses_text({"supervised": 0.5, "total": 0.5, "probe/loud": 0.9, "gradient_norm": 1.0}) == "supervised 0.5"
