"""Losses that count a row by what the student was shown of it: under modality dropout, less than it has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.distill.build import build_objective
from mmdistill.recipe.schema import DistillSpec
from mmdistill.tasks.classification import ClassificationTask

LOGITS = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 0.0]])
TARGET = torch.tensor([0, 1, 2, 0])
SHOWN = torch.tensor([[True, True], [True, False], [False, True], [True, True]])


def regularisation(present: Tensor, outputs: dict[str, Tensor]) -> float:
    """The term of four rows for a student of an image and a sound."""
    taps = {"image": (4,), "sound": (4,), "fused": (4,), "logits": (3,)}
    objective = build_objective(
        {"class": ClassificationTask().loss},
        DistillSpec.model_validate({"losses": ["mmanet_regularisation"]}),
        student_taps=taps,
        teacher_taps=taps,
        total_steps=10,
        student_columns=("image", "sound"),
    )
    batch = {
        "present": dict(zip(("image", "sound"), present.unbind(1), strict=True)),
        "row": torch.arange(4),
        "target": {"class": TARGET},
        "labelled": {"class": torch.ones(4, dtype=torch.bool)},
    }
    value: float = objective(batch, {"logits": LOGITS, **outputs}, {}, 0).parts["mmanet_regularisation"].item()
    return value


def test_mmanet_regularisation_counts_rows_that_dropout_has_made_incomplete() -> None:
    complete = torch.ones_like(SHOWN)
    expected = F.cross_entropy(LOGITS, TARGET, reduction="none")[1:3].sum().item() / 4
    assert regularisation(complete, {"seen": SHOWN}) == pytest.approx(expected)


def test_without_dropout_it_counts_rows_that_the_table_has_incomplete() -> None:
    complete = torch.ones_like(SHOWN)
    assert regularisation(SHOWN, {}) == pytest.approx(regularisation(complete, {"seen": SHOWN}))
    assert regularisation(complete, {}) == 0
