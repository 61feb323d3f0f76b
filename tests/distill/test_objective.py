"""An objective binds the arguments of its losses to taps when it is built, and names every term."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill import catalog
from mmdistill.catalog import Entry, NoOptions
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import PRESENT, Objective
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.recipe.schema import DistillSpec
from mmdistill.tasks.cross_entropy import CrossEntropy

ROWS, CLASSES = 6, 3
STUDENT = {"logits": (CLASSES,), "fused": (4,), "sound": (4,), "sound.tokens": (None, 4), "sound.tokens.mask": (None,)}
TEACHER = {
    "logits": (CLASSES,),
    "fused": (7,),
    "sound": (4,),
    "image.maps": (8, 5, 5),
    "sound.tokens": (None, 7),
    "sound.tokens.mask": (None,),
}


class Features(nn.Module):
    """A loss of the user's own: mean squared difference of features."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def forward(self, student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None) -> Tensor:
        rows = (student_features - teacher_features).square().flatten(1).mean(dim=1)
        return rows.mean() if weight is None else (rows * weight).sum() / weight.sum().clamp(min=1e-9)


class Tokens(Features):
    """One that needs masks and lengths."""

    def forward(  # type: ignore[override]
        self, student_tokens: Tensor, teacher_tokens: Tensor, student_mask: Tensor, teacher_lengths: Tensor
    ) -> Tensor:
        return (student_tokens.sum(-1) * student_mask).sum() + 100 * teacher_lengths.sum() + 0 * teacher_tokens.sum()


class Maps(Features):
    """One that needs maps."""

    def forward(self, student_maps: Tensor, teacher_maps: Tensor) -> Tensor:  # type: ignore[override]
        return (student_maps - teacher_maps).square().mean()


