"""The rows and features that a planned model is trained on."""

from __future__ import annotations

from collections.abc import Mapping

from mmdistill.data.loader import Loader
from mmdistill.models.any_model import AnyModel
from mmdistill.recipe.schema import TrainSpec
from mmdistill.run.dataset import Rows
from mmdistill.run.plan import PlannedModel
from mmdistill.run.workshop import Workshop


def training_rows(shop: Workshop, planned: PlannedModel) -> Rows:
    """The training rows, without those that have nothing to teach the model."""
    # A teacher learns from labelled rows, also where models of its columns alone teach it.
    labelled_only = planned.distill is None or planned.role == "teacher"
    return shop.dataset.train_rows(labelled_only=labelled_only)


def train_loader(shop: Workshop, planned: PlannedModel, train: TrainSpec, features: list[str], seed: int) -> Loader:
    """Batches of those rows, with the features of the model and of all that teach it."""
    return shop.dataset.train_loader(training_rows(shop, planned), train, features, seed, shop.device)


def feature_names(model: AnyModel, others: Mapping[str, AnyModel]) -> list[str]:
    """The features that any of them reads."""
    names = [name for one in (model, *others.values()) for name in one.feature_names]
    return list(dict.fromkeys(names))
