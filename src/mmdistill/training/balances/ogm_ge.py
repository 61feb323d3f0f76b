"""On-the-fly gradient modulation with generalisation enhancement.

Peng, Wei, Deng, Wang, Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022,
arXiv:2203.15332.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from torch import Tensor

from mmdistill.data.views import derive
from mmdistill.distill.terms import Terms
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.encoder_gradients import encoder_gradients, scale_gradients
from mmdistill.training.balances.options import OgmGeOptions
from mmdistill.training.balances.scores import imbalance, require_classes, true_class_sums
from mmdistill.training.balances.unimodal_logits import unimodal_logits
from mmdistill.training.seen import rows_shown


def modulation(scores: Tensor, alpha: float, rows: Tensor | None = None) -> Tensor:
    """What the gradient of each encoder is multiplied with (Eq. 10): 1 − tanh(α ρ) for a column ahead, 1 for others.

    With more than two columns, ρ compares a column with the mean of all others, so that several may be ahead.

    Args:
        scores: (M,) sums of the probabilities of the true classes.
        alpha: degree of modulation, > 0.
        rows: (M,) over how many rows; equally many when left out.

    Returns:
        (M,) in (0, 1].
    """
    ratios = imbalance(scores, rows)
    return torch.where(ratios > 1, 1 - torch.tanh(alpha * ratios), 1)


class OgmGe(ModalityBalance):
    """Scales the gradients of the encoders whose columns are ahead, and adds noise to those of all.

    The noise is normal with the standard deviation that each gradient had before scaling, and depends on the seed and
    the step alone. Where the gradients of several batches are accumulated, their rows are counted together.

    Args:
        training: with probes.
        options: see `OgmGeOptions`.

    Raises:
        InputError: when targets are not one class a row.
    """

    def __init__(self, training: Training, options: OgmGeOptions) -> None:
        super().__init__(training)
        require_classes(training, "ogm_ge")
        self.options = options
        self._sums: tuple[Tensor, Tensor] | None = None
        self._generators: dict[torch.device, torch.Generator] = {}

    @torch.no_grad()
    def terms(
        self,
        batch: TensorDict,
        outputs: Mapping[str, Tensor],
        signals: Mapping[str, Tensor],  # noqa: ARG002
        terms: Terms,
        step: int,
    ) -> Terms:
        """See `ModalityBalance`; takes note of the columns' scores."""
        training = self.training_of
        if self.options.holds(step, training.total_steps):
            labelled = batch["labelled"][training.task]
            counts = {one: rows & labelled for one, rows in rows_shown(batch, outputs, self.columns).items()}
            logits = unimodal_logits(training, outputs)
            scores, rows = true_class_sums(logits, batch["target"][training.task], counts)
            self._sums = (scores, rows) if self._sums is None else (self._sums[0] + scores, self._sums[1] + rows)
        return terms

    @torch.no_grad()
    def after_backward(self, step: int) -> None:
        """See `ModalityBalance`."""
        sums, self._sums = self._sums, None
        if sums is None:
            return
        every = self.options.weights == "all"
        factors = modulation(sums[0], self.options.alpha, sums[1]).unbind()
        generator = self._generator(factors[0].device, step) if self.options.noise else None
        for column, factor in zip(self.columns, factors, strict=True):
            gradients = encoder_gradients(self.training_of.model, column, lambda one: every or one.dim() == 4)
            deviations = [gradient.std(correction=0) for gradient in gradients] if generator is not None else []
            scale_gradients(gradients, factor)
            for gradient, deviation in zip(gradients, deviations, strict=bool(deviations)):
                noise = torch.empty_like(gradient).normal_(generator=generator)
                gradient.addcmul_(noise, deviation)

    def _generator(self, device: torch.device, step: int) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
        return self._generators[device].manual_seed(derive(derive(self.training_of.seed, "ogm_ge"), step))
