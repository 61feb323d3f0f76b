"""What every method of balancing the columns of a model is: hooks of the training of that model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.distill.terms import Terms
from mmdistill.models.multimodal import MultimodalModel
from mmdistill.training.probes import ColumnProbes
from mmdistill.training.validation import Validation


@dataclass(frozen=True)
class Training:
    """What a balance is made for.

    Args:
        model: what is trained; a balance neither registers nor saves it.
        losses: task → supervised loss.
        logits: task → tap of its logits.
        head_sizes: task → number of outputs.
        total_steps: optimiser steps of the training.
        steps_per_epoch: optimiser steps of an epoch.
        seed: of weights and random numbers of its own.
        probes: what each column could tell alone; trained beside the model, and there for every balance whose entry
            says that it reads them.
        unimodal_teachers: column → name of the model of that column alone, for balances whose entry asks for them.
    """

    model: MultimodalModel
    losses: Mapping[str, nn.Module]
    logits: Mapping[str, str]
    head_sizes: Mapping[str, int]
    total_steps: int
    steps_per_epoch: int
    seed: int = 0
    probes: ColumnProbes | None = None
    unimodal_teachers: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The first task: scores and probes of columns are about it."""
        return next(iter(self.losses))


class ModalityBalance(nn.Module):
    """Hooks of a training, each of which does nothing unless a method says otherwise. None waits for the device.

    What it learns or remembers is held in parameters and buffers, which are trained with the model, saved in
    checkpoints and left behind at the end.

    Args:
        training: what it is made for.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.columns = training.model.columns
        # In a tuple, so that the model's weights are no part of this module's.
        self._training = (training,)

    @property
    def training_of(self) -> Training:
        """What it was made for."""
        return self._training[0]

    def shown(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Which columns of each row the model is shown at a step, of those it has: column → bool (B,)."""
        return present

    def terms(
        self,
        batch: TensorDict,  # noqa: ARG002
        outputs: Mapping[str, Tensor],  # noqa: ARG002
        signals: Mapping[str, Tensor],  # noqa: ARG002
        terms: Terms,
        step: int,  # noqa: ARG002
    ) -> Terms:
        """The terms of a batch, changed or with others beside them; the same names at every step.

        Args:
            batch: of the loader.
            outputs: the model's taps.
            signals: what finished teachers said; empty without any.
            terms: of the objective, and of the balances before this one.
            step: optimiser step, counted from 0; the same for all batches whose gradients are accumulated.
        """
        return terms

    def after_backward(self, step: int) -> None:
        """Change gradients, when those of a step are complete and unscaled, and before they are clipped."""

    def validated(self, epoch: int, look: Validation) -> None:
        """Take note of a look at the validation rows; the weights that were scored have been kept.

        Args:
            epoch: epochs done.
            look: scores and losses of the model and of the probes.
        """
