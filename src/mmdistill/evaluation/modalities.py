"""How a model does with fewer of its modalities."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mmdistill.errors import InputError
from mmdistill.tasks.task import Outputs, State, Task, Values

if TYPE_CHECKING:
    from torch import Tensor

    from mmdistill.models.any_model import AnyModel
    from mmdistill.models.inference import Batches

MOST_COLUMNS_FOR_ALL = 5


def subset_name(columns: Collection[str]) -> str:
    """The columns joined by ``+``, in the order given."""
    return "+".join(columns)


def subsets(columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The subsets of modalities that a model is scored with, by name, the full set first.

    All 2^M − 1 up to five columns. With more: the full set, all without one, and each alone.

    Raises:
        InputError: when there are no columns, or two subsets would have the same name.
    """
    if not columns:
        raise InputError("A model without columns has no subsets")
    sizes = range(len(columns), 0, -1)
    if len(columns) > MOST_COLUMNS_FOR_ALL:
        sizes = (len(columns), len(columns) - 1, 1)  # type: ignore[assignment]
    chosen = [subset for size in sizes for subset in combinations(columns, size)]
    named = {subset_name(subset): subset for subset in chosen}
    if len(named) < len(chosen):
        raise InputError("Two subsets of the columns have the same name", fix="Give columns names without '+'")
    return named


def collect_by_subset(model: AnyModel, loader: Batches, taps: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Outputs of a model for every row of a loader, once for each subset of its modalities that it can do with.

    A row that has none of a subset's modalities is predicted from nothing and counts like every other, so that all
    subsets are scored on the same rows.

    Returns:
        subset name → tap → tensor, rows in ascending order of their numbers.
    """
    from mmdistill.models.inference import collect

    return {
        name: collect(model, loader, taps, subset=None if len(columns) == len(model.columns) else columns)
        for name, columns in subsets(list(model.columns)).items()
        if set(getattr(model, "required_columns", ())) <= set(columns)
    }


def by_subset(
    task: Task, outputs: Mapping[str, Outputs | Values], targets: Values, state: State
) -> dict[str, dict[str, float | None]]:
    """All metrics for every subset, as ``results.json`` keeps them.

    Args:
        task: the task.
        outputs: subset name → outputs.
        targets: encoded targets of the rows.
        state: the task's state.
    """
    return {name: task.metrics(found, targets, state) for name, found in outputs.items()}


def worst_subset(scores: Mapping[str, Mapping[str, Any]], metric: str, higher_is_better: bool) -> str | None:
    """The subset with the worst value of a metric, the first of equals; None when it is defined for none."""
    defined = {name: values[metric] for name, values in scores.items() if values[metric] is not None}
    if not defined:
        return None
    return (min if higher_is_better else max)(defined, key=lambda name: defined[name])


def drops(
    scores: Mapping[str, Mapping[str, float | None]], columns: Sequence[str], directions: Mapping[str, bool]
) -> dict[str, dict[str, float | None]]:
    """What each modality's absence costs: the score with everything against that with all but one.

    Args:
        scores: subset name → metric → value, as `by_subset` gives them.
        columns: the columns that the model reads, in its order.
        directions: metric → whether higher is better.

    Returns:
        column → metric → loss, positive when the score is worse without it; None where either is not defined. Columns
        without which the model was not scored are left out, as is the only column of a model.
    """
    full = scores[subset_name(columns)]
    found = {}
    for column in columns:
        without = scores.get(subset_name([one for one in columns if one != column]))
        if without is not None and len(columns) > 1:
            found[column] = {
                metric: _loss(full[metric], without[metric], higher) for metric, higher in directions.items()
            }
    return found


def _loss(full: float | None, without: float | None, higher_is_better: bool) -> float | None:
    if full is None or without is None:
        return None
    return full - without if higher_is_better else without - full
