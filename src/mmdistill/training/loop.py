"""The training loop: accumulation, checkpoints, validation, stopping; nothing in a step waits for the device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from tensordict import TensorDict
from torch import Tensor

from mmdistill.errors import InputError, MMDistillError
from mmdistill.recipe.schema import TrainSpec
from mmdistill.training import checkpoint as checkpoints
from mmdistill.training.denormals import denormals_as_zero
from mmdistill.training.interruption import Interrupted, Interruption
from mmdistill.training.journal import Journal
from mmdistill.training.phase import Phase
from mmdistill.training.progress import Progress, Silent
from mmdistill.training.randomness import random_state, seeded, set_random_state
from mmdistill.training.record import Record
from mmdistill.training.selection import Selection
from mmdistill.training.state import StoppedBy, TrainResult, TrainState
from mmdistill.training.term_gradients import TermGradients
from mmdistill.training.trackers import tracked
from mmdistill.training.validation import Validation

# A checkpoint at the end of an epoch is left out while writing them would take more than this share of the time.
CHECKPOINT_SHARE = 0.05
LARGEST_RECORD = 1024
# The history states the mean norm of the gradient over so many steps of each reading; with clipping over all of them.
NORMS_PER_READING = 5


class BatchSource(Protocol):
    """What the loop needs of a loader."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        """The batches of an epoch from number `start` on; the order is a pure function of the epoch."""

    def __len__(self) -> int:
        """Batches of an epoch."""


def total_steps(batches: int, train: TrainSpec) -> int:
    """Optimiser steps of a whole training with `batches` an epoch; the last group of an epoch may be incomplete."""
    return train.epochs * math.ceil(batches / train.accumulate)


def fit(
    phase: Phase,
    loader: BatchSource,
    train: TrainSpec,
    *,
    accelerator: Accelerator,
    seed: int,
    folder: Path | None = None,
    validate: Callable[[], float | Validation] | None = None,
    higher_is_better: bool = True,
    max_steps: int | None = None,
    fingerprint: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a phase, going on from the checkpoint in `folder` if there is one.

    The same arguments give the same weights on the same machine, whatever ran before in this process and however often
    the training was killed and called again. At the end the modules hold the selected weights, and the checkpoint that
    stands for a finished training is still there: call `checkpoint.remove_checkpoint` once they are saved.

    Args:
        phase: what is trained.
        loader: gives the batches of an epoch.
        train: epochs, schedule, accumulation, clipping, stopping, selection, and how often to log and to write.
        accelerator: of `make_accelerator`.
        seed: of Python's, NumPy's and PyTorch's generators during the training.
        folder: for history.csv and the checkpoint; nothing is written when it is None.
        validate: the score on the validation rows; the phase's modules may be put into evaluation mode by it.
        higher_is_better: direction of the score.
        max_steps: end after so many optimiser steps; the schedule is still that of all epochs, so that a baseline with
            its student's steps is trained as the student was.
        fingerprint: what else the training depends on, such as the data's and the recipe's digests.
        progress: what a person sees; nothing when left out.

    Raises:
        Interrupted: after Ctrl-C or SIGTERM, with a checkpoint written.
        NotFiniteError: when a loss or gradient became NaN or infinite.
        InputError: for a checkpoint of another training, or when patience is asked for without validation.
    """
    if validate is None and (train.stop.patience is not None or train.stop.target is not None):
        raise InputError(
            "Stopping early needs validation rows, and there are none",
            where="train.stop",
            fix="Give data.split.validation a fraction above 0, or remove train.stop",
        )
    if len(loader) == 0:
        raise InputError(
            "There are no rows to train on", where=phase.name, fix="Look at the split with `mmdistill check`"
        )
    config = {"model": phase.name, "seed": seed, "learning_rate": train.learning_rate, "batch_size": train.batch_size}
    progress = progress or Silent()
    with (
        Interruption() as interruption,
        denormals_as_zero(),
        seeded(seed, accelerator.device),
        tracked(accelerator, folder or Path(), phase.name, config) as track,
    ):
        record = Record(record_capacity(train), skips_overflow=accelerator.scaler is not None)
        journal = Journal(record, folder, track, progress, phase.probed)
        kept = {one: module for one, module in phase.modules.items() if one not in phase.left_behind}
        selection = Selection(kept, higher_is_better=higher_is_better, keep=train.select == "best")
        loop = _Loop(phase, loader, train, accelerator, journal, selection, interruption, progress)
        loop.folder, loop.validate = folder, validate
        loop.last_step = min(loop.total_steps, max_steps or loop.total_steps)
        loop.fingerprint = loop.make_fingerprint(seed, fingerprint or {})
        loop.resume()
        progress.start(phase.name, loop.last_step, loop.state.step)
        try:
            while loop.state.stopped_by is None:
                loop.run_epoch()
        finally:
            progress.stop()
        return loop.finish()


