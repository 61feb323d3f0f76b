"""What the training of every model of a run needs: its data, its folder, its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from mmdistill.errors import InputError
from mmdistill.models.any_model import AnyModel
from mmdistill.models.custom.build import build_custom, refuse_absent_rows
from mmdistill.models.inference import collect
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.models.saving import load_model
from mmdistill.models.tap_names import logits_tap
from mmdistill.recipe import Recipe
from mmdistill.recipe.schema import Component
from mmdistill.run.dataset import Dataset
from mmdistill.run.folder import RunFolder
from mmdistill.run.model_key import model_key, naming
from mmdistill.run.plan import Plan, PlannedModel
from mmdistill.tasks.task import State, Task, Values
from mmdistill.training.probes import ColumnProbes
from mmdistill.training.progress import Progress
from mmdistill.training.validation import Standing, Validation

PEER_SEED = 10_007
"""Added to a seed for the first weights of a peer of the same kind, which would otherwise be its student's twin."""


@dataclass(frozen=True)
class Workshop:
    """What the training of every model of a run needs."""

    recipe: Recipe
    plan: Plan
    folder: RunFolder
    dataset: Dataset
    accelerator: Accelerator
    progress: Progress

    @property
    def device(self) -> torch.device:
        """Where models are trained."""
        return self.accelerator.device

    @property
    def primary_task(self) -> str:
        """The task whose primary metric selects models and states the gain: the first."""
        return next(iter(self.dataset.tasks))

    @property
    def primary_metric(self) -> str:
        """Name of that metric; with several tasks the task's name stands in front."""
        metric = self.dataset.tasks[self.primary_task].primary
        return metric if len(self.dataset.tasks) == 1 else f"{self.primary_task}/{metric}"

    @property
    def higher_is_better(self) -> bool:
        """Direction of that metric."""
        task = self.dataset.tasks[self.primary_task]
        return task.directions[task.primary]

    @property
    def always_present(self) -> list[str]:
        """Columns that every row has."""
        return [column for column, present in self.dataset.prepared.present.items() if bool(present.all())]

    @property
    def fingerprint(self) -> dict[str, str]:
        """What a checkpoint of any training of the run must agree with."""
        return {"data": self.dataset.prepared.fingerprint, "recipe": self.recipe.digest()}

    def logits_tap(self, task: str) -> str:
        """The tap of a task's logits."""
        return logits_tap(task, tuple(self.dataset.tasks))

    def trained(self, name: str, seed: int) -> tuple[AnyModel, dict[str, Any]]:
        """A finished model of the run and its card."""
        return load_model(self.folder.seed(name, seed), self.device)

    def teacher_seed(self, name: str, seed: int) -> int:
        """The seed of the teacher that a student of `seed` learns from."""
        seeds = self.plan.model(name).seeds
        return seed if seed in seeds else seeds[0]


def new_model(
    shop: Workshop, planned: PlannedModel, seed: int, teachers: Mapping[str, AnyModel] | None = None
) -> AnyModel:
    """An untrained model of a recipe; its weights depend on the specification and the seed alone.

    Args:
        shop: the run.
        planned: the model's place in it.
        seed: of the first weights.
        teachers: needed where the model keeps its teacher's head: a copy that does not learn.

    Raises:
        InputError: naming the model, when a part of it cannot be built or the teacher has no head that can be kept.
    """
    with naming(shop.recipe, planned):
        return _built(shop, planned, seed, teachers or {})


