"""Modality dropout and strategies for missing columns in a training step: what was seen, and how hard it was."""

from __future__ import annotations

import pytest
import torch

from mmdistill import catalog
from mmdistill.data.modality_dropouts.build import build_dropout
from mmdistill.distill.build import build_objective
from mmdistill.distill.own_past import OwnPast
from mmdistill.distill.signals import LiveTeacher
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import Component, DistillSpec, ModelSpec, TrainSpec
from mmdistill.training.group import Participant, group_phase
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import student_phase
from tests.distill.small_run import SmallRun

DROPOUTS = [entry.name for entry in catalog.entries("modality dropout")]
STRATEGIES = [entry.name for entry in catalog.entries("missing strategy")]
OPTIONS = {"listed": {"combinations": {"easy": 0.5, "hard": 0.5}}, "curriculum": {"start": 0.3}}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun(tmp_path_factory.mktemp("small"), absent=frozenset(range(0, 120, 5)))


@pytest.mark.parametrize(
    ("dropout", "missing"), [*((one, "mask") for one in DROPOUTS), *(("uniform", one) for one in STRATEGIES)]
)
def test_a_student_of_hidden_columns_learns_from_a_complete_teacher(
    dropout: str, missing: str, small_run: SmallRun
) -> None:
    columns = ("easy", "hard")
    spec = ModelSpec.model_validate({"encoders": dict.fromkeys(columns, "mlp"), "missing": missing})
    student, teacher = build_model(spec, small_run.infos, {"class": 3}, 0), small_run.model(*columns, seed=1)
    hides = build_dropout(Component(name=dropout, **OPTIONS.get(dropout, {})), columns, seed=0, total_steps=20)
    assert hides is not None
    term = {"name": "kd", "sample_weight": {"name": "subset", "weights": {"easy": 3.0}}}
    objective = build_objective(
        {"class": small_run.task.loss},
        DistillSpec.model_validate({"losses": [term]}),
        student_taps=student.taps,
        teacher_taps=teacher.taps,
        student_columns=student.columns,
        total_steps=20,
    )
    signals = LiveTeacher(teacher, objective.teacher_taps)
    phase = student_phase(
        "student", student, objective, TrainSpec(), signals=signals, modalities=ModalityTraining(dropout=hides)
    )
    losses = []
    for index in range(20):
        for batch in small_run.loader(batch_size=128).batches(0):
            terms = phase.step(batch, index)
            terms.total.backward()
            for optimizer in phase.optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
            losses.append(terms.total.item())
    assert all(torch.tensor(losses).isfinite())
    assert sum(losses[-5:]) < sum(losses[:5])
    auxiliary = {name for name in terms.parts if name.startswith("auxiliary.")}
    declared = getattr(catalog.get("missing strategy", missing), "auxiliary", ())
    assert auxiliary == {f"auxiliary.{name}" for name in declared}
    if dropout == "difficulty":
        assert hides.observed.all()
        assert (hides.losses > 0).all()
        assert any(key.endswith("losses") for key in phase.modules["dropout"].state_dict())


@pytest.mark.parametrize(("supervised", "together"), [(1.0, True), (0.0, True), (0.0, False)])
def test_losses_of_rows_are_told_in_every_kind_of_training(
    supervised: float, together: bool, small_run: SmallRun
) -> None:
    """Of models that learn together, and where the objective learns from no target."""
    columns = ("easy", "hard")
    spec = ModelSpec.model_validate({"encoders": dict.fromkeys(columns, "mlp")})
    student, teacher = build_model(spec, small_run.infos, {"class": 3}, 0), small_run.model(*columns, seed=1)
    hides = build_dropout(Component(name="difficulty"), columns, seed=0, total_steps=20)
    assert hides is not None
    objective = build_objective(
        {"class": small_run.task.loss},
        DistillSpec.model_validate({"losses": ["kd"], "supervised": supervised}),
        student_taps=student.taps,
        teacher_taps=teacher.taps,
        student_columns=student.columns,
        total_steps=20,
    )
    modalities = ModalityTraining(dropout=hides)
    if together:
        past = OwnPast(student, objective.teacher_taps, 0.9)
        participant = Participant(student, objective, past=past, modalities=modalities)
        phase = group_phase("student", {"student": participant}, TrainSpec())
    else:
        signals = LiveTeacher(teacher, objective.teacher_taps)
        phase = student_phase("student", student, objective, TrainSpec(), signals=signals, modalities=modalities)
    for index, batch in enumerate(small_run.loader(batch_size=128).batches(0)):
        phase.step(batch, index)
    assert hides.observed.any()
    assert (hides.losses[hides.observed] > 0).all()
