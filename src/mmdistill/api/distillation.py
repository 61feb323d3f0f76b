"""`mmdistill.distill`: one student, one teacher, a loader of one's own, and a control beside it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmdistill.api.result import DistillResult


def distill(
    student: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    losses: Sequence[Any] = ("kd",),
    *,
    supervised: str | Callable[[Tensor, Tensor], Tensor] | None = "cross_entropy",
    supervised_weight: float = 1.0,
    student_inputs: Mapping[str, str] | None = None,
    teacher_inputs: Mapping[str, str] | None = None,
    student_taps: Mapping[str, str] | None = None,
    teacher_taps: Mapping[str, str] | None = None,
    validation: Iterable[Any] | None = None,
    test: Iterable[Any] | None = None,
    metric: str | Callable[[Tensor, Tensor], float] = "accuracy",
    higher_is_better: bool = True,
    baseline: bool = True,
    seed: int = 0,
    device: str = "auto",
    precision: str = "float32",
    progress: bool = False,
    **train: Any,
) -> DistillResult:
    """Train a student with a teacher, and the same student without one beside it.

    The loader gives ``(inputs, target)`` or a mapping with a `target` (or `label`, `labels`). Inputs are a tensor, a
    tuple of tensors or a mapping of them; a module gets those that its arguments are named after, or, of a tuple, as
    many as it takes. A target below zero is none. Batches are shown in the same order to student and baseline.

    Args:
        student: trained in place.
        teacher: frozen meanwhile, and left as it was.
        loader: a `torch.utils.data.DataLoader`, a list of batches, or a loader of `mmdistill.data`.
        losses: distillation losses: a name of the catalog, a module such as ``KD(temperature=2)`` or one of your own,
            or a tuple of it with a weight and the taps that it compares, ``(RKD(), {"student": "layer4", "teacher":
            "layer4"}, 10.0)``, in any order; also a mapping as in a recipe. Taps are module paths
            (`mmdistill.models.custom.tap_path`), or names given in `student_taps` and `teacher_taps`.
        supervised: the loss on the targets: ``cross_entropy``, a function of outputs and targets, or None.
        supervised_weight: its weight.
        student_inputs: argument of the student → name of an input (`inputs_0`, `inputs_1`… in a tuple), where names do
            not say it.
        teacher_inputs: the same of the teacher.
        student_taps: name → module path, for losses that ask for taps by name, such as `fused` or `maps`.
        teacher_taps: the same of the teacher.
        validation: a loader that is scored after every epoch and chooses the weights that are kept.
        test: a loader that is scored once, at the end.
        metric: a metric of classification such as ``accuracy`` or ``macro_f1``, or a function of all outputs and
            targets.
        higher_is_better: direction of such a function.
        baseline: whether the control is trained: a copy of the untrained student, as many steps, no teacher. Without it
            no gain can be told.
        seed: of the order of the batches and of whatever is drawn in training.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: float32, bfloat16 or float16.
        progress: whether progress is shown.
        train: keys of `train` in a recipe: ``epochs=20``, ``learning_rate=1e-3``, ``optimizer="adamw"``,
            ``schedule="cosine"``, ``clip_norm``, ``stop={"patience": 3}``…

    Returns:
        The student, its baseline, histories, scores and the gain with its interval; see `DistillResult`.

    Raises:
        InputError: when inputs, taps, shapes or classes do not fit; before anything is trained.
        MMDistillError: when a loss became infinite.
        MissingExtra: when mmdistill was installed without ``train``.
    """
    from mmdistill.errors import require

    require("torch", "train", "Distillation")
    from mmdistill.api.training import Plan, carry_out

    plan = Plan(
        losses=losses,
        supervised=supervised,
        supervised_weight=supervised_weight,
        student_inputs=student_inputs,
        teacher_inputs=teacher_inputs,
        student_taps=student_taps,
        teacher_taps=teacher_taps,
        metric=metric,
        higher_is_better=higher_is_better,
        baseline=baseline,
        seed=seed,
        device=device,
        precision=precision,
        progress=progress,
        train=train,
    )
    return carry_out(plan, student, teacher, loader, validation, test)