class Targets(Features):
    """One that needs targets and knows nothing of missing ones."""

    def forward(self, student_logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:  # type: ignore[override]
        rows = F.cross_entropy(student_logits, target, reduction="none")
        assert weight is not None
        return (rows * weight).sum() / weight.sum()


class Strange(Features):
    """One whose argument no one knows."""

    def forward(self, student_logits: Tensor, weather: Tensor) -> Tensor:  # type: ignore[override]
        return student_logits.sum() + weather.sum()


@pytest.fixture(autouse=True, scope="module")
def own_losses() -> Iterator[None]:
    catalog.entries()
    before = dict(catalog._entries)
    for loss in (Features, Tokens, Maps, Targets, Strange):
        catalog.register(Entry("loss", f"own_{loss.__name__.lower()}", f"{__name__}:{loss.__name__}"))
    yield
    catalog._entries.clear()
    catalog._entries.update(before)


def batch(**changes: Any) -> TensorDict:
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    labelled = torch.tensor([True, True, True, True, False, False])
    content = {
        "target": {"label": torch.where(labelled, target, -1)},
        "labelled": {"label": labelled},
        "row": torch.arange(ROWS),
        **changes,
    }
    return TensorDict(content, [ROWS])


def outputs(shapes: dict[str, Any], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for tap, shape in shapes.items():
        size = [5 if axis is None else axis for axis in shape]
        values = torch.randn(ROWS, *size, generator=generator)
        made[tap] = values > 0 if tap.endswith(".mask") else values
    return made


def build(*losses: Any, supervised: Any = 1.0, steps: int = 10, **options: Any) -> Objective:
    spec = DistillSpec.model_validate({"losses": list(losses), "supervised": supervised})
    arguments = {"student_taps": STUDENT, "teacher_taps": TEACHER, "total_steps": steps, **options}
    return build_objective({"label": CrossEntropy()}, spec, **arguments)


def adapter_of(objective: Objective, index: int = 0) -> Any:
    """The only adapter of a term."""
    (each,) = objective.terms[index].adapters.values()  # type: ignore[union-attr, operator]
    (adapter,) = each
    return adapter


def terms_of(objective: Objective, step: int = 0, **changes: Any) -> dict[str, Tensor]:
    said = {**outputs(TEACHER, 2), **changes.pop("signals", {})}
    result = objective(batch(**changes), outputs(STUDENT, 1), said, step)
    torch.testing.assert_close(result.total, sum(result.parts.values()))
    return result.parts  # type: ignore[no-any-return]


def test_terms_are_weighted_and_named() -> None:
    objective = build({"name": "kd", "weight": 0.9, "temperature": 2}, "dkd", "kd", supervised=0.1)
    parts = terms_of(objective)
    student, teacher, data = outputs(STUDENT, 1)["logits"], outputs(TEACHER, 2)["logits"], batch()
    expected = {
        "supervised": 0.1 * F.cross_entropy(student[:4], data["target"]["label"][:4]),
        "kd": 0.9 * functional.kd(student, teacher, temperature=2.0),
        "dkd": functional.dkd(student[:4], teacher[:4], data["target"]["label"][:4]),
        "kd_2": functional.kd(student, teacher),
    }
    assert list(parts) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value)


def test_without_distillation_there_is_only_the_supervised_term() -> None:
    objective = build_objective({"label": CrossEntropy()}, student_taps=STUDENT, total_steps=1)
    assert list(terms_of(objective)) == ["supervised"]
    assert objective.teacher_taps == set()


def test_weights_change_with_the_step() -> None:
    objective = build(
        {"name": "kd", "weight": {"start": 0, "end": 1}},
        supervised={"shape": "step", "start": 2, "end": 1, "begin": 0.5},
    )
    kd, supervised = terms_of(build("kd"))["kd"], terms_of(build("kd"))["supervised"]
    for step, (one, other) in {0: (0.0, 2.0), 4: (0.4, 2.0), 5: (0.5, 1.0), 9: (0.9, 1.0)}.items():
        parts = terms_of(objective, step)
        torch.testing.assert_close(parts["kd"], kd * one)
        torch.testing.assert_close(parts["supervised"], supervised * other)


def test_terms_of_no_weight_are_left_out() -> None:
    assert list(terms_of(build({"name": "kd", "weight": 0}, "mse_logits", supervised=0))) == ["mse_logits"]


def test_nothing_to_learn_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to learn"):
        build({"name": "kd", "weight": 0}, supervised=0)


def test_unlabelled_rows_teach_through_the_teacher_only() -> None:
    objective = build("kd", "dkd")
    student = {tap: value.requires_grad_(value.is_floating_point()) for tap, value in outputs(STUDENT, 1).items()}
    parts = objective(batch(), student, outputs(TEACHER, 2), 0).parts
    gradients = {}
    for name, value in parts.items():
        (gradients[name],) = torch.autograd.grad(value, student["logits"], retain_graph=True)
    for name in ("supervised", "dkd"):
        assert gradients[name][:4].abs().min() > 0
        assert gradients[name][4:].abs().max() == 0
    assert gradients["kd"].abs().amin(dim=1).min() > 0


def test_a_batch_without_any_target_still_teaches() -> None:
    none = {"labelled": {"label": torch.zeros(ROWS, dtype=torch.bool)}, "target": {"label": torch.full((ROWS,), -1)}}
    parts = terms_of(build("kd", "dkd"), **none)
    assert parts["supervised"] == 0
    assert parts["dkd"] == 0
    assert parts["kd"] > 0


def test_rows_that_the_teacher_saw_nothing_of_count_for_nothing() -> None:
    seen = torch.tensor([True, False, True, False, True, True])
    parts = terms_of(build("kd", "dkd", supervised=0), signals={PRESENT: seen})
    student, teacher = outputs(STUDENT, 1)["logits"], outputs(TEACHER, 2)["logits"]
    torch.testing.assert_close(parts["kd"], functional.kd(student[seen], teacher[seen]))
    both = [0, 2]
    torch.testing.assert_close(
        parts["dkd"], functional.dkd(student[both], teacher[both], batch()["target"]["label"][both])
    )


def test_a_loss_that_knows_no_missing_targets_gets_a_weight_and_a_valid_target() -> None:
    parts = terms_of(build("own_targets", supervised=0))
    expected = F.cross_entropy(outputs(STUDENT, 1)["logits"][:4], batch()["target"]["label"][:4])
    torch.testing.assert_close(parts["own_targets"], expected)


def test_mixed_targets_reach_the_supervised_loss_and_stop_losses_that_need_one() -> None:
    mixed = {"partner": torch.tensor([1, 0, 3, 2, 5, 4]), "share": torch.full((ROWS,), 0.7)}
    plain, blended = terms_of(build("kd")), terms_of(build("kd"), mixed=mixed)
    assert plain["supervised"] != blended["supervised"]
    with pytest.raises(InputError, match="needs one target a row, and mixup gives two"):
        terms_of(build("dkd"), mixed=mixed)


class TestBinding:
    """What the arguments of a loss are bound to."""

    def test_features_are_the_fused_embedding_unless_taps_say_otherwise(self) -> None:
        assert build({"name": "own_features"}).teacher_taps == {"fused"}
        objective = build({"name": "own_features", "taps": {"student": "sound", "teacher": "sound"}})
        assert objective.teacher_taps == {"sound"}
        parts = terms_of(objective)
        expected = F.mse_loss(outputs(STUDENT, 1)["sound"], outputs(TEACHER, 2)["sound"])
        torch.testing.assert_close(parts["own_features"], expected)

    def test_masks_and_lengths_are_those_of_the_tap(self) -> None:
        objective = build({"name": "own_tokens", "adapter": "linear"})
        assert objective.teacher_taps == {"sound.tokens", "sound.tokens.mask"}
        objective = build({"name": "own_tokens", "adapter": "auto"})
        projector = adapter_of(objective)
        student, teacher = outputs(STUDENT, 1), outputs(TEACHER, 2)
        tokens = projector(student["sound.tokens"]).sum(-1)
        expected = (tokens * student["sound.tokens.mask"]).sum() + 100 * teacher["sound.tokens.mask"].sum()
        torch.testing.assert_close(terms_of(objective)["own_tokens"], expected)

    def test_named_taps_may_replace_logits(self) -> None:
        shapes = {**STUDENT, "aside.logits": (CLASSES,)}
        objective = build({"name": "kd", "taps": {"student": "aside.logits"}}, student_taps=shapes, supervised=0)
        student = outputs(shapes, 1)
        value = objective(batch(), student, outputs(TEACHER, 2), 0).parts["kd"]
        torch.testing.assert_close(value, functional.kd(student["aside.logits"], outputs(TEACHER, 2)["logits"]))

    def test_a_tap_that_does_not_exist_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"the student has no tap 'fusd'.*Did you mean 'fused'.*there are logits"):
            build({"name": "own_features", "taps": {"student": "fusd"}})

    def test_maps_on_a_model_without_maps_are_an_error(self) -> None:
        with pytest.raises(InputError, match="the student has no tap 'maps'"):
            build("own_maps")

    def test_an_argument_that_nothing_provides_is_an_error(self) -> None:
        with pytest.raises(InputError, match=r"own_strange.*asks for 'weather'"):
            build("own_strange")

    def test_a_mask_on_a_tap_without_one_is_an_error(self) -> None:
        with pytest.raises(InputError, match="'fused' has no mask"):
            build({"name": "own_tokens", "taps": {"student": "fused", "teacher": "sound.tokens"}})

    def test_class_counts_that_differ_are_an_error(self) -> None:
        with pytest.raises(InputError, match=r"'logits' has 3 outputs, the teacher's 'logits' has 5"):
            build("kd", teacher_taps={**TEACHER, "logits": (5,)})

    def test_distillation_needs_a_teacher(self) -> None:
        with pytest.raises(InputError, match="no teacher"):
            build("kd", teacher_taps=None)

    def test_an_unknown_loss_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"losses\[1\].*no loss named 'dkdd'.*Did you mean 'dkd'"):
            build("kd", "dkdd")


