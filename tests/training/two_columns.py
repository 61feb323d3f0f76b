"""A model of two columns of numbers, one of which tells much more than the other, and rows of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mmdistill import catalog
from mmdistill.data.features import FeatureInfo
from mmdistill.data.modalities.base import ArraySpec
from mmdistill.distill.objective import Objective
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ComputeSpec, ModelSpec, TrainSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.loop import fit
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import Phase, student_phase
from mmdistill.training.probes import ColumnProbes
from mmdistill.training.state import TrainResult
from mmdistill.training.validation import Standing, Validation

CLASSES, WIDTH, ROWS, BATCH = 3, 4, 48, 8
COLUMNS = ("loud", "quiet")


class Rows:
    """A loader of rows in memory; `loud` is a noisy picture of the class, `quiet` is much noisier."""

    def __init__(self, columns: tuple[str, ...] = COLUMNS, rows: int = ROWS, batch_size: int = BATCH) -> None:
        generator = torch.Generator().manual_seed(0)
        self.target = torch.arange(rows) % CLASSES
        picture = torch.eye(WIDTH)[self.target]
        noise = {column: 0.3 if column == "loud" else 1.5 for column in columns}
        self.values = {one: picture + noise[one] * torch.randn(rows, WIDTH, generator=generator) for one in columns}
        self.present = {column: torch.ones(rows, dtype=torch.bool) for column in columns}
        self.labelled = torch.ones(rows, dtype=torch.bool)
        self.rows, self.batch_size = rows, batch_size

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(epoch))
        for index in range(start, len(self)):
            yield self.batch(order[index * self.batch_size : (index + 1) * self.batch_size])

    def batch(self, rows: Tensor) -> TensorDict:
        return TensorDict(
            {
                "features": {column: {"values": values[rows]} for column, values in self.values.items()},
                "present": {column: present[rows] for column, present in self.present.items()},
                "target": {"label": self.target[rows]},
                "labelled": {"label": self.labelled[rows]},
                "row": rows,
                "view": torch.zeros_like(rows),
            },
            [len(rows)],
        )

    def every(self) -> TensorDict:
        return self.batch(torch.arange(self.rows))


def new_model(seed: int = 0, columns: tuple[str, ...] = COLUMNS, **changes: Any) -> MultimodalModel:
    """`fusion: {name: concat, hidden: []}` makes a head that can be split by column."""
    state = {"mean": [0.0] * WIDTH, "std": [1.0] * WIDTH}
    arrays = {"values": ArraySpec((WIDTH,), "float32", False)}
    features = {one: FeatureInfo(one, one, "vector", {}, state, arrays) for one in columns}
    spec = {"encoders": {one: {"name": "mlp", "hidden": [6]} for one in columns}, "fusion": "concat", **changes}
    return build_model(ModelSpec.model_validate(spec), features, {"label": CLASSES}, seed)


def training_of(model: MultimodalModel, **changes: Any) -> Training:
    loss = CrossEntropy()
    probes = ColumnProbes(model.columns, model.dims, CLASSES, "label", loss, seed=3)
    known: dict[str, Any] = {"total_steps": 18, "steps_per_epoch": 6, "seed": 3, "probes": probes, **changes}
    return Training(model, {"label": loss}, {"label": "logits"}, {"label": CLASSES}, **known)


def balance(name: str, training: Training, **options: Any) -> ModalityBalance:
    entry = catalog.get("modality balance", name)
    made: ModalityBalance = entry.load()(training, entry.options.model_validate(options))
    return made


def phase_of(
    model: MultimodalModel, train: TrainSpec, probed: bool = True, signals: Any = None, **balances: dict[str, Any]
) -> tuple[Phase, tuple[ModalityBalance, ...]]:
    """The phase of a model with probes and some balances, name → options, and the balances."""
    training = training_of(model)
    made = tuple(balance(name, training, **options) for name, options in balances.items())
    modalities = ModalityTraining(COLUMNS, None, made, training.probes if probed else None)
    objective = Objective({"label": CrossEntropy()})
    return student_phase("teacher", model, objective, train, modalities=modalities, signals=signals), made


def look_at(model: MultimodalModel, probes: ColumnProbes | None, rows: Rows) -> Callable[[], Validation]:
    """The validation of a run, over rows in memory."""

    @torch.no_grad()
    def validate() -> Validation:
        model.eval()
        batch = rows.every()
        outputs = model(batch["features"], batch["present"])
        target, every = batch["target"]["label"], batch["labelled"]["label"]
        score = (outputs["logits"].argmax(1) == target).float().mean().item()
        if probes is None:
            return Validation(score)
        learnt, columns = probes.take_train_losses(), {}
        for one, logits in probes(outputs).items():
            right = (logits.argmax(1) == target).float().mean().item()
            columns[one] = Standing(right, float(probes.loss_on(logits, target, every)), learnt[one])
        return Validation(score, columns, float(probes.loss_on(outputs["logits"], target, every)))

    return validate


def train_model(
    model: MultimodalModel,
    train: TrainSpec,
    *,
    folder: Path | None = None,
    probed: bool = True,
    validate: Callable[[], Validation] | None = None,
    **balances: dict[str, Any],
) -> tuple[TrainResult, tuple[ModalityBalance, ...]]:
    """Fit on the CPU, with looks at other rows."""
    phase, made = phase_of(model, train, probed, **balances)
    probes = phase.modules.get("probes")
    assert probes is None or isinstance(probes, ColumnProbes)
    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    look = validate or look_at(model, probes, Rows(rows=30))
    return fit(phase, Rows(), train, accelerator=accelerator, seed=0, folder=folder, validate=look), made
