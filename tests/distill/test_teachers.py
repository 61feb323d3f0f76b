"""A teacher from an earlier run is checked against the classes of this one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmdistill.distill.teachers import load_teacher, reorder_classes
from mmdistill.errors import InputError
from mmdistill.models.inference import collect
from mmdistill.models.saving import save_model
from tests.distill.small_run import SmallRun
from tests.training.standins import equal_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun(tmp_path_factory.mktemp("run"))


class TestLoading:
    """From a run folder."""

    def test_the_model_and_its_card(self, run: SmallRun, tmp_path: Path) -> None:
        for seed in (10, 2):
            save_model(tmp_path / "teacher" / f"seed-{seed}", run.model("easy", seed=seed), {"seed": seed})
        (tmp_path / "teacher" / "seed-0").mkdir()
        model, card = load_teacher(tmp_path)
        assert card == {"seed": 2}
        assert not model.training
        assert load_teacher(tmp_path, seed=10)[1] == {"seed": 10}
        with pytest.raises(InputError, match=r"not trained with seed 3.*Its seeds are: 2, 10"):
            load_teacher(tmp_path, seed=3)

    def test_a_run_or_model_that_does_not_exist(self, run: SmallRun, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such run folder"):
            load_teacher(tmp_path / "nowhere")
        save_model(tmp_path / "student" / "seed-0", run.model("easy"), {})
        with pytest.raises(InputError, match=r"no trained model named 'teacher'.*student"):
            load_teacher(tmp_path)


class TestClasses:
    """The classes that the teacher tells apart."""

    def test_the_same_order_changes_nothing(self, run: SmallRun) -> None:
        teacher = run.model("easy")
        reorder_classes(teacher, "class", ["a", "b", "c"], ["a", "b", "c"])
        assert equal_weights(teacher, run.model("easy"))

    def test_another_order_is_mapped_by_name(self, run: SmallRun) -> None:
        teacher, loader = run.model("easy"), run.loader()
        theirs = collect(teacher, loader, ["logits", "fused"])
        reorder_classes(teacher, "class", ["c", "a", "b"], ["a", "b", "c"])
        ours = collect(teacher, loader, ["logits", "fused"])
        torch.testing.assert_close(ours["logits"], theirs["logits"][:, [1, 2, 0]])
        assert torch.equal(ours["fused"], theirs["fused"])

    def test_other_classes_are_refused_by_name(self, run: SmallRun) -> None:
        with pytest.raises(InputError, match="does not know 'd' and it knows 'c' beside them"):
            reorder_classes(run.model("easy"), "class", ["a", "b", "c"], ["a", "b", "d"])