class TestSeveralTasks:
    """Taps and terms carry the task's name."""

    SHAPES: ClassVar = {"a.logits": (CLASSES,), "b.logits": (4,), "fused": (4,)}

    def build(self, *losses: Any, **options: Any) -> Objective:
        spec = DistillSpec.model_validate({"losses": list(losses)})
        return build_objective(
            {"a": CrossEntropy(), "b": CrossEntropy()},
            spec,
            student_taps=self.SHAPES,
            teacher_taps=self.SHAPES,
            total_steps=1,
            **options,
        )

    def test_terms_are_prefixed_and_weighted(self) -> None:
        objective = self.build({"name": "kd", "task": "b"}, "own_features", task_weights={"b": 0.5})
        flags = torch.ones(ROWS, dtype=torch.bool)
        data = TensorDict(
            {
                "target": {"a": torch.zeros(ROWS, dtype=torch.long), "b": torch.ones(ROWS, dtype=torch.long)},
                "labelled": {"a": flags, "b": flags},
            },
            [ROWS],
        )
        student, teacher = outputs(self.SHAPES, 1), outputs(self.SHAPES, 2)
        parts = objective(data, student, teacher, 0).parts
        assert list(parts) == ["a/supervised", "b/supervised", "b/kd", "own_features"]
        torch.testing.assert_close(
            parts["b/supervised"], 0.5 * F.cross_entropy(student["b.logits"], data["target"]["b"])
        )
        torch.testing.assert_close(parts["b/kd"], functional.kd(student["b.logits"], teacher["b.logits"]))

    def test_a_term_on_logits_has_to_say_which(self) -> None:
        with pytest.raises(InputError, match=r"there are several tasks.*Set `task` to one of: a, b"):
            self.build("kd")

    def test_an_unknown_task_is_an_error(self) -> None:
        with pytest.raises(InputError, match="no task 'c'"):
            self.build({"name": "kd", "task": "c"})