def _built(shop: Workshop, planned: PlannedModel, seed: int, teachers: Mapping[str, AnyModel]) -> AnyModel:
    dataset, spec = shop.dataset, planned.spec
    sizes = {name: task.output_size(dataset.states[name]) for name, task in dataset.tasks.items()}
    first = seed if planned.role != "peer" else seed + PEER_SEED
    if spec.custom is not None:
        where = f"{model_key(shop.recipe, planned)}.custom"
        custom = build_custom(spec.custom, dataset.infos(spec), sizes, first, where)
        refuse_absent_rows(custom, _absent(shop, custom.columns, spec.modality_dropout), where)
        return custom
    if not planned.keeps_head:
        return build_model(spec, dataset.infos(spec), sizes, first)
    (teacher,) = teachers.values()
    if not isinstance(teacher, MultimodalModel):
        raise InputError(
            "The teacher is a custom model, and its head is not known",
            where="head",
            fix="Leave `head` out, or use a teacher of encoders",
        )
    width = teacher.taps["fused"][-1]
    model = build_model(spec.model_copy(update={"projection": width}), dataset.infos(spec), sizes, first)
    for name, head in model.heads.items():
        head.load_state_dict(teacher.heads[name].state_dict())
        head.requires_grad_(False)
    return model


def _absent(shop: Workshop, columns: Sequence[str], modality_dropout: Component | None) -> dict[str, int]:
    """Column → how many rows a model would be shown without it."""
    prepared = shop.dataset.prepared
    rows = np.setdiff1d(np.arange(len(shop.dataset.table)), [cell.row for cell in prepared.skipped])
    if modality_dropout is not None:
        return dict.fromkeys(columns, len(rows))
    return {column: int((~prepared.present[column][torch.from_numpy(rows)]).sum()) for column in columns}


def validator(shop: Workshop, model: AnyModel, probes: ColumnProbes | None = None) -> Callable[[], Validation] | None:
    """The validation score of a model as a function; None where there are no validation rows.

    Args:
        shop: the run.
        model: what is scored.
        probes: scored with it.
    """
    rows = shop.dataset.splits.validation
    if not len(rows):
        return None
    name = shop.primary_task
    task, state, tap = shop.dataset.tasks[name], shop.dataset.states[name], shop.logits_tap(name)
    loader = shop.dataset.clean_loader(rows, model.feature_names, shop.device)
    targets = shop.dataset.targets_of(name, rows)

    taps = [tap, *model.columns] if probes is not None else [tap]
    higher = task.directions[task.primary]
    numbers = torch.from_numpy(rows)
    labelled = shop.dataset.targets[name][1][numbers]
    present = {column: shop.dataset.prepared.present[column][numbers] for column in model.columns}

    def validate() -> Validation:
        outputs = collect(model, loader, taps)
        score = task.quick_metrics(outputs[tap], targets, state)[task.primary]
        if score is None:
            raise InputError(
                f"The metric {task.primary!r} is not defined on the validation rows",
                where="data.split",
                fix="Give the validation split rows of every class, or choose another primary metric",
            )
        if probes is None:
            return Validation(score)
        return Validation(
            score, *_probed(task, state, probes, outputs, outputs[tap], targets, labelled, present), higher
        )

    return validate


@torch.no_grad()
def _probed(
    task: Task,
    state: State,
    probes: ColumnProbes,
    outputs: Mapping[str, torch.Tensor],
    logits: torch.Tensor,
    targets: Values,
    labelled: torch.Tensor,
    present: Mapping[str, torch.Tensor],
) -> tuple[dict[str, Standing], float]:
    """Column → where its probe stands, and the loss of the model.

    Scores are over all rows, as the model's own is; the loss of a probe is over the rows that have its column, as in
    training.
    """
    device = next(probes.parameters()).device
    target = torch.as_tensor(targets)

    def loss_of(values: torch.Tensor, counts: torch.Tensor) -> float:
        return float(probes.loss_on(values.to(device), target.to(device), counts.to(device)))

    answers = probes({column: outputs[column].to(device) for column in probes.columns})
    learnt = probes.take_train_losses()
    standings = {
        column: Standing(
            task.quick_metrics(values.cpu(), targets, state)[task.primary],
            loss_of(values, labelled & present[column]),
            learnt[column],
        )
        for column, values in answers.items()
    }
    return standings, loss_of(logits, labelled)
