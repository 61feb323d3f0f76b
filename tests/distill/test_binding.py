"""What the arguments of a loss are bound to, beyond the logits and features of one column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.catalog import Entry, NoOptions
from mmdistill.distill.arguments import Sources
from mmdistill.distill.binding import Binder
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import Objective
from mmdistill.errors import InputError
from mmdistill.losses.module import DistillationLoss
from mmdistill.recipe.schema import DistillSpec
from mmdistill.tasks.cross_entropy import CrossEntropy

ROWS, CLASSES = 4, 3
SEEN: dict[str, Any] = {}
STUDENT: dict[str, Any] = {
    "logits": (CLASSES,), "fused": (5,), "image": (5,), "sound": (5,), "image.maps": (5, 3, 3),
    "image.stages.0": (2, 6, 6), "image.stages.1": (5, 3, 3), "sound.tokens": (None, 5), "sound.tokens.mask": (None,),
}  # fmt: skip
TEACHER: dict[str, Any] = {
    **STUDENT, "note": (5,), "sound.stages.0": (3, 4, 4), "sound.stages.10": (3, 1, 1), "sound.stages.2": (3, 2, 2),
    "note.tokens": (None, 5), "note.tokens.mask": (None,), "sound.maps": (3, 1, 1),
}  # fmt: skip


class Watching(nn.Module):
    """A loss that keeps what it is given."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def watch(self, **values: Any) -> Tensor:
        SEEN.clear()
        SEEN.update(values)
        tensors = [one for value in values.values() for one in (value if isinstance(value, tuple) else (value,))]
        return sum((one.float().mean() for one in tensors if isinstance(one, Tensor)), torch.zeros(()))


class Stages(Watching):
    def forward(self, student_stages: tuple[Tensor, ...], teacher_stages: tuple[Tensor, ...]) -> Tensor:
        return self.watch(student=student_stages, teacher=teacher_stages)


class Columns(Watching):
    def forward(
        self, student_embeddings: tuple[Tensor, ...], teacher_embeddings: tuple[Tensor, ...], present: Tensor
    ) -> Tensor:
        return self.watch(student=student_embeddings, teacher=teacher_embeddings, present=present)


class Own(Watching):
    def forward(self, student_embeddings: tuple[Tensor, ...], present: Tensor) -> Tensor:
        return self.watch(student=student_embeddings, present=present)


class Head(Watching):
    def forward(
        self,
        student_maps: Tensor,
        student_head_weight: Tensor,
        teacher_head_weight: Tensor,
        student_head_bias: Tensor | None = None,
    ) -> Tensor:
        return self.watch(weight=student_head_weight, teacher=teacher_head_weight, bias=student_head_bias)


class Rows(Watching):
    def forward(self, student_logits: Tensor, row: Tensor, progress: float) -> Tensor:
        return self.watch(row=row, progress=torch.tensor(progress))


class Tokens(Watching):
    def forward(self, student_tokens: Tensor, teacher_tokens: Tensor, mask: Tensor) -> Tensor:
        return self.watch(student=student_tokens, teacher=teacher_tokens, mask=mask)


class Pairs(Watching):
    def forward(self, student_image: Tensor, student_text: Tensor) -> Tensor:
        return self.watch(image=student_image, text=student_text)


class Learning(DistillationLoss):
    """A loss with parts that are built."""

    options_type = NoOptions

    def make_parts(self, shapes: Any, *, rows: Any, targets: Any, seed: int) -> None:
        SEEN.clear()
        SEEN.update(shapes=dict(shapes), rows=rows, targets=targets)
        self.layer = nn.Linear(shapes["student_features"][0], 1)

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        return self.layer(student_features).mean() + 0 * teacher_features.sum()  # type: ignore[no-any-return]


LOSSES = (Stages, Columns, Own, Head, Rows, Tokens, Pairs, Learning)


@pytest.fixture(autouse=True, scope="module")
def own_losses() -> Iterator[None]:
    catalog.entries()
    before = dict(catalog._entries)
    for loss in LOSSES:
        catalog.register(Entry("loss", f"own_{loss.__name__.lower()}", f"{__name__}:{loss.__name__}"))
    yield
    catalog._entries.clear()
    catalog._entries.update(before)


def build(term: Any, student: Any = None, teacher: Any = None, **options: Any) -> Objective:
    spec = DistillSpec.model_validate({"losses": [{"adapter": "auto", **term} if isinstance(term, dict) else term]})
    return build_objective(
        {"label": CrossEntropy()},
        spec,
        student_taps=STUDENT if student is None else student,
        teacher_taps=TEACHER if teacher is None else teacher,
        total_steps=8,
        **options,
    )


