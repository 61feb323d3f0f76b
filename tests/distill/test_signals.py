"""A teacher's signals, live or stored, are those of a frozen teacher for the very row; anything else is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmdistill.data.features import Feature
from mmdistill.data.loader import Loader
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import read_table
from mmdistill.distill.objective import PRESENT
from mmdistill.distill.signals import LiveTeacher, StoredTeacher, choose_signals, store_or_not
from mmdistill.distill.store import stored_teacher
from mmdistill.errors import InputError
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ColumnSpec, ModelSpec, SignalsSpec
from tests.distill.small_run import TRAIN, SmallRun
from tests.training.standins import Memory, new_model

TAPS = ("fused", "logits")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun(tmp_path_factory.mktemp("run"))


def texts(folder: Path) -> tuple[MultimodalModel, PreparedRows]:
    """A teacher of words, and twelve rows of one to twelve of them."""
    table = folder / "texts.jsonl"
    table.write_text("".join(json.dumps({"text": " ".join("abcdefghijkl"[: 1 + row])}) + "\n" for row in range(12)))
    feature = Feature("text", "text", "text", ("text",), ColumnSpec(type="text").settings())
    prepared = prepare(read_table(table), [feature], np.arange(12), folder / "cache")
    encoder = {"name": "transformer", "dim": 8, "depth": 2, "heads": 2}
    spec = ModelSpec.model_validate({"encoders": {"text": encoder}})
    return build_model(spec, {"text": prepared.features["text"].info}, {"class": 3}, 0), prepared


class TestLive:
    """The frozen teacher in the loop."""

    def test_it_stays_in_eval_mode_and_without_gradient_whatever_the_mode_of_what_holds_it(self) -> None:
        model = new_model()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        holder = nn.ModuleDict({"student": new_model(1), "teacher": LiveTeacher(model, TAPS)})
        for mode in (True, False, True):
            holder.train(mode)
            assert not any(module.training for module in model.modules())
        model.train()
        loader = Memory()
        one, two = (holder["teacher"](next(loader.batches(0))) for _ in range(2))
        assert torch.equal(one["logits"], two["logits"])
        assert not any(value.requires_grad for value in one.values())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    def test_it_gives_the_taps_that_were_asked_for(self) -> None:
        assert set(LiveTeacher(new_model(), ["fused"])(next(Memory().batches(0)))) == {"fused"}

    def test_a_tap_that_does_not_exist_is_an_error(self) -> None:
        with pytest.raises(InputError, match=r"no tap 'logit'.*Did you mean 'logits'"):
            LiveTeacher(new_model(), ["logit"])(next(Memory().batches(0)))

    def test_it_tells_the_rows_that_it_saw_something_of(self, run: SmallRun) -> None:
        teacher = LiveTeacher(run.model("easy", "hard"), ["logits"], ("easy", "hard"))
        batch = next(run.loader().batches(0))
        batch["present", "easy"][:4] = False
        batch["present", "hard"][2:6] = False
        assert teacher(batch)[PRESENT].tolist() == [True] * 2 + [False] * 2 + [True] * 12


class TestStored:
    """Signals replayed by row number."""

    def test_they_equal_live_ones_in_any_order(self, run: SmallRun, tmp_path: Path) -> None:
        teacher = run.model("easy", "hard")
        stored = stored_teacher(teacher, TAPS, run.loader(), folder=tmp_path / "signals", identity={})
        live = LiveTeacher(teacher, TAPS)
        for batch in run.loader(shuffle=True, seed=5).batches(3):
            said, expected = stored(batch), live(batch)
            assert set(said) == set(expected)
            for tap, value in said.items():
                torch.testing.assert_close(value, expected[tap])

    def test_they_are_by_row_number_whatever_rows_were_stored(self, run: SmallRun) -> None:
        teacher, some = run.model("hard"), np.array([77, 3, 150, 12])
        stored = stored_teacher(teacher, ["logits"], run.loader(some), folder=None, identity={})
        batch = next(run.loader(np.array([150, 3])).batches(0))
        torch.testing.assert_close(stored(batch)["logits"], LiveTeacher(teacher, ["logits"])(batch)["logits"])

    def test_a_row_that_was_not_stored_gives_nan_so_that_training_stops(self, run: SmallRun) -> None:
        stored = stored_teacher(run.model("hard"), ["logits"], run.loader(), folder=None, identity={})
        batch = next(run.loader(np.array([5, TRAIN, TRAIN + 30])).batches(0))
        said = stored(batch)["logits"]
        assert said[0].isfinite().all()
        assert said[1:].isnan().all()

    def test_a_view_that_the_teacher_never_saw_gives_nan(self) -> None:
        values = {"logits": torch.tensor([[1.0], [2.0], [torch.nan]]), "mask": torch.tensor([True, True, False])}
        batch = Memory(8).batch(torch.tensor([1, 0, 1]))
        batch["view"] = torch.tensor([0, 3, 1])
        varied = StoredTeacher(values, torch.tensor([0, 1]), augmented=True)(batch)
        assert varied["logits"][0] == 2
        assert varied["logits"][1:].isnan().all()
        assert varied["mask"].tolist() == [True, False, False]
        unvaried = StoredTeacher(values, torch.tensor([0, 1]))(batch)
        assert unvaried["logits"].flatten().tolist() == [2, 1, 2]

    def test_rows_that_the_teacher_saw_nothing_of_are_told(self) -> None:
        values = {"logits": torch.tensor([[1.0], [2.0], [torch.nan]])}
        present = torch.tensor([True, False])
        batch = Memory(8).batch(torch.tensor([0, 1, 5]))
        said = StoredTeacher(values, torch.tensor([0, 1]), present=present)(batch)
        assert said[PRESENT].tolist() == [True, False, True]
        everywhere = StoredTeacher(values, torch.tensor([0, 1]), present=torch.tensor([True, True]))(batch)
        assert PRESENT not in everywhere

    def test_nothing_is_computed_twice(self, run: SmallRun, tmp_path: Path) -> None:
        folder, loader, teacher = tmp_path / "signals", run.loader(), Counting(run.model("easy"))
        stored_teacher(teacher.model, ["logits"], loader, folder=folder, identity={"data": "d"})
        calls = teacher.calls
        assert calls > 0
        again = stored_teacher(teacher.model, ["logits"], loader, folder=folder, identity={"data": "d"})
        assert teacher.calls == calls
        batch = next(loader.batches(0))
        torch.testing.assert_close(again(batch)["logits"], LiveTeacher(teacher.model, ["logits"])(batch)["logits"])

    def test_taps_are_added_to_a_store(self, run: SmallRun, tmp_path: Path) -> None:
        teacher = run.model("easy")
        for taps in (["logits"], ["fused"], ["fused", "logits"]):
            stored = stored_teacher(teacher, taps, run.loader(), folder=tmp_path, identity={})
            assert sorted(stored(next(run.loader().batches(0)))) == taps

    def test_what_grows_with_the_padding_has_the_size_that_a_live_teacher_would_give(self, tmp_path: Path) -> None:
        teacher, prepared = texts(tmp_path)
        taps = ["logits", "text.tokens", "text.tokens.mask", "text.layers.0"]
        loader = Loader(prepared, {}, np.arange(12), 4, shuffle=False)
        stored = stored_teacher(teacher, taps, loader, folder=tmp_path / "signals", identity={})
        live, lengths = LiveTeacher(teacher, taps), set()
        for seed in range(4):
            for batch in Loader(prepared, {}, np.arange(12), 2, shuffle=True, seed=seed).batches(1):
                said, expected = stored(batch), live(batch)
                words = expected["text.tokens.mask"]
                torch.testing.assert_close(said["text.tokens.mask"], words)
                for tap in ("text.tokens", "text.layers.0"):
                    torch.testing.assert_close(said[tap][words], expected[tap][words])
                lengths.add(said["text.tokens"].shape[1])
        assert len(lengths) > 2

    def test_the_teacher_is_asked_for_sizes_once_for_all_batches_that_are_padded_alike(self, tmp_path: Path) -> None:
        teacher, prepared = texts(tmp_path)
        loader = Loader(prepared, {}, np.arange(12), 4, shuffle=False)
        stored = stored_teacher(teacher, ["text.tokens"], loader, folder=tmp_path / "signals", identity={})
        counting = Counting(teacher)
        for _ in range(3):
            for batch in loader.batches(0):
                stored(batch)
        assert counting.calls == len({batch["features", "text", "values"].shape[1] for batch in loader.batches(0)})

    def test_they_are_mapped_not_read(self, run: SmallRun, tmp_path: Path) -> None:
        stored = stored_teacher(run.model("easy"), ["logits"], run.loader(), folder=tmp_path, identity={})
        (file,) = tmp_path.glob("*.npy")
        assert np.load(file, allow_pickle=False).shape == (TRAIN + 1, 3)
        assert str(file) in Path("/proc/self/maps").read_text() or not Path("/proc/self/maps").exists()
        del stored

    @pytest.mark.parametrize("what", ["weights", "rows", "data"])
    def test_a_mismatch_is_an_error_that_says_which(self, run: SmallRun, tmp_path: Path, what: str) -> None:
        stored_teacher(run.model("easy"), ["logits"], run.loader(), folder=tmp_path, identity={"data": "one"})
        teacher = run.model("easy", seed=int(what == "weights"))
        loader = run.loader(np.arange(7)) if what == "rows" else run.loader()
        identity = {"data": "two" if what == "data" else "one"}
        with pytest.raises(InputError, match=f"made with another: {what}"):
            stored_teacher(teacher, ["logits"], loader, folder=tmp_path, identity=identity)

    @pytest.mark.parametrize("damage", ["flipped", "short", "gone", "pickle"])
    def test_a_damaged_store_is_an_error(self, run: SmallRun, tmp_path: Path, damage: str) -> None:
        teacher = run.model("easy")
        stored_teacher(teacher, ["logits"], run.loader(), folder=tmp_path, identity={})
        (file,) = tmp_path.glob("*.npy")
        content = bytearray(file.read_bytes())
        content[-40] ^= 1
        if damage == "gone":
            file.unlink()
        elif damage == "pickle":
            np.save(file, np.array([{}], dtype=object), allow_pickle=True)
        else:
            file.write_bytes(bytes(content) if damage == "flipped" else bytes(content[:-40]))
        with pytest.raises(InputError, match="tap 'logits' are missing or damaged"):
            stored_teacher(teacher, ["logits"], run.loader(), folder=tmp_path, identity={})

    def test_a_store_of_another_version_is_an_error(self, run: SmallRun, tmp_path: Path) -> None:
        (tmp_path / "signals.json").write_text(json.dumps({"format": 99}))
        with pytest.raises(InputError, match="another version"):
            stored_teacher(run.model("easy"), ["logits"], run.loader(), folder=tmp_path, identity={})

    def test_nothing_in_a_step_waits_for_the_device(self) -> None:
        values = {"logits": torch.zeros(3, 4)}
        stored = StoredTeacher(
            values, torch.tensor([0, 1]), present=torch.tensor([True, False]), augmented=True, device="meta"
        )
        assert stored(Memory(8).batch(torch.tensor([0, 1])).to("meta"))["logits"].shape == (2, 4)


class Counting:
    """Counts the forward passes of a model."""

    def __init__(self, model: Any) -> None:
        self.model, self.calls = model, 0
        model.register_forward_hook(self.count)

    def count(self, *_: Any) -> None:
        self.calls += 1


class TestChoice:
    """Stored where that changes nothing, live elsewhere, and never stored where it would be wrong."""

    @pytest.mark.parametrize(
        ("store", "varied", "mixup", "expected"),
        [
            (None, set(), False, True),
            (None, {"sound"}, False, True),
            (None, {"image"}, False, False),
            (None, set(), True, False),
            (True, {"sound"}, False, True),
            (False, set(), False, False),
            (False, {"image"}, True, False),
        ],
    )
    def test_the_rule(self, store: bool | None, varied: set[str], mixup: bool, expected: bool) -> None:
        assert store_or_not(SignalsSpec(store=store), ["image", "text"], varied, mixup) is expected

    @pytest.mark.parametrize(("varied", "mixup", "why"), [({"image"}, False, "'image'"), (set(), True, "mixup")])
    def test_stored_signals_that_would_be_wrong_are_refused(self, varied: set[str], mixup: bool, why: str) -> None:
        with pytest.raises(InputError, match=f"{why}.*Set distill.signals.store to false"):
            store_or_not(SignalsSpec(store=True), ["image"], varied, mixup)

    def test_the_sources(self, run: SmallRun, tmp_path: Path) -> None:
        def chosen(varied: set[str], present: Tensor | None = None) -> Any:
            return choose_signals(
                SignalsSpec(),
                run.model("easy"),
                ["logits"],
                run.loader(),
                varied=varied,
                mixup=False,
                folder=tmp_path,
                identity={},
                present=present,
            )

        assert isinstance(chosen({"hard"}), StoredTeacher)
        live = chosen({"easy"}, torch.ones(TRAIN, dtype=torch.bool))
        assert isinstance(live, LiveTeacher)
        assert live.columns == ()
        assert chosen({"easy"}, torch.arange(TRAIN) > 3).columns == ("easy",)
