"""Single-label classification: one class a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmdistill.data.cells import Cell
from mmdistill.errors import InputError, MMDistillError, nearest
from mmdistill.tasks import class_metrics, operating_point, resampled
from mmdistill.tasks.catalog import ClassificationOptions
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.tasks.decode.classification import above_threshold, softmax
from mmdistill.tasks.labels import encode_labels, find_classes
from mmdistill.tasks.task import Outputs, State, Values, Where, row_number

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


class ClassificationTask:
    """The task ``classification``; see `Task` for the seam.

    The state is ``{"classes": [label, …], "counts": [training rows of it, …]}``. Rows without a target are encoded as
    −1 and left out of every metric. The state of a trained model also has an ``operating_point`` when the options ask
    for one: ``{"positive": label, "threshold": …, "validation": {"sensitivity": …, "specificity": …}}``.
    """

    taps: tuple[str, ...] = ("logits",)
    decoder = "mmdistill.tasks.decode.classification:decode"

    def __init__(self, options: ClassificationOptions | None = None) -> None:
        self.options = options or ClassificationOptions()
        self._loss: CrossEntropy | None = None
        if self.options.class_weights == "none":
            self._loss = CrossEntropy(None, self.options.label_smoothing)

    @property
    def primary(self) -> str:
        """The metric that selects models and states the gain."""
        return self.options.primary

    @property
    def directions(self) -> dict[str, bool]:
        """Whether higher is better, by metric."""
        return {
            "accuracy": True,
            "macro_precision": True,
            "macro_recall": True,
            "macro_f1": True,
            "auroc": True,
            self._top_k: True,
            "expected_calibration_error": False,
            "log_loss": False,
            "majority_accuracy": True,
            **({} if self.options.operating_point is None else dict.fromkeys(operating_point.NAMES, True)),
        }

    @property
    def _top_k(self) -> str:
        return f"top_{self.options.top_k}_accuracy"

    @property
    def loss(self) -> CrossEntropy:
        """The supervised loss.

        Raises:
            MMDistillError: when class weights are asked for and the classes are not known yet.
        """
        if self._loss is None:
            raise MMDistillError(
                "The class weights are not known yet",
                where="classification",
                fix="Call fit(cells, train) or restore(state) before the loss is used",
            )
        return self._loss

    def fit(self, cells: Sequence[Cell], train: Sequence[int] | Indices, where: Where = row_number) -> State:
        """Find the classes.

        Args:
            cells: the target column, one cell a row of the table.
            train: numbers of the training rows.
            where: names a row in messages.

        Raises:
            InputError: when fewer than two classes are found, a target is not finite or of the wrong kind,
                `class_weights` or `positive` names a class that does not exist, or an operating point is asked for and
                there are more than two classes.
        """
        counts = find_classes(cells, train, where)
        state = {"classes": list(counts), "counts": list(counts.values())}
        self.restore(state)
        return state

    def restore(self, state: State) -> None:
        """Take up a state that `fit` gave earlier, so that `loss` has its class weights.

        Raises:
            InputError: when `class_weights` or `positive` names a class that does not exist, or an operating point is
                asked for and there are more than two classes.
        """
        if self.options.operating_point is not None:
            operating_point.positive_index(self.options.positive, state["classes"])
        weights = self._class_weights(state)
        self._loss = CrossEntropy(
            None if weights is None else torch.tensor(weights, dtype=torch.float32), self.options.label_smoothing
        )

    def _class_weights(self, state: State) -> list[float] | None:
        chosen, classes = self.options.class_weights, state["classes"]
        if chosen == "none":
            return None
        if chosen == "balanced":
            rows = sum(state["counts"])
            return [rows / (len(classes) * count) for count in state["counts"]]
        assert isinstance(chosen, dict)
        for name in chosen:
            if name not in classes:
                raise InputError(f"There is no class {name!r}", where="class_weights", fix=nearest(name, classes))
        return [float(chosen.get(name, 1.0)) for name in classes]

    def encode(
        self, cells: Sequence[Cell], state: State, where: Where = row_number
    ) -> tuple[Indices, NDArray[np.bool_]]:
        """Class indices int64 (N,), −1 without target, and which rows have a target, bool (N,).

        Raises:
            InputError: when a row has a class that no training row has, or a target that is not finite.
        """
        return encode_labels(cells, state["classes"], where)

    def output_size(self, state: State) -> int:
        """The number of classes."""
        return len(state["classes"])

    def head(self, dim: int, state: State) -> nn.Module:
        """A linear layer from (B, dim) to logits (B, C)."""
        return nn.Linear(dim, self.output_size(state))

    @property
    def chooses_on_validation(self) -> bool:
        """Whether every trained model gets a threshold."""
        return self.options.operating_point is not None

    def check_validation(self, targets: Values, state: State) -> None:
        """Refuse validation rows on which no threshold can be chosen.

        Args:
            targets: (N,) class indices of the validation rows, −1 without target.
            state: what `fit` gave.

        Raises:
            InputError: when an operating point is asked for, and rows of a class are missing.
        """
        if self.chooses_on_validation:
            operating_point.check_validation(_array(targets).astype(np.int64), state["classes"])

    def state_of_model(self, outputs: Outputs | Values, targets: Values, state: State) -> State:
        """The state of one trained model: with its threshold, when an operating point is asked for.

        Args:
            outputs: of the validation rows, as in `metrics`.
            targets: (N,) their class indices, −1 without target.
            state: what `fit` gave.

        Raises:
            InputError: when rows of a class are missing.
        """
        aim = self.options.operating_point
        if aim is None:
            return state
        self.check_validation(targets, state)
        logits, indices = _scored(outputs, targets)
        index = operating_point.positive_index(self.options.positive, state["classes"])
        scores, positive = softmax(logits)[:, index], indices == index
        threshold = operating_point.choose_threshold(scores, positive, aim)
        found = {
            "positive": state["classes"][index],
            "threshold": threshold,
            "validation": operating_point.rates(scores >= threshold, positive),
        }
        return {**state, "operating_point": found}

    def metrics(
        self, outputs: Outputs | Values, targets: Values, state: State, names: Collection[str] | None = None
    ) -> dict[str, float | None]:
        """All metrics, or those named.

        Args:
            outputs: a mapping with ``logits`` (N, C), or the logits themselves.
            targets: (N,) class indices, −1 for rows to leave out.
            state: what `fit` gave.
            names: the metrics wanted; all when left out.

        Returns:
            The metrics in the order of `directions`, fractions in [0, 1] except ``log_loss`` (nats). None where one is
            not defined: all without rows, ``auroc`` with one class among the targets, top-k with at most k classes,
            ``sensitivity`` and ``specificity`` without a threshold in the state or a row of their class.

        Raises:
            InputError: when a name is unknown.
            MMDistillError: when a logit is NaN or infinite.
        """
        logits, indices = _scored(outputs, targets)
        wanted = list(self.directions) if names is None else [name for name in self.directions if name in names]
        for name in names or ():
            if name not in self.directions:
                raise InputError(f"There is no metric {name!r}", fix=nearest(name, list(self.directions)))
        if not len(indices):
            return dict.fromkeys(wanted, None)
        calculations = self._calculations(logits, indices, state)
        return {name: calculations[name]() for name in wanted}

    def _calculations(self, logits: Floats, targets: Indices, state: State) -> dict[str, Callable[[], float | None]]:
        k, majority = self.options.top_k, int(np.argmax(state["counts"]))
        return {
            "accuracy": lambda: float((class_metrics.predicted(logits) == targets).mean()),
            "macro_precision": lambda: class_metrics.macro_scores(logits, targets)[0],
            "macro_recall": lambda: class_metrics.macro_scores(logits, targets)[1],
            "macro_f1": lambda: class_metrics.macro_scores(logits, targets)[2],
            "auroc": lambda: class_metrics.auroc(logits, targets),
            self._top_k: lambda: (
                float((class_metrics.target_rank(logits, targets) < k).mean()) if k < logits.shape[1] else None
            ),
            "expected_calibration_error": lambda: class_metrics.reliability(logits, targets).expected_calibration_error,
            "log_loss": lambda: float(class_metrics.negative_log_likelihood(logits, targets).mean()),
            "majority_accuracy": lambda: float((targets == majority).mean()),
            "sensitivity": lambda: _rates(logits, targets, state)["sensitivity"],
            "specificity": lambda: _rates(logits, targets, state)["specificity"],
        }

    def quick_metrics(self, outputs: Outputs | Values, targets: Values, state: State) -> dict[str, float | None]:
        """The primary metric alone, cheap enough for every epoch."""
        return self.metrics(outputs, targets, state, (self.primary,))

    def row_scores(self, metric: str, outputs: Outputs | Values, targets: Values) -> NDArray[np.float64] | None:
        """Parts of the rows with a target whose mean is the metric.

        Returns:
            float64 (rows with a target,), or None for a metric that is no mean over rows.
        """
        if metric not in ("accuracy", "log_loss", self._top_k):
            return None
        logits, indices = _scored(outputs, targets)
        if metric == "accuracy":
            return (class_metrics.predicted(logits) == indices).astype(np.float64)
        if metric == "log_loss":
            return class_metrics.negative_log_likelihood(logits, indices)
        if self.options.top_k >= logits.shape[1]:
            return None
        return (class_metrics.target_rank(logits, indices) < self.options.top_k).astype(np.float64)

    def resampled_scores(
        self, metric: str, outputs: Outputs | Values, targets: Values, state: State, counts: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """A metric on many draws of the rows at once.

        Args:
            metric: one of `directions`.
            outputs: as in `metrics`.
            targets: (N,) class indices, all of rows with a target.
            state: what `fit` gave.
            counts: (R, N), how often each row is in each draw.

        Returns:
            float64 (R,), NaN where the metric is not defined.
        """
        logits, indices = _scored(outputs, targets)
        if metric == "auroc":
            return resampled.auroc(logits, indices, counts)
        if metric == "expected_calibration_error":
            return resampled.expected_calibration_error(logits, indices, counts)
        macro = ("macro_precision", "macro_recall", "macro_f1")
        if metric in macro:
            return resampled.macro_scores(logits, indices, counts)[macro.index(metric)]
        if metric in operating_point.NAMES:
            if "operating_point" not in state:
                return np.full(len(counts), np.nan)
            return operating_point.resampled_rates(*_decided(logits, indices, state), counts)[metric]
        parts = self.row_scores(metric, logits, indices)
        if metric == "majority_accuracy":
            parts = (indices == int(np.argmax(state["counts"]))).astype(np.float64)
        if parts is None:
            return np.full(len(counts), np.nan)
        return np.asarray(counts @ parts / counts.sum(axis=1))

    def details(self, outputs: Outputs | Values, targets: Values, state: State) -> dict[str, Any]:
        """The per-class table and the confusion matrix.

        Returns:
            ``classes``; ``per_class``, a list of ``class``, ``precision``, ``recall``, ``f1``, ``support`` (rows);
            ``confusion``, rows by true class, then by predicted class.
        """
        logits, indices = _scored(outputs, targets)
        classes = list(state["classes"])
        table = class_metrics.per_class(logits, indices)
        return {
            "classes": classes,
            "per_class": [
                {
                    "class": name,
                    "precision": float(table["precision"][index]),
                    "recall": float(table["recall"][index]),
                    "f1": float(table["f1"][index]),
                    "support": int(table["support"][index]),
                }
                for index, name in enumerate(classes)
            ],
            "confusion": class_metrics.confusion(logits, indices).tolist(),
        }


def _decided(logits: Floats, targets: Indices, state: State) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows count as positive at the threshold of a model's state, and which are, (N,) each."""
    return above_threshold(logits, state), targets == state["classes"].index(state["operating_point"]["positive"])


