"""Which subsets of its columns a model of a run was never trained with, though it is scored with them."""

from __future__ import annotations

from collections.abc import Collection

from mmdistill import catalog
from mmdistill.data.modality_dropouts.never_seen import never_seen
from mmdistill.evaluation.modalities import subsets
from mmdistill.models.any_model import AnyModel
from mmdistill.recipe.schema import TeacherSpec
from mmdistill.run.plan import PlannedModel
from mmdistill.run.rows import training_rows
from mmdistill.run.workshop import Workshop


def subsets_never_seen(shop: Workshop, planned: PlannedModel, model: AnyModel, scored: Collection[str]) -> list[str]:
    """The names of those subsets; none for a model that was not trained here, of whose rows nothing is known.

    Args:
        shop: the run.
        planned: the model's place in it.
        model: the model.
        scored: names of the subsets that it is scored with.
    """
    spec = planned.spec
    if isinstance(spec, TeacherSpec) and (spec.run is not None or spec.trained):
        return []
    rows = training_rows(shop, planned)
    present = {column: shop.dataset.prepared.present[column][rows].numpy() for column in model.columns}
    asked = {name: columns for name, columns in subsets(list(model.columns)).items() if name in scored}
    found = never_seen(asked.values(), present, model.columns, spec.modality_dropout)
    balances = [catalog.get("modality balance", one.name) for one in spec.modality_balance]
    alone = any(getattr(balance, "shows_columns_alone", False) for balance in balances)
    return [name for name in found if not (alone and len(asked[name]) == 1)]