def outputs(shapes: Any, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = {
        tap: torch.randn(ROWS, *(4 if axis is None else axis for axis in shape), generator=generator)
        for tap, shape in shapes.items()
    }
    return {tap: value > 0 if tap.endswith(".mask") else value for tap, value in values.items()}


def run(objective: Objective, step: int = 0) -> dict[str, Any]:
    present = {"image": torch.tensor([True, True, False, True]), "sound": torch.tensor([True, False, True, True])}
    content = {
        "target": {"label": torch.zeros(ROWS, dtype=torch.long)},
        "labelled": {"label": torch.ones(ROWS, dtype=torch.bool)},
        "row": torch.arange(10, 10 + ROWS),
        "present": present,
    }
    objective(TensorDict(content, [ROWS]), outputs(STUDENT, 1), outputs(TEACHER, 2), step)
    return SEEN


def without(shapes: Any, *taps: str) -> dict[str, Any]:
    return {tap: shape for tap, shape in shapes.items() if not tap.startswith(taps)}


class TestStages:
    """Several maps, shallow to deep."""

    def test_those_of_the_only_column_that_both_sides_have(self) -> None:
        seen = run(build("own_stages"))
        expected = outputs(STUDENT, 1)
        assert [torch.equal(one, expected[f"image.stages.{i}"]) for i, one in enumerate(seen["student"])] == [True] * 2
        assert [tuple(one.shape[1:]) for one in seen["teacher"]] == [(2, 6, 6), (5, 3, 3)]

    def test_a_column_stands_for_all_of_its_stages_in_the_order_of_their_numbers(self) -> None:
        objective = build(
            {
                "name": "own_stages",
                "taps": {"teacher": "sound", "student": ["image.stages.0", "image.stages.1", "image.maps"]},
            }
        )
        assert objective.teacher_taps == {"sound.stages.0", "sound.stages.2", "sound.stages.10"}
        assert [tuple(one.shape[1:]) for one in run(objective)["teacher"]] == [(3, 4, 4), (3, 2, 2), (3, 1, 1)]

    def test_several_columns_have_to_be_told_apart(self) -> None:
        both = {**STUDENT, "sound.stages.0": (3, 4, 4)}
        with pytest.raises(InputError, match=r"several that it could be: image\.stages, sound\.stages\. Name one"):
            build("own_stages", student=both)

    def test_other_numbers_of_them_are_an_error(self) -> None:
        with pytest.raises(
            InputError, match=r"gives 2 stages .* the teacher 1 \(image.stages.0\).*Name as many of both"
        ):
            build({"name": "own_stages", "taps": {"teacher": ["image.stages.0"]}})

    def test_a_model_without_any_is_an_error(self) -> None:
        with pytest.raises(InputError, match="the student has no tap 'stages'"):
            build("own_stages", student=without(STUDENT, "image.stages"))


class TestColumns:
    """The embeddings of the columns, and which rows have them."""

    def test_those_that_both_sides_have_in_sorted_order(self) -> None:
        objective = build("own_columns")
        assert objective.teacher_taps == {"image", "sound"}
        seen = run(objective)
        assert torch.equal(seen["student"][1], outputs(STUDENT, 1)["sound"])
        assert seen["present"].tolist() == [[True, True], [True, False], [False, True], [True, True]]

    def test_the_students_own_where_the_teacher_is_not_asked(self) -> None:
        seen = run(build({"name": "own_own", "taps": {"student": ["sound"]}}))
        assert len(seen["student"]) == 1
        assert seen["present"].shape == (ROWS, 1)


class TestHeads:
    """Weights of the models' heads."""

    def heads(self, student: int = 5, teacher: int = 5, classes: int = CLASSES) -> dict[str, Any]:
        return {
            "student_heads": {"label": nn.Linear(student, CLASSES)},
            "teacher_heads": {"label": nn.Linear(teacher, classes)},
        }

    def test_the_students_is_live_and_the_teachers_is_not(self) -> None:
        heads = self.heads()
        objective = build("own_head", **heads)
        assert not list(objective.parameters())
        seen = run(objective)
        assert seen["weight"] is heads["student_heads"]["label"].weight
        assert seen["bias"] is heads["student_heads"]["label"].bias
        assert seen["teacher"].requires_grad is False

    def test_they_follow_the_model_to_another_type(self) -> None:
        heads = self.heads()
        objective = build("own_head", **heads)
        heads["student_heads"]["label"].double()
        assert run(objective)["weight"].dtype is torch.float64

    def test_a_head_of_other_features_is_an_error(self) -> None:
        with pytest.raises(InputError, match=r"student's head reads 7 features, and its 'image\.maps' has 5 channels"):
            build("own_head", **self.heads(student=7))

    def test_heads_of_other_classes_are_an_error(self) -> None:
        with pytest.raises(InputError, match="class counts differ"):
            build("own_head", **self.heads(classes=4))

    def test_no_linear_head_is_an_error(self) -> None:
        with pytest.raises(InputError, match="the student's linear head of 'label', and there is none"):
            build("own_head", **{**self.heads(), "student_heads": {"label": nn.Identity()}})

    def test_maps_of_classes_need_no_head(self) -> None:
        shapes = {**STUDENT, "image.maps": (CLASSES, 3, 3)}
        objective = build({"name": "catkd"}, student=shapes, teacher=shapes, **self.heads(7, 7))
        names = {argument.name for argument in objective.terms[0].arguments}  # type: ignore[union-attr]
        assert "student_head_weight" not in names


def test_rows_and_progress_are_those_of_the_step() -> None:
    objective = build("own_rows")
    seen = run(objective, 2)
    assert seen["row"].tolist() == [10, 11, 12, 13]
    assert float(seen["progress"]) == 0.25


def test_tokens_are_those_of_the_same_column() -> None:
    objective = build("own_tokens")
    assert objective.teacher_taps == {"sound.tokens"}


def test_tokens_brought_to_the_teachers_length_have_the_teachers_mask() -> None:
    teacher = {**without(TEACHER, "note", "sound.tokens"), "sound.tokens": (4, 7), "sound.tokens.mask": (4,)}
    student = {**STUDENT, "sound.tokens": (6, 5), "sound.tokens.mask": (6,)}
    objective = build("own_tokens", student=student, teacher=teacher)
    assert objective.teacher_taps == {"sound.tokens", "sound.tokens.mask"}
    content = {
        "target": {"label": torch.zeros(ROWS, dtype=torch.long)},
        "labelled": {"label": torch.ones(ROWS, dtype=torch.bool)},
    }
    objective(TensorDict(content, [ROWS]), outputs(student, 1), outputs(teacher, 2), 0)
    assert torch.equal(SEEN["mask"], outputs(teacher, 2)["sound.tokens.mask"])
    assert SEEN["student"].shape == (ROWS, 4, 7)


class TestNames:
    """Taps that a recipe names."""

    def test_each_argument_may_be_named(self) -> None:
        seen = run(build({"name": "own_pairs", "taps": {"student_image": "image", "student_text": "sound"}}))
        assert torch.equal(seen["text"], outputs(STUDENT, 1)["sound"])

    def test_a_side_of_several_arguments_is_an_error(self) -> None:
        with pytest.raises(InputError, match="takes several: student_image, student_text"):
            build({"name": "own_pairs", "taps": {"student": "image"}})

    def test_an_argument_that_the_loss_does_not_take_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"taps.student_imge: The loss takes no 'student_imge'.*'student_image'"):
            build({"name": "own_pairs", "taps": {"student_imge": "image", "student_text": "sound"}})

    def test_a_side_that_the_loss_does_not_read_is_an_error(self) -> None:
        with pytest.raises(InputError, match="Of the teacher's taps the loss takes none"):
            build({"name": "own_rows", "taps": {"teacher": "fused"}})

    def test_a_list_for_one_tensor_is_an_error(self) -> None:
        with pytest.raises(InputError, match="takes one tap as 'student_image', not a list"):
            build({"name": "own_pairs", "taps": {"student_image": ["image", "sound"], "student_text": "sound"}})