def _rates(logits: Floats, targets: Indices, state: State) -> dict[str, float | None]:
    """Sensitivity and specificity at the threshold of a model's state; None where it has none."""
    if "operating_point" not in state:
        return dict.fromkeys(operating_point.NAMES)
    return operating_point.rates(*_decided(logits, targets, state))


def _array(values: Values) -> NDArray[Any]:
    if isinstance(values, Tensor):
        values = values.detach()
        return (values.float() if values.dtype is torch.bfloat16 else values).cpu().numpy()
    return np.asarray(values)


def _scored(outputs: Outputs | Values, targets: Values) -> tuple[Floats, Indices]:
    """Logits (N, C) and targets (N,) of the rows that have one.

    Raises:
        MMDistillError: when the shapes do not belong together, or a logit is NaN or infinite.
    """
    logits = _array(outputs["logits"] if isinstance(outputs, Mapping) else outputs)
    indices = _array(targets).astype(np.int64)
    if logits.ndim != 2 or indices.shape != logits.shape[:1]:
        raise MMDistillError(f"Logits of shape {logits.shape} do not belong to targets of shape {indices.shape}")
    known = indices >= 0
    if not known.all():
        logits, indices = logits[known], indices[known]
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise MMDistillError(
            f"The model gives NaN or infinite logits for {int((~finite).sum())} of {len(finite)} rows",
            fix="Look at the training history: a smaller learning rate or gradient clipping may be needed",
        )
    return logits, indices