def record_capacity(train: TrainSpec) -> int:
    """Batches whose terms wait on the device: those of `log_every` steps, within a bound on memory."""
    return max(train.accumulate, min(train.log_every * train.accumulate, LARGEST_RECORD))


class _Loop:
    """The parts of one `fit` and the stages of its epochs."""

    folder: Path | None
    validate: Callable[[], float | Validation] | None
    last_step: int
    fingerprint: dict[str, str]

    def __init__(
        self,
        phase: Phase,
        loader: BatchSource,
        train: TrainSpec,
        accelerator: Accelerator,
        journal: Journal,
        selection: Selection,
        interruption: Interruption,
        progress: Progress,
    ) -> None:
        self.phase, self.loader, self.train, self.accelerator = phase, loader, train, accelerator
        self.journal, self.selection, self.interruption, self.progress = journal, selection, interruption, progress
        for module in phase.modules.values():
            module.to(accelerator.device)
        self.parameters, self.owned = phase.parameters(), phase.parameters_of_each()
        self.counted = [name not in phase.beside for name in phase.optimizers]
        self.term_gradients = TermGradients(phase, train.log_every, scaled=accelerator.scaler is not None)
        self.batches = len(loader)
        self.total_steps = total_steps(self.batches, train)
        self.schedule: Callable[[int], float] = train.schedule.build("schedule", self.total_steps)
        self.param_groups = self.all_param_groups()
        for group in self.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.state = TrainState()
        self.rows_in_group = 0
        self.saved_at, self.saving_took = time.monotonic(), 0.0

    def run_epoch(self) -> None:
        """The rest of the current epoch, then what ends an epoch."""
        for module in self.phase.modules.values():
            module.train()
        self.journal.stopwatch.start()
        state, step, add = self.state, self.phase.step, self.journal.record.add
        # Entering a context that does nothing would cost more than the smallest layers.
        autocast = None if self.accelerator.mixed_precision == "no" else self.accelerator.autocast
        accumulate = self.train.accumulate
        for batch in self.loader.batches(state.epoch, state.batch):
            if state.step >= self.last_step:
                break
            rows = batch["row"]
            if autocast is None:
                terms = step(batch, state.step)
            else:
                with autocast():
                    terms = step(batch, state.step)
            norms = self.term_gradients.at(state.step, terms) if state.batch % accumulate == 0 else None
            self.backward(terms.everything, rows.numel())
            add(state.step, terms, rows)
            if norms is not None:
                self.journal.record.add_term_norms(norms)
            state.batch += 1
            if state.batch % accumulate == 0 or state.batch == self.batches:
                self.update()
                self.after_step()
        if state.batch < self.batches and state.step < self.last_step:
            raise MMDistillError(
                f"The loader gave {state.batch} batches instead of {self.batches}", where=self.phase.name
            )
        self.end_epoch()

    def backward(self, loss: Tensor, rows: int) -> None:
        """Gradients of a batch; within an accumulated group each batch counts by its rows."""
        if self.train.accumulate > 1:
            loss = loss * (rows / self.train.batch_size)
            self.rows_in_group += rows
        self.accelerator.backward(loss)

    def update(self) -> None:
        """Clip, take a step with every optimiser, and forget the gradients."""
        scaler, optimizers = self.accelerator.scaler, self.phase.optimizers.values()
        rate = self.schedule(self.state.step)
        for group in self.param_groups:
            group["lr"] = group["initial_lr"] * rate
        if scaler is not None:
            for optimizer in optimizers:
                scaler.unscale_(optimizer)
        if self.rows_in_group:
            torch._foreach_mul_(self.gradients(), self.train.batch_size / self.rows_in_group)
            self.rows_in_group = 0
        self.phase.after_backward(self.state.step)
        if self.train.clip_norm is not None or self.norm_is_due():
            self.journal.record.add_gradient_norm(self.clip())
        for optimizer in optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        if scaler is not None:
            scaler.update()
        self.state.step += 1
        self.phase.after_step(self.state.step)

    def clip(self) -> Tensor:
        """Clip the gradient of what each optimiser trains, if it is to be clipped; gives the norm of all before.

        What is trained beside the model is clipped on its own, and has no part in the norm.
        """
        norms = []
        for own, counts in zip(self.owned, self.counted, strict=True):
            gradients = [one.grad for one in own if one.grad is not None]
            if not gradients or not (counts or self.train.clip_norm is not None):
                continue
            norm = torch.nn.utils.get_total_norm(gradients)
            if self.train.clip_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(own, self.train.clip_norm, norm)
            if counts:
                norms.append(norm)
        return norms[0] if len(norms) == 1 else torch.nn.utils.get_total_norm(norms)

    def gradients(self) -> list[Tensor]:
        """The gradients that the last backward passes left."""
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def norm_is_due(self) -> bool:
        """Whether the history wants the gradient norm of this step: reading every gradient once more is not free."""
        step = self.state.step + 1
        last = self.state.batch == self.batches or step == self.last_step
        return last or step % max(1, self.train.log_every // NORMS_PER_READING) == 0

    def after_step(self) -> None:
        """What is due now and then: reading the losses, a checkpoint, ending because it was asked for."""
        state, journal = self.state, self.journal
        self.progress.step(state.step)
        goes_on = state.batch < self.batches and state.step < self.last_step
        if goes_on and state.step % self.train.log_every == 0:
            journal.write(self.epochs_done(), state.step, self.learning_rate())
        elif journal.record.room < self.train.accumulate:
            journal.read()
        spec = self.train.checkpoint
        due = spec.steps is not None and state.step % spec.steps == 0
        if due or (spec.seconds is not None and time.monotonic() - self.saved_at >= spec.seconds):
            self.save()
        if self.interruption.asked:
            self.interrupt()

    def end_epoch(self) -> None:
        """Validate, write a row of the history, decide whether to go on, and write a checkpoint."""
        state, journal = self.state, self.journal
        journal.read()
        journal.stopwatch.stop()
        epoch, over = state.epoch + 1, state.step >= self.last_step
        epochs_done, score = self.epochs_done(), None
        if self.validate is not None and (over or epoch % self.train.evaluate_every == 0):
            said = self.validate()
            look = said if isinstance(said, Validation) else Validation(float(said))
            score = look.score
            best = self.selection.offer(epoch, score)
            # After the weights that have this score were kept: what is told of it may change them.
            self.phase.validated(epoch, look)
            journal.write(epochs_done, state.step, self.learning_rate(), look)
            self.progress.validated(epoch, score, best)
        else:
            journal.write(epochs_done, state.step, self.learning_rate())
        state.epoch, state.batch = epoch, 0
        state.stopped_by = self.reason_to_stop(score, over)
        if state.stopped_by or time.monotonic() - self.saved_at > self.saving_took / CHECKPOINT_SHARE:
            self.save()
        if self.interruption.asked:
            self.interrupt()

    def reason_to_stop(self, score: float | None, over: bool) -> StoppedBy | None:
        """Why training ends after this epoch, or None."""
        said = self.selection.says_stop(self.train.stop, self.state.epoch, score) if score is not None else None
        if over and said != "target":
            return "epochs" if self.last_step == self.total_steps else "steps"
        return said

    def epochs_done(self) -> float:
        """Epochs as a fraction."""
        return self.state.epoch + self.state.batch / self.batches

    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.param_groups[0]["lr"])

    def all_param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimisers."""
        return [group for optimizer in self.phase.optimizers.values() for group in optimizer.param_groups]

    def save(self) -> None:
        """Write a checkpoint, unless a loss, a gradient or a weight is not finite."""
        self.journal.read()
        if self.folder is None:
            return
        began = time.monotonic()
        with self.journal.stopwatch.paused():
            checkpoints.require_finite(self.phase.tensors(), self.phase.name)
            checkpoints.save_checkpoint(self.folder / checkpoints.FILE_NAME, self.state_dict(), self.fingerprint)
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - began

    def state_dict(self) -> dict[str, Any]:
        """All that a later `fit` needs to go on as if nothing had happened."""
        scaler = self.accelerator.scaler
        return {
            "position": self.state.to_dict(),
            "modules": {name: module.state_dict() for name, module in self.phase.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.phase.optimizers.items()},
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": random_state(self.accelerator.device),
            "selection": self.selection.state_dict(),
            "journal": self.journal.state_dict(),
        }

    def resume(self) -> None:
        """Take up the checkpoint in the folder, if there is one."""
        if self.folder is not None:
            checkpoints.remove_leftovers(self.folder)
        if self.folder is None or not (self.folder / checkpoints.FILE_NAME).exists():
            self.journal.start_afresh()
            return
        held = checkpoints.load_checkpoint(self.folder / checkpoints.FILE_NAME, self.fingerprint)
        self.state = TrainState(**held["position"])
        for name, module in self.phase.modules.items():
            module.load_state_dict(held["modules"][name])
        for name, optimizer in self.phase.optimizers.items():
            optimizer.load_state_dict(held["optimizers"][name])
        self.param_groups = self.all_param_groups()
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(held["scaler"])
        self.selection.load_state_dict(held["selection"])
        self.journal.load_state_dict(held["journal"])
        set_random_state(held["random"], self.accelerator.device)

    def make_fingerprint(self, seed: int, extra: Mapping[str, str]) -> dict[str, str]:
        """What a checkpoint must agree with: settings, length, and names and shapes of everything trained."""
        shapes = {
            name: {key: list(value.shape) for key, value in module.state_dict().items()}
            for name, module in self.phase.modules.items()
        }
        return {
            "phase": self.phase.name,
            "seed": str(seed),
            "train": self.train.model_dump_json(exclude={"checkpoint", "log_every"}),
            "precision": str(self.accelerator.mixed_precision),
            "device": self.accelerator.device.type,
            "batches": str(self.batches),
            "steps": str(self.last_step),
            "modules": str(shapes),
            **extra,
        }

    def interrupt(self) -> None:
        """Write a checkpoint and leave.

        Raises:
            Interrupted: always.
        """
        self.save()
        raise Interrupted(
            f"Training was interrupted after step {self.state.step} of {self.last_step}",
            where=self.phase.name,
            fix="Run the same command again to continue" if self.folder is not None else "Nothing was kept",
        )

    def finish(self) -> TrainResult:
        """Put the selected weights into the modules and sum up."""
        best_epoch, best_score = self.selection.apply(self.state.epoch)
        return TrainResult(
            steps=self.state.step,
            epochs=self.state.epoch,
            best_epoch=best_epoch,
            best_score=best_score,
            seconds=self.journal.stopwatch.seconds,
            stopped_by=self.state.stopped_by or "epochs",
            history=self.journal.rows,
        )