class TestAdapters:
    """Projectors join taps of different width, and are trained and saved with the rest."""

    def test_only_where_widths_differ(self) -> None:
        assert len(list(build({"name": "own_features"}).parameters())) == 2
        same = {"name": "own_features", "taps": {"student": "sound", "teacher": "sound"}}
        assert not list(build(same).parameters())
        assert len(list(build({**same, "adapter": "mlp"}).parameters())) == 4

    def test_they_project_the_student(self) -> None:
        objective = build({"name": "own_features"}, supervised=0)
        projector = adapter_of(objective)
        student, teacher = outputs(STUDENT, 1), outputs(TEACHER, 2)
        expected = F.mse_loss(projector(student["fused"]), teacher["fused"])
        value = objective(batch(), student, teacher, 0).total
        torch.testing.assert_close(value, expected)
        value.backward()
        assert all(parameter.grad is not None for parameter in objective.parameters())

    def test_on_maps_they_are_one_by_one_convolutions(self) -> None:
        objective = build({"name": "own_maps"}, student_taps={**STUDENT, "image.maps": (3, 5, 5)})
        linear = adapter_of(objective).project
        maps = torch.randn(2, 3, 5, 5)
        expected = F.conv2d(maps, linear.weight[:, :, None, None], linear.bias)
        torch.testing.assert_close(adapter_of(objective)(maps), expected)

    def test_drawing_them_changes_no_other_random_number(self) -> None:
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        build({"name": "own_features"})
        assert torch.equal(torch.rand(4), expected)

    def test_their_weights_depend_on_the_seed_alone(self) -> None:
        def weights(**options: Any) -> Tensor:
            return torch.cat([parameter.flatten() for parameter in build("own_features", **options).parameters()])

        first = weights(seed=1)
        torch.manual_seed(99)
        assert torch.equal(first, weights(seed=1))
        assert not torch.equal(first, weights(seed=2))

    def test_two_of_them_differ(self) -> None:
        objective = build("own_features", "own_features")
        first, second = (adapter_of(objective, index).project.weight for index in (0, 1))
        assert not torch.equal(first, second)

    def test_they_can_be_refused(self) -> None:
        with pytest.raises(InputError, match=r"'fused' has width 4, the teacher's 'fused' has width 7.*linear or mlp"):
            build({"name": "own_features", "adapter": "none"})

    def test_logits_need_none(self) -> None:
        with pytest.raises(InputError, match="no two features"):
            build({"name": "kd", "adapter": "linear"})

    @pytest.mark.parametrize(
        ("student", "teacher"), [("sound.tokens", "fused"), ("image.maps", "fused"), ("image.maps", "sound.tokens")]
    )
    def test_shapes_that_none_can_join_are_an_error(self, student: str, teacher: str) -> None:
        shapes = {**STUDENT, "image.maps": (8, 3, 3)}
        with pytest.raises(InputError, match="no adapter joins them"):
            build({"name": "own_features", "taps": {"student": student, "teacher": teacher}}, student_taps=shapes)

    def test_a_width_that_varies_cannot_be_joined(self) -> None:
        with pytest.raises(InputError, match="varies with the batch"):
            build({"name": "own_features", "adapter": "linear"}, student_taps={**STUDENT, "fused": (None,)})


def test_nothing_in_a_step_waits_for_the_device() -> None:
    """On the meta device a value that is looked at raises."""
    objective = build("kd", "dkd", "own_features").to("meta")
    data = batch().to("meta")
    student = {tap: value.to("meta") for tap, value in outputs(STUDENT, 1).items()}
    teacher = {tap: value.to("meta") for tap, value in outputs(TEACHER, 2).items()}
    teacher[PRESENT] = torch.ones(ROWS, dtype=torch.bool, device="meta")
    assert objective(data, student, teacher, 0).total.device.type == "meta"