class TestLearnedParts:
    """What a loss learns is built with the objective and lives in it."""

    def test_shapes_are_those_that_the_loss_sees(self) -> None:
        rows, classes = torch.arange(6), torch.tensor([0, 1, 2, 0, -1, -1])
        shapes = {**TEACHER, "fused": (9,)}
        objective = build("own_learning", teacher=shapes, rows=rows, targets={"label": classes})
        assert SEEN["shapes"] == {"student_features": (9,), "teacher_features": (9,)}
        assert SEEN["rows"] is rows and SEEN["targets"] is classes
        assert any("loss.layer" in name for name, _ in objective.named_parameters())

    def test_their_weights_depend_on_the_seed_alone(self) -> None:
        def weights(seed: int) -> Tensor:
            return torch.cat([one.flatten() for one in build("own_learning", seed=seed).parameters()])

        torch.manual_seed(5)
        state = torch.get_rng_state()
        first = weights(1)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first, weights(1)) and not torch.equal(first, weights(2))

    def test_a_loss_with_a_memory_needs_rows(self) -> None:
        with pytest.raises(InputError, match=r"losses\[0\] \(crd\)|row"):
            build("crd")


def test_what_was_seen_needs_columns_that_are_known() -> None:
    def asks(student_logits: Tensor, seen: Tensor, columns: tuple[str, ...]) -> Tensor: ...

    def may_ask(student_logits: Tensor, seen: Tensor | None = None) -> Tensor: ...

    taps = {"logits": (3,), "sound": (4,), "image": (4,)}
    bound = {one.name: one for one in Binder(asks, Sources(taps, {}, ("a",)), {}, "a", "here").bind()}
    assert bound["seen"].keys == bound["columns"].keys == ("image", "sound")
    stated = Sources(taps, {}, ("a",), columns=("sound", "image", "text"))
    assert Binder(asks, stated, {}, "a", "here").bind()[1].keys == ("sound", "image", "text")
    nothing = Sources({"logits": (3,)}, {}, ("a",))
    with pytest.raises(InputError, match="not known which columns the student reads"):
        Binder(asks, nothing, {}, "a", "here").bind()
    assert [one.name for one in Binder(may_ask, nothing, {}, "a", "here").bind()] == ["student_logits"]
