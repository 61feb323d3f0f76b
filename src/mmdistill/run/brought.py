"""Teachers that come with their weights: of one's own, of timm or transformers, a saved program, an ONNX file."""

from __future__ import annotations

from mmdistill.distill.class_order import reorder_outputs
from mmdistill.distill.store import weights_digest
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.saving import save_model
from mmdistill.run.card import model_card
from mmdistill.run.workshop import Workshop, new_model
from mmdistill.training.state import TrainResult

UNTRAINED_HERE = TrainResult(
    steps=0, epochs=0, best_epoch=0, best_score=None, seconds=0.0, stopped_by="epochs", history=[]
)


def keep_brought(shop: Workshop) -> list[str]:
    """Save the teachers that are used as they come as this run's own, their classes in the order of this run.

    Returns:
        What the user has to know about them.

    Raises:
        InputError: when a source, a tap or a class is not there.
    """
    cautions = []
    for name, teacher in shop.recipe.teachers.items():
        if teacher.custom is None or not teacher.trained:
            continue
        planned = shop.plan.model(name)
        (seed,) = planned.seeds
        cautions.append(
            f"The teacher {name!r} came with its weights; make sure that none of the rows it was trained on is a test "
            "row here."
        )
        if shop.folder.is_trained(name, seed):
            continue
        model = new_model(shop, planned, seed)
        assert isinstance(model, CustomModel)
        for task, state in shop.dataset.states.items():
            if model.classes is not None and "classes" in state:
                where = f"teachers.{name}.custom.classes"
                reorder_outputs(model, shop.logits_tap(task), model.classes, state["classes"], where)
        train = shop.recipe.train_for(planned.spec)
        card = model_card(shop, planned, model.to(shop.device), seed, train, UNTRAINED_HERE, weights_digest(model))
        card["training"]["selection"] = "as it came"
        save_model(shop.folder.seed(name, seed), model, card)
    return cautions
