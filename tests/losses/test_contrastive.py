"""What is particular to losses between dual encoders, and where published implementations differ."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional


def embeddings(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT = embeddings(6, 5, seed=0), embeddings(6, 5, seed=1)
TEACHER = embeddings(6, 5, seed=2), embeddings(6, 5, seed=3)
WIDE = embeddings(6, 8, seed=4), embeddings(6, 8, seed=5)
SHAPES = dict.fromkeys(("student_image", "student_text", "teacher_image", "teacher_text"), (5,))
SCALED = ["clipkd_relation", "clipkd_gradient", "tinyclip_affinity"]
ANY_WIDTH = ["clipkd_relation", "tinyclip_affinity", "mobileclip", "mobileclip_sigmoid"]


def clip_loss(image: Tensor, text: Tensor, scale: float) -> Tensor:
    """CLIP's own loss, as everyone writes it."""
    logits = scale * image @ text.T
    own = torch.arange(len(image))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def matching(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return scale * F.normalize(image) @ F.normalize(text).T


# CLIP-KD


def test_feature_by_hand() -> None:
    student, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert functional.clipkd_feature(student, student, teacher, student).item() == pytest.approx(2)
    assert functional.clipkd_feature(student, student, -student, -student).item() == pytest.approx(8)


def test_the_mean_of_the_code_is_the_paper_over_the_width() -> None:
    paper = functional.clipkd_feature(*STUDENT, *TEACHER)
    code = functional.clipkd_feature(*STUDENT, *TEACHER, reduction="mean")
    torch.testing.assert_close(paper, 5 * code)
    pairs = zip(STUDENT, TEACHER, strict=True)
    torch.testing.assert_close(code, sum(F.mse_loss(F.normalize(one), F.normalize(other)) for one, other in pairs))


def test_relation_is_kd_of_the_matching_logits_at_temperature_one() -> None:
    student, teacher = matching(*STUDENT, 20.0), matching(*WIDE, 60.0)
    expected = functional.kd(student, teacher, temperature=1.0) + functional.kd(student.T, teacher.T, temperature=1.0)
    ours = functional.clipkd_relation(*STUDENT, *WIDE, student_scale=20.0, teacher_scale=60.0)
    torch.testing.assert_close(ours, expected / 2)


def test_the_gradients_are_those_that_autograd_gives_the_contrastive_loss() -> None:
    """The paper's form, and why the authors' code differs: it divides logits by the scale."""

    def gradients(side: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        leaves = tuple(F.normalize(one).requires_grad_() for one in side)
        return torch.autograd.grad(clip_loss(*leaves, 10.0), leaves)

    pairs = zip(gradients(STUDENT), gradients(TEACHER), strict=True)
    expected = sum((one - other).square().sum(1).mean() for one, other in pairs)
    scales = {"student_scale": 10.0, "teacher_scale": 10.0}
    torch.testing.assert_close(functional.clipkd_gradient(*STUDENT, *TEACHER, **scales), expected)
    assert functional.clipkd_gradient(*STUDENT, *TEACHER, **scales, form="code") < 1e-2 * expected


def test_the_gradients_of_weighted_rows_are_those_of_the_weighted_loss() -> None:
    weight = torch.tensor([1.0, 2, 1, 3, 1, 1], dtype=torch.float64)
    share = weight / weight.sum()

    def gradients(side: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        image, text = leaves = tuple(F.normalize(one).requires_grad_() for one in side)
        logits, own = 10 * image @ text.T, torch.arange(6)
        losses = [F.cross_entropy(one, own, reduction="none") for one in (logits, logits.T)]
        return torch.autograd.grad((share * (losses[0] + losses[1])).sum() / 2, leaves)

    pairs = zip(gradients(STUDENT), gradients(TEACHER), strict=True)
    expected = sum((share * (one - other).square().sum(1)).sum() for one, other in pairs)
    ours = functional.clipkd_gradient(*STUDENT, *TEACHER, weight=weight, student_scale=10.0, teacher_scale=10.0)
    torch.testing.assert_close(ours, expected)


def test_interactive_contrasts_across_the_sides() -> None:
    ours = functional.clipkd_interactive(*STUDENT, *TEACHER, 12.0)
    own = torch.arange(6)
    to_text, to_image = matching(STUDENT[0], TEACHER[1], 12.0), matching(STUDENT[1], TEACHER[0], 12.0)
    torch.testing.assert_close(ours, (F.cross_entropy(to_text, own) + F.cross_entropy(to_image, own)) / 2)


def test_cross_distillation_is_zero_where_student_and_scale_are_the_teachers() -> None:
    assert functional.clipkd_cross(*TEACHER, *TEACHER, 30.0, teacher_scale=30.0).item() == pytest.approx(0, abs=1e-12)
    assert functional.clipkd_cross(*TEACHER, *TEACHER, 14.0, teacher_scale=30.0) > 0.01


def test_augmented_features_may_be_solved_by_the_teachers_half() -> None:
    """Why the term is weak alone: a fusion that reads only the teacher needs nothing of the student."""
    matched = WIDE[0], WIDE[0]
    ours = functional.clipkd_augmented(
        *STUDENT, *matched, lambda both: both[:, 5:], lambda both: both[:, 5:], torch.tensor(100.0)
    )
    assert ours < 1e-3


@pytest.mark.parametrize("name", ["CLIPKDInteractive", "CLIPKDCross", "CLIPKDAugmented"])
def test_the_learned_scale_starts_as_clips_and_is_exponentiated(name: str) -> None:
    """The authors' code multiplies by the logarithm, 2.66, itself: nearly uniform probabilities."""
    loss = getattr(losses, name)().build(SHAPES)
    assert loss.factor().item() == pytest.approx(1 / 0.07, rel=1e-5)
    loss.double()(*STUDENT, *TEACHER).backward()
    assert loss.scale.value.grad.abs() > 0
    code = getattr(losses, name)(scale_form="as_is").build(SHAPES)
    assert code.factor().item() == pytest.approx(math.log(1 / 0.07))
    with torch.no_grad():
        loss.scale.value.fill_(10.0)
    assert loss.factor().item() == 100


def test_fusion_layers_take_both_widths() -> None:
    shapes = {**SHAPES, "teacher_image": (8,), "teacher_text": (8,)}
    loss = losses.CLIPKDAugmented().build(shapes).double()
    assert loss.image_fusion.weight.shape == loss.text_fusion.weight.shape == (5, 13)
    assert loss(*STUDENT, *WIDE) > 0


# Affinities


def test_tinyclip_is_the_relation_of_clipkd_plus_the_teachers_entropy() -> None:
    teacher = matching(*WIDE, 50.0)
    entropy = sum(torch.distributions.Categorical(logits=one).entropy().mean() for one in (teacher, teacher.T)) / 2
    relation = functional.clipkd_relation(*STUDENT, *WIDE, student_scale=50.0, teacher_scale=50.0)
    torch.testing.assert_close(functional.tinyclip_affinity(*STUDENT, *WIDE), relation + entropy)


def test_one_teacher_of_mobileclip_is_tinyclip() -> None:
    scales = {"student_scale": 20.0, "teacher_scale": 30.0}
    ours = functional.mobileclip(*STUDENT, *WIDE, student_scale=20.0, teacher_scales=(30.0,))
    torch.testing.assert_close(ours, functional.tinyclip_affinity(*STUDENT, *WIDE, **scales))


def test_probabilities_of_teachers_are_averaged_and_not_logits() -> None:
    both = torch.cat((TEACHER[0], WIDE[0]), dim=1), torch.cat((TEACHER[1], WIDE[1]), dim=1)
    ours = functional.mobileclip(
        *STUDENT, *both, student_scale=20.0, teacher_widths=(5, 8), teacher_scales=(30.0, 60.0)
    )
    student, teachers = matching(*STUDENT, 20.0), (matching(*TEACHER, 30.0), matching(*WIDE, 60.0))
    probabilities = sum(one.softmax(1) for one in teachers) / 2, sum(one.T.softmax(1) for one in teachers) / 2
    expected = (F.cross_entropy(student, probabilities[0]) + F.cross_entropy(student.T, probabilities[1])) / 2
    torch.testing.assert_close(ours, expected)
    logits = sum(teachers) / 2
    assert isinstance(logits, Tensor)
    assert abs(ours - F.cross_entropy(student, logits.softmax(1))) > 0.01


def test_a_single_teacher_keeps_all_of_its_features() -> None:
    """The default of the source, teacher_dimension [-1], cuts off the last one when it averages after softmax."""
    cut = TEACHER[0][:, :-1], TEACHER[1][:, :-1]
    ours = functional.mobileclip(*STUDENT, *TEACHER)
    torch.testing.assert_close(ours, functional.mobileclip(*STUDENT, *TEACHER, teacher_widths=(5,)))
    assert abs(ours - functional.mobileclip(*STUDENT, *cut)) > 0.01


def test_the_contrastive_part_is_clips_own_loss() -> None:
    alone = functional.mobileclip(
        *STUDENT, *TEACHER, contrastive_weight=2.0, distillation_weight=0.0, student_scale=7.0
    )
    torch.testing.assert_close(alone, 2 * clip_loss(*(F.normalize(one) for one in STUDENT), 7.0))


def test_the_sigmoid_form_by_hand() -> None:
    """One row: cosine 1 of the student at scale 2 and bias −1, two teachers with labels of their own."""
    one = torch.tensor([[1.0, 0.0]])
    teacher = torch.tensor([[1.0, 0.0, 0.0, 3.0]])
    values = {"student_scale": 2.0, "student_bias": -1.0, "teacher_widths": (2, 2)}
    ours = functional.mobileclip_sigmoid(
        one, one, teacher, teacher, **values, teacher_scales=(3.0, 5.0), teacher_biases=(-4.0, 1.0)
    )
    label = 1 / (1 + math.exp(1)) + 1 / (1 + math.exp(-6)) - 1
    assert ours.item() == pytest.approx(math.log1p(math.exp(-label * 1)), rel=1e-5)


def test_the_contrastive_sigmoid_form_is_that_of_siglip() -> None:
    logits = matching(*STUDENT, 10.0) - 10
    expected = -F.logsigmoid((2 * torch.eye(6) - 1) * logits).sum(1).mean()
    ours = functional.mobileclip_sigmoid(
        *STUDENT, *TEACHER, contrastive_weight=1.0, distillation_weight=0.0, student_scale=10.0
    )
    torch.testing.assert_close(ours, expected)


# Scales


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("shape", [(), (1,), (6,)])
def test_a_models_own_scale_goes_before_the_option(name: str, shape: tuple[int, ...]) -> None:
    loss = getattr(functional, name)
    own, teachers = torch.full(shape, 7.0, requires_grad=True), torch.full(shape, 9.0, requires_grad=True)
    ours = loss(*STUDENT, *TEACHER, own, teachers)
    torch.testing.assert_close(ours, loss(*STUDENT, *TEACHER, student_scale=7.0, teacher_scale=9.0))
    ours.backward()
    assert own.grad is not None
    assert teachers.grad is None


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"logit scale has shape \(4,\)"):
        getattr(functional, name)(*STUDENT, *TEACHER, torch.ones(4))


# Wrong use


@pytest.mark.parametrize("name", ANY_WIDTH)
def test_teachers_of_another_width_are_compared(name: str) -> None:
    assert getattr(functional, name)(*STUDENT, *WIDE) > 0


@pytest.mark.parametrize("name", ["clipkd_feature", "clipkd_gradient"])
def test_widths_that_must_agree_are_named(name: str) -> None:
    with pytest.raises(InputError, match=r"widths differ.*\(6, 5\).*\(6, 8\)"):
        getattr(functional, name)(*STUDENT, *WIDE)


@pytest.mark.parametrize("name", [*ANY_WIDTH, "clipkd_feature", "clipkd_gradient"])
def test_shapes_that_do_not_belong_together_are_named(name: str) -> None:
    loss = getattr(functional, name)
    with pytest.raises(InputError, match=r"student_image has shape \(6, 5\), but teacher_image has shape \(4, 5\)"):
        loss(*STUDENT, TEACHER[0][:4], TEACHER[1][:4])
    with pytest.raises(InputError, match=r"teacher_image.*but teacher_text"):
        loss(*STUDENT, TEACHER[0], WIDE[1])
    with pytest.raises(InputError, match=r"student_text has shape \(5,\)"):
        loss(STUDENT[0], STUDENT[1][0], *TEACHER)


def test_widths_and_scales_of_teachers_must_fit() -> None:
    with pytest.raises(InputError, match="add to 6"):
        functional.mobileclip(*STUDENT, *WIDE, teacher_widths=(2, 4))
    with pytest.raises(InputError, match="teacher_scales has 3 values for 2 teachers"):
        functional.mobileclip(*STUDENT, *WIDE, teacher_widths=(4, 4), teacher_scales=(1.0, 2.0, 3.0))
    with pytest.raises(InputError, match="teacher_biases has 3 values"):
        functional.mobileclip_sigmoid(*STUDENT, *WIDE, teacher_widths=(4, 4), teacher_biases=(1.0, 2.0, 3.0))


def test_augmented_features_need_a_known_width() -> None:
    with pytest.raises(InputError, match="student_image"):
        losses.CLIPKDAugmented().build({"student_image": (3, 4), "teacher_image": (4,)})


@pytest.mark.parametrize(
    ("loss", "option"),
    [
        ("CLIPKDFeature", {"reduction": "max"}),
        ("CLIPKDRelation", {"student_scale": 0}),
        ("CLIPKDInteractive", {"scale_form": "log"}),
        ("MobileCLIP", {"teacher_scales": ()}),
        ("MobileCLIP", {"teacher_widths": (0,)}),
        ("MobileCLIPSigmoid", {"student_bias": math.nan}),
    ],
)
def test_options_out_of_range_are_refused(loss: str, option: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        getattr(losses, loss)(**option)


def test_fixed_candidates_of_tinyclip_leave_the_value_and_teach_the_anchors_alone() -> None:
    generator = torch.Generator().manual_seed(6)
    sides = [torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(4)]
    image = sides[0].requires_grad_()
    found = functional.tinyclip_affinity(*sides, candidates="fixed")
    assert found.item() == functional.tinyclip_affinity(*sides).item()
    (gradient,) = torch.autograd.grad(found, image)
    units = [F.normalize(side) for side in sides]
    likely = (50 * units[2] @ units[3].T).softmax(dim=1)
    from_images = -(likely * (50 * units[0] @ units[1].T).log_softmax(dim=1)).sum(dim=1).mean() / 2
    torch.testing.assert_close(gradient, torch.autograd.grad(from_images, image)[0])
