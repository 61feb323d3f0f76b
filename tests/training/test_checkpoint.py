"""A training that was killed and resumed ends with the weights of one that was not."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mmdistill.errors import InputError, MMDistillError
from mmdistill.training import checkpoint, loop
from mmdistill.training.checkpoint import FILE_NAME, load_checkpoint, remove_checkpoint, save_checkpoint
from mmdistill.training.interruption import Interrupted
from tests.training import killed
from tests.training.standins import Memory, equal_weights, new_model, spec, train_model

TIMES = {"seconds", "samples_per_second"}


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as stream:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(stream)]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    killed.train(undisturbed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.killed"])
    chance, kills = random.Random(0), 0
    while not (disturbed / "final.pt").exists():
        process = context.Process(target=killed.train, args=(disturbed, 0.05))
        process.start()
        assert process.pid is not None
        before = (disturbed / FILE_NAME).stat().st_mtime_ns if (disturbed / FILE_NAME).exists() else 0
        if kills < 5:
            # Not before it got further than the last one, or it would never end; then at any moment.
            while process.is_alive() and _written(disturbed) <= before:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.1))
            kills += process.is_alive()
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    assert kills >= 3
    final = [torch.load(folder / "final.pt", weights_only=True) for folder in (undisturbed, disturbed)]
    assert equal(*final)
    assert history(undisturbed) == history(disturbed)
    assert sorted(path.name for path in disturbed.iterdir()) == ["checkpoint.pt", "final.pt", "history.csv"]


def _written(folder: Path) -> int:
    return (folder / FILE_NAME).stat().st_mtime_ns if (folder / FILE_NAME).exists() else 0


class Killed(BaseException):
    """Nothing may catch it."""


@pytest.mark.parametrize("step", [1, 4, 5, 9, 12, 15])
def test_resuming_after_any_step_gives_the_same_weights_and_history(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_model()
    expected = train_model(whole, Memory(), spec(), folder=tmp_path / "whole")
    broken = new_model()
    after_step = loop._Loop.after_step

    def dying(self: Any) -> None:
        after_step(self)
        if self.state.step == step:
            raise Killed

    train = spec(checkpoint={"steps": 1})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop._Loop, "after_step", dying)
        train_model(broken, Memory(), train, folder=tmp_path / "broken")
    resumed = new_model(seed=99)
    result = train_model(resumed, Memory(), train, folder=tmp_path / "broken")
    assert equal_weights(whole, resumed)
    assert history(tmp_path / "whole") == history(tmp_path / "broken")
    assert (result.steps, result.best_epoch) == (expected.steps, expected.best_epoch)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    model = new_model()
    first = train_model(model, Memory(), spec(), folder=tmp_path, validate=lambda: 0.5)

    class Untouched(Memory):
        def batches(self, epoch: int, start: int = 0) -> Any:
            raise AssertionError("no batch is needed")

    again = new_model(seed=9)
    second = train_model(again, Untouched(), spec(), folder=tmp_path, validate=lambda: 0.9)
    assert equal_weights(model, again)
    assert first == second
    remove_checkpoint(tmp_path)
    remove_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_a_history_without_a_checkpoint_is_started_afresh(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("old,columns\n1,2\n")
    train_model(new_model(), Memory(), spec(), folder=tmp_path)
    assert "old" not in (tmp_path / "history.csv").read_text()


def test_the_teacher_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    killed.train(tmp_path)
    modules = torch.load(tmp_path / FILE_NAME, weights_only=True)["state"]["modules"]
    assert set(modules) == {"model", "objective"}
    assert {"terms.0.loss.mean", "terms.0.adapters.student_features.0.project.0.weight", "balance.norms"} <= set(
        modules["objective"]
    )
    assert not any("teacher" in name for module in modules.values() for name in module)


@pytest.mark.parametrize(
    ("changes", "loader", "seed", "named"),
    [
        ({"learning_rate": 0.02}, Memory(), 0, "train"),
        ({}, Memory(64), 0, "batches"),
        ({}, Memory(), 5, "seed"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, changes: dict[str, Any], loader: Memory, seed: int, named: str
) -> None:
    train_model(new_model(), Memory(), spec(), folder=tmp_path)
    with pytest.raises(InputError, match=f"another training.*{named}"):
        train_model(new_model(), loader, spec(**changes), folder=tmp_path, seed=seed)


def test_another_model_or_other_data_are_refused(tmp_path: Path) -> None:
    train_model(new_model(), Memory(), spec(), folder=tmp_path, fingerprint={"data": "one"})
    with pytest.raises(InputError, match="data was one and is two"):
        train_model(new_model(), Memory(), spec(), folder=tmp_path, fingerprint={"data": "two"})
    with pytest.raises(InputError, match="modules was"):
        train_model(new_model(width=9), Memory(), spec(), folder=tmp_path, fingerprint={"data": "one"})


def test_how_often_it_is_logged_and_saved_may_change(tmp_path: Path) -> None:
    train_model(new_model(), Memory(), spec(), folder=tmp_path)
    train_model(new_model(), Memory(), spec(log_every=9, checkpoint={"steps": 7}), folder=tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "other"])
def test_a_damaged_checkpoint_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE_NAME
    save_checkpoint(path, {"weights": torch.arange(1000.0)}, {"phase": "student"})
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        at = content.index(torch.arange(1000.0)[500:510].numpy().tobytes())
        content[at] ^= 1
    harmed = {"truncated": content[: len(content) // 2], "flipped": content, "empty": b"", "text": b"not a checkpoint"}
    if damage == "other":
        torch.save({"something": 1}, path)
    else:
        path.write_bytes(bytes(harmed[damage]))
    with pytest.raises(InputError, match=r"checkpoint is damaged.*Remove the file"):
        load_checkpoint(path, {"phase": "student"})


def test_nothing_in_a_checkpoint_can_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    torch.save({"format": 1, "fingerprint": {}, "state": Evil()}, tmp_path / FILE_NAME)
    with pytest.raises(InputError, match="no checkpoint of mmdistill"):
        load_checkpoint(tmp_path / FILE_NAME, {})


def test_writing_that_fails_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / FILE_NAME
    save_checkpoint(path, {"step": 1}, {})

    def half(content: Any, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises(MMDistillError, match="disk is full"):
        save_checkpoint(path, {"step": 2}, {})
    assert load_checkpoint(path, {}) == {"step": 1}
    assert [one.name for one in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    class Interrupting(Memory):
        def batches(self, epoch: int, start: int = 0) -> Any:
            for index, batch in enumerate(super().batches(epoch, start)):
                if epoch == 1 and index == 1 and start == 0:
                    signal.raise_signal(number)
                yield batch

    whole, model = new_model(), new_model()
    train_model(whole, Memory(), spec())
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"after step 7 of 15. Run the same command again to continue") as caught:
        train_model(model, Interrupting(), spec(), folder=tmp_path)
    assert caught.value.exit_status == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed = new_model(seed=3)
    train_model(resumed, Memory(), spec(), folder=tmp_path)
    assert equal_weights(whole, resumed)


def test_a_signal_during_validation_is_not_lost(tmp_path: Path) -> None:
    def validate() -> float:
        signal.raise_signal(signal.SIGINT)
        return 0.5

    with pytest.raises(Interrupted):
        train_model(new_model(), Memory(), spec(epochs=1), folder=tmp_path, validate=validate)


def test_a_second_signal_ends_at_once() -> None:
    class Twice(Memory):
        def batches(self, epoch: int, start: int = 0) -> Any:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            yield from super().batches(epoch, start)

    # A process that was started in the background ignores SIGINT from the beginning.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_model(new_model(), Twice(), spec())
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_checkpoint_every_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    clock = [0.0]

    def tick(self: Any, step: int) -> None:
        clock[0] += 1.0

    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(loop._Loop, "save", _counting(loop._Loop.save, saved))
    monkeypatch.setattr("mmdistill.training.progress.Silent.step", tick)
    train_model(new_model(), Memory(80), spec(epochs=1, checkpoint={"seconds": 3.0}), folder=tmp_path)
    assert saved == [3, 6, 9, 10]


def _counting(save: Any, saved: list[int]) -> Any:
    def counted(self: Any) -> None:
        saved.append(self.state.step)
        save(self)

    return counted
