"""OGM-GE against its published code, and what it does to gradients."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmdistill.distill.terms import Terms
from mmdistill.training.balances.ogm_ge import OgmGe, modulation
from mmdistill.training.balances.scores import true_class_sums
from mmdistill.training.balances.unimodal_logits import splits_by_column, unimodal_logits
from tests.training.two_columns import COLUMNS, Rows, balance, new_model, training_of

GOLDEN = Path(os.environ["MMDISTILL_DATA"]).parent / "golden" if "MMDISTILL_DATA" in os.environ else None
TERMS: Any = Terms.sum({"supervised": torch.zeros(())})


@pytest.mark.skipif(GOLDEN is None or not GOLDEN.exists(), reason="needs the golden vectors beside $MMDISTILL_DATA")
def test_scores_and_coefficients_are_those_of_the_published_code() -> None:
    assert GOLDEN is not None
    case = json.loads((GOLDEN / "ogm_ge.json").read_text())["variants"][0]["cases"][0]
    held = {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN / case["file"]).items()}
    weight, bias = held["fc_weight"].double(), held["fc_bias"].double()
    audio = held["feat_a"].double() @ weight[:, :12].T + bias / 2
    video = held["feat_v"].double() @ weight[:, 12:].T + bias / 2
    every = torch.ones(8, dtype=torch.bool)
    scores, _ = true_class_sums({"a": audio, "v": video}, held["target"], {"a": every, "v": every})
    assert scores.tolist() == pytest.approx([held["score_a"].item(), held["score_v"].item()], rel=1e-6)
    found = modulation(scores.double(), case["hyper_parameters"]["alpha"])
    assert found.tolist() == pytest.approx([held["coeff_a"].item(), held["coeff_v"].item()], rel=1e-6)


def test_the_column_ahead_is_held_back_and_equal_ones_are_not() -> None:
    ahead = 1 - np.tanh(0.1 * 4)
    assert modulation(torch.tensor([4.0, 1.0]), 0.1).tolist() == pytest.approx([ahead, 1])
    assert modulation(torch.tensor([2.0, 2.0]), 0.1).tolist() == [1, 1]
    assert modulation(torch.tensor([6.0, 1.0, 5.0]), 0.1).tolist() == pytest.approx(
        [1 - np.tanh(0.1 * 2), 1, 1 - np.tanh(0.1 * 5 / 3.5)]
    )


def test_the_heads_of_a_plain_concatenation_add_up_to_the_models_logits() -> None:
    model = new_model(fusion={"name": "concat", "hidden": []})
    assert splits_by_column(model, "label")
    outputs = model(Rows().every()["features"])
    parts = unimodal_logits(training_of(model, probes=None), outputs)
    assert torch.allclose(parts["loud"] + parts["quiet"], outputs["logits"], atol=1e-5)


def test_where_the_fusion_mixes_columns_their_probes_speak_for_them() -> None:
    model = new_model()
    assert not splits_by_column(model, "label")
    training = training_of(model)
    outputs = model(Rows().every()["features"])
    assert training.probes is not None
    expected = training.probes(outputs)
    assert torch.equal(unimodal_logits(training, outputs)["loud"], expected["loud"])


def gradients_after(step: int = 0, steps_told: int = 1, **options: Any) -> tuple[OgmGe, dict[str, torch.Tensor]]:
    """The gradients of both encoders after a step in which `loud` was far ahead."""
    model = new_model(fusion={"name": "concat", "hidden": []})
    head = model.heads["label"]
    assert isinstance(head, nn.Linear)
    training = training_of(model)
    made = balance("ogm_ge", training, **options)
    assert isinstance(made, OgmGe)
    batch = Rows().every()
    outputs = model(batch["features"])
    outputs["logits"].square().mean().backward()
    sure = torch.nn.functional.one_hot(batch["target"]["label"], 3).float()
    outputs["loud"], outputs["quiet"] = outputs["loud"].detach(), outputs["quiet"].detach()
    width = model.dims["loud"]
    with torch.no_grad():
        outputs["loud"][:, :3], outputs["loud"][:, 3:] = 9 * sure, 0
        head.weight[:, :width] = torch.eye(3, width)
    for _ in range(steps_told):
        made.terms(batch, outputs, {}, TERMS, step)
    made.after_backward(step)
    found = {
        one: torch.cat([p.grad.flatten() for p in model.encoders[one].parameters() if p.grad is not None])
        for one in COLUMNS
    }
    return made, found


def test_only_the_encoder_of_the_column_ahead_is_scaled() -> None:
    _, plain = gradients_after(step=17, noise=False)  # after its end
    _, scaled = gradients_after(noise=False, alpha=0.1)
    assert torch.equal(scaled["quiet"], plain["quiet"])
    factors = scaled["loud"][plain["loud"] != 0] / plain["loud"][plain["loud"] != 0]
    assert 0.5 < factors.min().item() <= factors.max().item() < 0.95
    assert factors.std().item() < 1e-5


def test_batches_of_one_step_are_scored_together() -> None:
    _, once = gradients_after(noise=False)
    _, twice = gradients_after(noise=False, steps_told=2)
    assert torch.allclose(once["loud"], twice["loud"])


def test_noise_depends_on_the_step_alone_and_has_the_spread_of_the_gradient() -> None:
    _, plain = gradients_after(noise=False, end=1)
    _, noisy = gradients_after(end=1)
    _, again = gradients_after(end=1)
    _, later = gradients_after(step=1, end=1)
    assert torch.equal(noisy["quiet"], again["quiet"])
    assert not torch.equal(noisy["quiet"], later["quiet"])
    noise = noisy["quiet"] - plain["quiet"]
    assert 0.3 < noise.std().item() / plain["quiet"].std().item() < 3


def test_the_codes_form_leaves_weights_of_two_dimensions_alone() -> None:
    _, plain = gradients_after(step=17, noise=False)
    _, convolutions = gradients_after(weights="convolutions")
    assert torch.equal(plain["loud"], convolutions["loud"])
