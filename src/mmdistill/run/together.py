"""Training a group in one go: peers, a student and its past, a student and a teacher that goes on learning."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from mmdistill.distill.own_past import OwnPast
from mmdistill.distill.store import weights_digest
from mmdistill.models.any_model import AnyModel
from mmdistill.models.saving import save_model
from mmdistill.run.card import model_card
from mmdistill.run.modality_training import modality_training
from mmdistill.run.plan import PlannedModel
from mmdistill.run.rows import feature_names, train_loader
from mmdistill.run.teaching import lengths, make_objective, partly_seen
from mmdistill.run.workshop import Workshop, new_model, validator
from mmdistill.training.checkpoint import remove_checkpoint
from mmdistill.training.group import Participant, group_phase
from mmdistill.training.loop import fit


def learn_together(shop: Workshop, planned: PlannedModel, seed: int) -> None:
    """Train the group that `planned` belongs to, with the settings of its first model, and save every model of it.

    The weights that are kept are those of one epoch for all: the best mean score of the students of the group.

    Raises:
        Interrupted: after Ctrl-C, with a checkpoint written.
        InputError: when an objective does not fit.
    """
    members = [shop.plan.model(name) for name in planned.group]
    leader = members[0]
    folder = shop.folder.seed(leader.name, seed)
    train = shop.recipe.train_for(leader.spec)
    models = {one.name: _first_weights(shop, one, seed) for one in members}
    initial = {name: weights_digest(model) for name, model in models.items()}
    features = feature_names(models[leader.name], models)
    loader = train_loader(shop, leader, train, features, seed)
    steps = lengths(len(loader), train)
    participants = {one.name: _participant(shop, one, seed, models, steps) for one in members}
    phase = group_phase(
        f"{' and '.join(models)}, seed {seed}",
        participants,
        train,
        device=shop.device,
    )
    result = fit(
        phase,
        loader,
        train,
        accelerator=shop.accelerator,
        seed=seed,
        folder=folder,
        validate=_mean_score(shop, [models[one.name] for one in members if one.role == "student"]),
        higher_is_better=shop.higher_is_better,
        fingerprint=shop.fingerprint,
        progress=shop.progress,
    )
    # The leader last: while it is not saved, the group is trained again.
    for one in reversed(members):
        card = model_card(shop, one, models[one.name], seed, train, result, initial[one.name])
        save_model(shop.folder.seed(one.name, seed), models[one.name], card)
    remove_checkpoint(folder)


def _first_weights(shop: Workshop, planned: PlannedModel, seed: int) -> AnyModel:
    """A new model, or the trained one that it starts from."""
    if planned.starts_from is None:
        return new_model(shop, planned, seed)
    return shop.trained(planned.starts_from, shop.teacher_seed(planned.starts_from, seed))[0]


def _participant(
    shop: Workshop, planned: PlannedModel, seed: int, models: dict[str, AnyModel], steps: tuple[int, int]
) -> Participant:
    model = models[planned.name]
    teachers = {name: models[name] for name in planned.teachers} or {"past": model}
    objective = make_objective(shop, planned, seed, model, teachers, *steps, scored=False)
    columns, past = partly_seen(shop, model), None
    if not planned.teachers:
        assert planned.distill is not None
        past = OwnPast(model, objective.teacher_taps, planned.distill.policy.options("policy").decay, columns)
    modalities = modality_training(shop, planned, seed, model, steps)
    return Participant(model, objective, planned.teachers, past, modalities, columns)


def _mean_score(shop: Workshop, students: list[AnyModel]) -> Callable[[], float] | None:
    """The mean validation score of several models as a function; None where there are no validation rows."""
    validators = [validate for validate in (validator(shop, student) for student in students) if validate is not None]
    return (lambda: statistics.fmean(validate().score for validate in validators)) if validators else None
