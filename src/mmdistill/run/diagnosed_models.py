"""What the finished models of a run say of the rows of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from mmdistill.evaluation.diagnosis.data import describe_subsets
from mmdistill.evaluation.diagnosis.estimates import Estimate, weighted_sum
from mmdistill.evaluation.diagnosis.rank_agreement import rank_agreement
from mmdistill.evaluation.diagnosis.teacher import TeacherOutputs
from mmdistill.evaluation.modalities import collect_by_subset, subsets
from mmdistill.models.any_model import AnyModel
from mmdistill.models.inference import collect
from mmdistill.models.multimodal import MultimodalModel
from mmdistill.run.diagnosed_rows import DiagnosedRows
from mmdistill.run.plan import PlannedModel
from mmdistill.run.workshop import Workshop

Array = np.ndarray[Any, Any]
FUSED = "fused"


def trained_seeds(shop: Workshop, planned: PlannedModel) -> list[int]:
    """The seeds of a model that are finished."""
    return [seed for seed in planned.seeds if shop.folder.is_trained(planned.name, seed)]


def teacher_outputs(shop: Workshop, rows: DiagnosedRows, planned: PlannedModel, seed: int) -> TeacherOutputs:
    """Outputs of a finished teacher on training and validation rows, and on validation rows with columns masked."""
    model, _ = shop.trained(planned.name, seed)
    logits = shop.logits_tap(shop.primary_task)
    embeddings = [column for column in model.columns if _is_vector(model, column)]
    head = _head(model, shop.primary_task) if isinstance(model, MultimodalModel) and _is_vector(model, FUSED) else None
    taps = [logits, *embeddings, *([] if head is None else [FUSED])]
    train, validation = (_outputs(shop, model, numbers, taps) for numbers in (rows.train, rows.validation))
    both = {tap: (train[tap], validation[tap]) for tap in taps}
    return TeacherOutputs(
        columns=tuple(model.columns),
        logits=both[logits],
        subsets=_by_subset(shop, model, rows, logits),
        embeddings={column: both[column] for column in embeddings},
        fused=both.get(FUSED),
        head=head,
    )


def describe_student(
    shop: Workshop, rows: DiagnosedRows, planned: PlannedModel, teachers: Mapping[str, TeacherOutputs]
) -> tuple[dict[str, Any], Estimate] | None:
    """A finished student (or baseline) on the validation rows.

    Returns:
        ``columns``, ``seeds``, ``score`` (mean over seeds), ``subsets`` of its first seed (None for one column) and
        ``rank_agreement`` with each teacher; and the score as an estimate. None when no seed is finished.
    """
    seeds = trained_seeds(shop, planned)
    if not seeds:
        return None
    tap, scorer = shop.logits_tap(shop.primary_task), rows.plain.scorer
    models = [shop.trained(planned.name, seed)[0] for seed in seeds]
    logits = [_outputs(shop, model, rows.validation, [tap])[tap] for model in models]
    score = mean([scorer(said) for said in logits])
    first = models[0]
    by_subset = None
    if len(first.columns) > 1:
        found = {subset: scorer(said) for subset, said in _by_subset(shop, first, rows, tap).items()}
        if all(frozenset(subset) in found for subset in subsets(first.columns).values()):
            by_subset = describe_subsets({frozenset(): scorer.chance(), **found}, first.columns, scorer)
    described = {
        "role": planned.role,
        "columns": list(first.columns),
        "seeds": seeds,
        "score": scorer.score_json(score),
        "subsets": by_subset,
        "rank_agreement": {name: rank_agreement(logits[0], said.logits[1]) for name, said in teachers.items()},
    }
    return described, score


def mean(estimates: list[Estimate]) -> Estimate:
    """Of several seeds."""
    return weighted_sum(dict(enumerate(estimates)), dict.fromkeys(range(len(estimates)), 1 / len(estimates)))


def _is_vector(model: AnyModel, tap: str) -> bool:
    return len(model.taps.get(tap, ())) == 1


def _outputs(shop: Workshop, model: AnyModel, rows: Array, taps: list[str]) -> dict[str, Array]:
    loader = shop.dataset.clean_loader(rows, model.feature_names, shop.device)
    return {tap: values.float().numpy() for tap, values in collect(model, loader, taps).items()}


def _by_subset(shop: Workshop, model: AnyModel, rows: DiagnosedRows, tap: str) -> dict[frozenset[str], Array]:
    loader = shop.dataset.clean_loader(rows.validation, model.feature_names, shop.device)
    found = collect_by_subset(model, loader, [tap])
    named = subsets(list(model.columns))
    return {frozenset(named[name]): outputs[tap].float().numpy() for name, outputs in found.items()}


def _head(model: MultimodalModel, task: str) -> Any:
    head = model.heads[task].eval()
    device = next(head.parameters()).device

    def apply(fused: Tensor) -> Tensor:
        logits: Tensor = head(fused.to(device))
        return logits.cpu()

    return apply
