"""What is particular to the losses across modalities, and where published implementations differ or are wrong."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.graph_distillation import EdgeScores
from mmdistill.losses.modality_focusing import modality_saliency, most_salient
from mmdistill.losses.rank_agreement import kendall_agreement


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = numbers(6, 5) * 2, numbers(6, 5, seed=1) * 2
TARGET = torch.tensor([0, 1, 2, 3, 4, 0])


def columns(seed: int, rows: int = 6, width: int = 4, count: int = 3) -> tuple[Tensor, ...]:
    return tuple(numbers(rows, width, seed=seed + column) for column in range(count))


SHARED, PRIVATE = columns(10), columns(20)


# Rank agreement


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(0, 1000), st.booleans())
def test_rank_agreement_is_kendalls_tau(classes: int, seed: int, ties: bool) -> None:
    student, teacher = numbers(4, classes, seed=seed), numbers(4, classes, seed=seed + 1)
    if ties:
        student, teacher = student.round(), teacher.round()
    found = kendall_agreement(student, teacher)
    for row in range(4):
        expected = kendalltau(student[row], teacher[row]).statistic
        assert found[row].item() == pytest.approx(0.0 if math.isnan(expected) else expected)


def test_rank_agreement_of_many_classes() -> None:
    student, teacher = numbers(2, 1001), numbers(2, 1001, seed=1)
    for row, found in enumerate(kendall_agreement(student, student + teacher)):
        assert found.item() == pytest.approx(kendalltau(student[row], (student + teacher)[row]).statistic)
    torch.testing.assert_close(kendall_agreement(student, -student), -torch.ones(2, dtype=torch.float64))


def test_rank_agreement_of_sequences_has_one_value_a_position() -> None:
    student, teacher = numbers(2, 3, 5), numbers(2, 3, 5, seed=1)
    found = kendall_agreement(student, teacher)
    assert found.shape == (2, 3)
    torch.testing.assert_close(found.flatten(), kendall_agreement(student.flatten(0, 1), teacher.flatten(0, 1)))


def test_rank_agreement_has_no_gradient_and_no_opinion_without_a_ranking() -> None:
    student = STUDENT.clone().requires_grad_()
    assert not kendall_agreement(student, TEACHER).requires_grad
    assert torch.equal(kendall_agreement(torch.zeros(2, 5), TEACHER[:2].float()), torch.zeros(2))
    assert torch.equal(kendall_agreement(STUDENT[:, :1], TEACHER[:, :1]), torch.zeros(6, dtype=torch.float64))


# C2KD


def others_kl(row: int) -> Tensor:
    kept = [label for label in range(5) if label != TARGET[row]]
    return F.kl_div(
        STUDENT[row, kept].log_softmax(-1), TEACHER[row, kept].log_softmax(-1), log_target=True, reduction="sum"
    )


def test_c2kd_teaches_the_other_classes_of_the_rows_that_both_sides_rank_alike() -> None:
    agreement = kendall_agreement(STUDENT, TEACHER)
    assert 0 < (agreement > 0).sum() < 6
    expected = sum(others_kl(row) for row in range(6) if agreement[row] > 0)
    torch.testing.assert_close(functional.c2kd(STUDENT, TEACHER, TARGET), torch.as_tensor(expected) / 6)


def test_c2kd_without_threshold_teaches_every_row() -> None:
    expected = torch.stack([others_kl(row) for row in range(6)]).mean()
    torch.testing.assert_close(functional.c2kd(STUDENT, TEACHER, TARGET, threshold=None), expected)
    assert functional.c2kd(STUDENT, TEACHER, TARGET, threshold=1.0).item() == 0


def test_c2kd_leaves_the_targets_logit_alone_where_the_authors_code_gives_it_the_value_0() -> None:
    moved = STUDENT.scatter(1, TARGET[:, None], 7.0)
    for form in ("left_out", "logit_0"):
        unmoved = functional.c2kd(STUDENT, TEACHER, TARGET, threshold=None, target_class=form)
        torch.testing.assert_close(
            functional.c2kd(moved, TEACHER, TARGET, threshold=None, target_class=form), unmoved, msg=form
        )
    # With the logit 0 in it, a constant added to a row changes the distribution; it should not.
    shifted = functional.c2kd(STUDENT + 3, TEACHER, TARGET, threshold=None)
    torch.testing.assert_close(shifted, functional.c2kd(STUDENT, TEACHER, TARGET, threshold=None))
    theirs = [
        functional.c2kd(logits, TEACHER, TARGET, threshold=None, target_class="logit_0")
        for logits in (STUDENT, STUDENT + 3)
    ]
    assert (theirs[0] - theirs[1]).abs() > 0.1


def test_c2kd_gives_rows_without_target_weight_zero() -> None:
    labelled = torch.tensor([True, False, True, True, False, True])
    ours = functional.c2kd(STUDENT, TEACHER, torch.where(labelled, TARGET, -1), threshold=None)
    expected = functional.c2kd(STUDENT[labelled], TEACHER[labelled], TARGET[labelled], threshold=None)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(functional.c2kd(STUDENT, TEACHER, TARGET, labelled, threshold=None), expected)


# MMANet


def test_mad_weighs_the_rows_where_the_teacher_hesitates() -> None:
    features, other, logits = numbers(4, 3), numbers(4, 5, seed=1), numbers(4, 6, seed=2)
    products = [F.normalize(one @ one.T, dim=1) for one in (features, other)]
    distance = (products[0] - products[1]).square()
    chances = logits.softmax(-1)
    entropy = -(chances * chances.log()).sum(-1)
    shares = entropy / entropy.sum()
    torch.testing.assert_close(functional.mad(features, other, logits), shares @ distance.sum(1))
    theirs = functional.mad(features, other, logits, uncertainty="partner")
    torch.testing.assert_close(theirs, shares @ distance.sum(0))


def test_mad_normalises_whole_rows_where_the_segmentation_code_normalises_halves() -> None:
    features, other, logits = numbers(4, 3), numbers(4, 3, seed=1), torch.zeros(4, 2, dtype=torch.float64)

    def halves(rows: Tensor) -> Tensor:
        return torch.cat([F.normalize(part, dim=1) for part in (rows @ rows.T).chunk(2, dim=1)], dim=1)

    theirs = 0.25 * (halves(features) - halves(other)).square().sum()
    assert abs(functional.mad(features, other, logits) - theirs) > 0.05


def test_mad_of_a_teacher_that_is_certain_of_everything_is_zero() -> None:
    certain = 1e4 * torch.eye(4)
    assert functional.mad(numbers(4, 3), numbers(4, 3, seed=1), certain).item() == 0


PRESENT = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 1]]).bool().repeat(2, 1)


def test_mmanet_regularisation_counts_the_rows_with_a_weak_combination() -> None:
    """The authors' code multiplies (B, 1, 1, 1) with (B), so that every row counts as often as any matches."""
    entropies = F.cross_entropy(STUDENT, TARGET, reduction="none")
    ours = functional.mmanet_regularisation(STUDENT, TARGET, PRESENT, weak=((True, False, True),))
    torch.testing.assert_close(ours, entropies[[0, 3]].sum() / 6)
    matches = torch.tensor([True, False, False]).repeat(2)
    theirs = (matches[:, None] * entropies).sum() / 6
    assert (ours - theirs).abs() > 0.1
    either = functional.mmanet_regularisation(
        STUDENT, TARGET, PRESENT, weak=((True, False, True), (False, False, True))
    )
    torch.testing.assert_close(either, entropies[[0, 1, 3, 4]].sum() / 6)


def test_mmanet_regularisation_takes_every_incomplete_row_without_combinations() -> None:
    both = ((True, False, True), (False, False, True))
    torch.testing.assert_close(
        functional.mmanet_regularisation(STUDENT, TARGET, PRESENT),
        functional.mmanet_regularisation(STUDENT, TARGET, PRESENT, weak=both),
    )
    assert functional.mmanet_regularisation(STUDENT, TARGET, torch.ones(6, 3).bool()).item() == 0


# Modality focusing


def test_saliency_finds_the_channels_that_both_modalities_see() -> None:
    seen = numbers(300, 2)
    features = torch.cat([numbers(300, 3, seed=1), seen], dim=1)
    weight = torch.tensor([[0.0, 0.2, 0.0, 2.0, 1.0]], dtype=torch.float64)
    saliency = modality_saliency(features, lambda values: values @ weight.T, seen @ weight[:, 3:].T, repeats=10)
    assert saliency.argmax() == 3
    assert saliency.max() == 1
    assert saliency.min() == 0
    assert most_salient(saliency, 2) == (3, 4)
    assert torch.equal(
        saliency, modality_saliency(features, lambda values: values @ weight.T, seen @ weight[:, 3:].T, repeats=10)
    )


@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_saliency_is_the_distance_after_permuting_one_channel(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmdistill.losses.modality_focusing._ROWS_AT_ONCE", 16)
    features, other, weight = numbers(8, 3), numbers(8, 2, seed=1), numbers(3, 2, seed=2)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    apart = []
    for channel in range(3):
        moved = features.clone()
        moved[:, channel] = features[order, channel]
        difference = (moved @ weight - other).abs()
        apart.append(difference.square().mean() if distance == "squared" else difference.mean())
    expected = torch.stack(apart)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    found = modality_saliency(features, lambda values: values @ weight, other, repeats=1, distance=distance, seed=5)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected)


def test_saliency_is_zero_where_no_channel_stands_out() -> None:
    found = modality_saliency(numbers(8, 3), lambda values: values[:, :1] * 0, numbers(8, 1), repeats=2)
    assert torch.equal(found, torch.zeros(3, dtype=torch.float64))


def test_masked_feature_kd_asks_for_the_chosen_channels_alone() -> None:
    expected = F.mse_loss(STUDENT[:, [1, 4]], TEACHER[:, [1, 4]])
    torch.testing.assert_close(functional.masked_feature_kd(STUDENT, TEACHER, channels=(1, 4)), expected)
    torch.testing.assert_close(losses.MaskedFeatureKD(channels=(1, 4))(STUDENT, TEACHER), expected)
    torch.testing.assert_close(functional.masked_feature_kd(STUDENT, TEACHER), F.mse_loss(STUDENT, TEACHER))
    student = STUDENT.clone().requires_grad_()
    functional.masked_feature_kd(student, TEACHER, channels=(1, 4)).backward()
    assert student.grad is not None
    assert student.grad[:, [0, 2, 3]].abs().max() == 0


# PromptMM


def test_promptmm_pairwise_compares_the_chances_of_each_preference() -> None:
    student, teacher = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 0.0, 0.0]])
    expected = 0.0
    for ours, theirs in ((1.0, 0.5), (-1.0, 0.5)):
        chance, guess = 1 / (1 + math.exp(-theirs)), 1 / (1 + math.exp(-ours))
        expected += chance * math.log(chance / guess) + (1 - chance) * math.log((1 - chance) / (1 - guess))
    found = functional.promptmm_pairwise(student, teacher, torch.tensor([0]))
    assert found.item() == pytest.approx(expected / 2, rel=1e-6)


def test_promptmm_pairwise_with_a_certain_teacher_is_bpr() -> None:
    student = numbers(6, 2)
    found = functional.promptmm_pairwise(student, torch.tensor([[200.0, 0.0]]).expand(6, 2), torch.zeros(6).long())
    torch.testing.assert_close(found, -F.logsigmoid(student[:, 0] - student[:, 1]).mean())


def test_the_authors_ranking_loss_falls_as_the_student_gets_worse_and_ours_rises() -> None:
    """They hand −log p to a KL divergence that expects log p."""
    teacher, first = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    good, bad = torch.tensor([[2.0, 0.0]]), torch.tensor([[-2.0, 0.0]])

    def theirs(student: Tensor) -> Tensor:
        said, known = (-F.logsigmoid(scores[:, 0] - scores[:, 1]) for scores in (student, teacher))
        return F.kl_div(said, known, reduction="sum")

    assert theirs(bad) < theirs(good)
    for loss in (functional.promptmm_pairwise, functional.promptmm_listwise):
        assert loss(good, teacher, first) < loss(bad, teacher, first)


def test_promptmm_listwise_is_dkd_or_kd_over_the_candidates() -> None:
    ours = functional.promptmm_listwise(STUDENT, TEACHER, TARGET, alpha=3.0, beta=2.0)
    theirs = functional.dkd(STUDENT, TEACHER, TARGET, temperature=1.0, alpha=3.0, beta=2.0)
    torch.testing.assert_close(ours, theirs)
    plain = functional.promptmm_listwise(STUDENT, TEACHER, TARGET, form="plain")
    torch.testing.assert_close(plain, functional.kd(STUDENT, TEACHER, temperature=1.0))


def test_promptmm_listwise_wants_scores_since_probabilities_would_all_look_alike() -> None:
    """The authors pass probabilities, to which dkd applies its softmax again."""
    scores = functional.promptmm_listwise(STUDENT, TEACHER, TARGET)
    probabilities = functional.promptmm_listwise(STUDENT.softmax(-1), TEACHER.softmax(-1), TARGET)
    assert probabilities < scores / 5


def test_promptmm_feature_is_a_power_of_the_cosine_distance() -> None:
    distance = 1 - F.cosine_similarity(STUDENT, TEACHER)
    for exponent in (1.0, 2.0, 3.0):
        found = functional.promptmm_feature(STUDENT, TEACHER, exponent=exponent)
        torch.testing.assert_close(found, (distance**exponent).mean())


# DMD


def test_dmd_margin_is_the_mean_over_the_papers_triplets() -> None:
    target = torch.tensor([0, 1, 0, 2, 1, 0])
    found = functional.dmd_margin(SHARED, target, margin=0.2)
    torch.testing.assert_close(found, listed_triplets(target, 0.2, crossed=True))
    found = functional.dmd_margin(SHARED, target, margin=0.2, triplets="all")
    torch.testing.assert_close(found, listed_triplets(target, 0.2, crossed=False))


def listed_triplets(target: Tensor, margin: float, *, crossed: bool) -> Tensor:
    places = list(itertools.product(range(6), range(3)))
    unit = [F.normalize(column, dim=1) for column in SHARED]
    values = []
    for anchor, positive, negative in itertools.product(places, repeat=3):
        if anchor == positive or target[anchor[0]] != target[positive[0]] or target[anchor[0]] == target[negative[0]]:
            continue
        if crossed and (anchor[1] == positive[1] or anchor[1] != negative[1]):
            continue
        a, p, n = (unit[column][row] for row, column in (anchor, positive, negative))
        values.append((margin - a @ p + a @ n).clamp(min=0))
    return torch.stack(values).mean()


def test_dmd_margin_honours_its_margin_where_the_authors_code_overwrites_it() -> None:
    published = {"triplets": "all", "average": "anchors", "margin_scale": "target_distance"}
    small, large = (functional.dmd_margin(SHARED, TARGET, margin=margin, **published) for margin in (0.15, 0.5))
    assert large > small
    ordered = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, 0.0], dtype=torch.float64)
    assert functional.dmd_margin(SHARED, ordered, margin=0.15, **published) > 0


def test_dmd_margin_without_a_triplet_is_zero_and_leaves_out_rows_without_target() -> None:
    assert functional.dmd_margin(SHARED, torch.zeros(6).long()).item() == 0
    labelled = torch.tensor([True, True, False, True, True, False])
    kept = tuple(column[labelled] for column in SHARED)
    ours = functional.dmd_margin(SHARED, TARGET % 2, labelled)
    torch.testing.assert_close(ours, functional.dmd_margin(kept, TARGET[labelled] % 2))


def test_dmd_orthogonality_is_zero_for_orthogonal_and_the_papers_form_smallest_for_opposite() -> None:
    shared, private = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert functional.dmd_orthogonality((shared,), (private,)).item() == 0
    assert functional.dmd_orthogonality((shared,), (-2 * shared,)).item() == 0
    assert functional.dmd_orthogonality((shared,), (-2 * shared,), form="signed").item() == -1
    assert functional.dmd_orthogonality((shared, shared), (shared, 2 * shared)).item() == 2


def test_graph_distillation_by_hand() -> None:
    first, second = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 0.0]])
    scores = torch.tensor([[0.0, math.log(3.0)]])
    found = functional.dmd_homogeneous((first, second), scores, sharpness=1.0, regulariser=2.0)
    # Weights 1/4 and 3/4, each with the prior 1/2; both distances are 3.
    assert found.item() == pytest.approx((0.75 + 1.25) * 3 + 2.0 * (0.25**2 + 0.25**2))


def test_in_graph_distillation_only_where_an_edge_leads_to_learns_from_it() -> None:
    first, second = (column[:, :2].clone().requires_grad_() for column in SHARED[:2])
    only_to_the_first = torch.tensor([[1e4, 0.0]], dtype=torch.float64).expand(6, 2)
    prior = (1.0, 0.0)
    functional.dmd_homogeneous((first, second), only_to_the_first, prior=prior, regulariser=0.0).backward()
    assert first.grad is not None
    assert first.grad.abs().max() > 0
    assert second.grad is None or second.grad.abs().max() == 0


def test_homogeneous_graphs_compare_logits_where_the_columns_have_heads() -> None:
    scores, logits = numbers(6, 6), columns(30, width=5)
    ours = functional.dmd_homogeneous(SHARED, scores, logits, regulariser=0.0)
    torch.testing.assert_close(ours, functional.dmd_homogeneous(logits, scores, regulariser=0.0))


def test_edges_of_absent_columns_count_nothing() -> None:
    scores, present = numbers(6, 6), torch.tensor([[True, True, False]]).expand(6, 3)
    ours = functional.dmd_homogeneous(SHARED, scores, present=present)
    two = functional.dmd_homogeneous(SHARED[:2], scores[:, [0, 2]])
    torch.testing.assert_close(ours, two)
    alone = torch.tensor([[True, False, False]]).expand(6, 3)
    assert functional.dmd_homogeneous(SHARED, scores, present=alone).item() == 0


def test_heterogeneous_graphs_push_apart_only_when_told_to() -> None:
    scores, logits = numbers(6, 6), columns(30, width=5)
    plain = functional.dmd_heterogeneous(PRIVATE, logits, scores)
    torch.testing.assert_close(plain, functional.dmd_homogeneous(PRIVATE, scores, logits))
    same = (PRIVATE[0], PRIVATE[0], PRIVATE[0])
    apart = functional.dmd_heterogeneous(same, logits, scores, representations="apart", representation_weight=1.0)
    # All cosines are 1, and the mean weights of the edges with their prior sum to 2.
    torch.testing.assert_close(apart, functional.dmd_heterogeneous(same, logits, scores) + 2)


def test_edge_scores_come_from_both_ends() -> None:
    scores = EdgeScores(4, 5, 3).double()
    embeddings, logits = torch.stack(SHARED, dim=1), torch.stack(columns(30, width=5), dim=1)
    nodes = torch.cat([scores.logits(logits), scores.embeddings(embeddings)], dim=-1)  # type: ignore[misc]
    pairs = [(to, origin) for to in range(3) for origin in range(3) if to != origin]
    expected = torch.cat(
        [scores.edge(torch.cat([nodes[:, to], nodes[:, origin]], dim=1)) for to, origin in pairs], dim=1
    )
    torch.testing.assert_close(scores(embeddings, logits), expected)


def test_a_graph_is_built_with_or_without_logits_of_the_columns() -> None:
    logits = columns(30, width=5)
    shapes = {"student_embeddings": ((4,),) * 3}
    without = losses.DMDHomogeneous().build(shapes).double()
    assert without(SHARED) > 0
    with_logits = losses.DMDHomogeneous().build({**shapes, "student_column_logits": ((5,),) * 3}).double()
    assert with_logits(SHARED, logits) > 0
    with pytest.raises(InputError, match="student_column_logits is not given"):
        with_logits(SHARED)
    with pytest.raises(InputError, match="student_column_logits"):
        losses.DMDHeterogeneous().build(shapes)
    with pytest.raises(InputError, match="not all of one width"):
        losses.DMDHomogeneous().build({"student_embeddings": ((4,), (5,))})


# MISA


def test_misa_cmd_adds_the_distances_of_the_moments() -> None:
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [0.5]])
    # Means are equal; the second central moments are 1/4 and 0, the third 0 and 0, the fourth 1/16 and 0.
    assert functional.misa_cmd((first, second), moments=4).item() == pytest.approx(0.25 + 0.0625)
    assert functional.misa_cmd((first, second), moments=4, interval=2.0).item() == pytest.approx(0.25 / 4 + 0.0625 / 16)
    assert functional.misa_cmd((first, second), moments=1).item() == 0


def test_misa_cmd_of_equal_columns_has_a_gradient() -> None:
    """The authors' code divides by the square root of zero there."""
    both = [SHARED[0].clone().requires_grad_() for _ in range(2)]
    loss = functional.misa_cmd(tuple(both))
    loss.backward()
    assert loss.item() == 0
    for one in both:
        assert one.grad is not None
        assert one.grad.abs().max() == 0


def test_misa_difference_sums_where_the_authors_code_averages() -> None:
    total = functional.misa_difference(SHARED, PRIVATE)
    torch.testing.assert_close(total, 16 * functional.misa_difference(SHARED, PRIVATE, reduction="mean"))
    torch.testing.assert_close(total, functional.misa_difference(SHARED, PRIVATE, 7 * torch.ones(6)))


def test_misa_difference_without_gradient_through_the_lengths() -> None:
    gradients = []
    for detach in (False, True):
        shared = SHARED[0].clone().requires_grad_()
        functional.misa_difference((shared,), PRIVATE[:1], detach_norm=detach).backward()
        assert shared.grad is not None
        gradients.append(shared.grad)
    assert (gradients[0] - gradients[1]).abs().max() > 0.01


def test_misa_reconstruction_and_the_errors_that_its_rivals_do_not_see() -> None:
    original = torch.zeros(1, 4)
    cancelling, constant = torch.tensor([[1.0, -1.0, 1.0, -1.0]]), torch.ones(1, 4)
    found = {
        error: [
            functional.misa_reconstruction((original,), (restored,), error=error).item()
            for restored in (cancelling, constant)
        ]
        for error in ("squared", "scale_invariant", "squared_mean")
    }
    assert found == {"squared": [1, 1], "scale_invariant": [1, 0], "squared_mean": [0, 1]}


# Wrong use


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.c2kd(STUDENT[:, :1], TEACHER[:, :1], TARGET * 0), "only one class"),
        (lambda: functional.c2kd(STUDENT, TEACHER[:, :4], TARGET), "class counts differ"),
        (lambda: functional.c2kd(STUDENT, TEACHER, TARGET[:3]), "target has shape"),
        (lambda: kendall_agreement(STUDENT, TEACHER[:, :4]), "class counts differ"),
        (lambda: functional.mad(STUDENT, TEACHER[:3], TEACHER), "numbers of rows differ"),
        (lambda: functional.mad(STUDENT, TEACHER, TEACHER[:3]), "teacher_logits has shape"),
        (lambda: functional.mmanet_regularisation(STUDENT, TARGET, PRESENT, weak=((True, False),)), "has 2 values"),
        (lambda: functional.mmanet_regularisation(STUDENT, TARGET, PRESENT[:3]), "seen has shape"),
        (lambda: functional.mmanet_regularisation(STUDENT, TARGET[:3], PRESENT), "target"),
        (lambda: functional.masked_feature_kd(STUDENT, TEACHER[:, :4]), "must be equal"),
        (lambda: functional.masked_feature_kd(STUDENT, TEACHER, channels=(5,)), "There are 5 channels"),
        (lambda: losses.MaskedFeatureKD(channels=(5,))(STUDENT, TEACHER), "The teacher has 5 channels"),
        (lambda: losses.MaskedFeatureKD(channels=(-1,)), "greater than or equal to 0"),
        (lambda: functional.promptmm_pairwise(STUDENT[:, :1], TEACHER[:, :1], TARGET), "two candidates"),
        (lambda: functional.promptmm_listwise(STUDENT, TEACHER, TARGET[:2]), "target has shape"),
        (lambda: functional.promptmm_feature(STUDENT, TEACHER[:, :4]), "shapes differ"),
        (lambda: functional.dmd_margin(SHARED[:1], TARGET), "tuple of 2 columns or more, not 1"),
        (lambda: functional.dmd_margin(SHARED[0], TARGET), "not a single tensor"),
        (lambda: functional.dmd_margin(SHARED, TARGET[:3]), "target has shape"),
        (lambda: functional.dmd_margin(SHARED, TARGET, weight=torch.ones(3)), "The weight has shape"),
        (lambda: functional.dmd_orthogonality(SHARED, PRIVATE[:2]), "differ: 3 of shape"),
        (lambda: functional.dmd_orthogonality((*SHARED[:2], numbers(6, 3)), PRIVATE), "tensors of one shape"),
        (lambda: functional.dmd_homogeneous(SHARED, numbers(6, 5)), "edge_scores has shape"),
        (lambda: functional.dmd_homogeneous(SHARED, numbers(6, 6), prior=(0.5, 0.5)), "The prior has 2 numbers"),
        (lambda: functional.dmd_homogeneous(SHARED, numbers(6, 6), present=PRESENT[:3]), "present has shape"),
        (lambda: functional.dmd_homogeneous(SHARED, numbers(6, 6), SHARED[:2]), "There are 2 student_column_logits"),
        (lambda: functional.misa_cmd(SHARED[:1]), "2 columns or more"),
        (lambda: functional.misa_cmd(SHARED, torch.ones(5)), "The weight has shape"),
        (lambda: functional.misa_difference(SHARED, PRIVATE[:2]), "differ"),
        (lambda: modality_saliency(STUDENT[0], lambda values: values, TEACHER), "features has shape"),
        (lambda: modality_saliency(STUDENT, lambda values: values, TEACHER[:3]), "rows of features"),
        (lambda: modality_saliency(STUDENT, lambda values: values[:, :2], TEACHER), "The head gives"),
        (lambda: most_salient(STUDENT[0], 9), "There are 5 channels"),
    ],
)
def test_wrong_use_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_promptmm_feature_leaves_out_the_rows_that_are_furthest_apart() -> None:
    generator = torch.Generator().manual_seed(7)
    student, teacher = (torch.randn(10, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    errors = ((1 - F.cosine_similarity(student, teacher)) ** 2).sort().values
    for dropped in (0.1, 0.3, 0.55):
        found = functional.promptmm_feature(student, teacher, dropped=dropped)
        torch.testing.assert_close(found, errors[: int((1 - dropped) * 10)].mean())
    weight = torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    alone = functional.promptmm_feature(student[2:], teacher[2:], dropped=0.25)
    torch.testing.assert_close(functional.promptmm_feature(student, teacher, weight, dropped=0.25), alone)


@pytest.mark.parametrize("distance", ["absolute", "squared", "cosine"])
def test_the_graphs_distance_is_between_the_ends_of_an_edge(distance: str) -> None:
    generator = torch.Generator().manual_seed(8)
    columns = tuple(torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    difference = columns[0] - columns[1]
    apart = {
        "absolute": difference.abs().sum(dim=1),
        "squared": difference.square().sum(dim=1),
        "cosine": 1 - F.cosine_similarity(*columns),
    }[distance]
    # Two equal edges: learned weights and prior of a half each.
    found = functional.dmd_homogeneous(columns, torch.zeros(4, 2, dtype=torch.float64), distance=distance)
    torch.testing.assert_close(found, 2 * apart.mean())


@pytest.mark.parametrize("factor", [1e-30, 3.0, 1e30])
def test_the_size_of_the_weights_does_not_matter_to_triplets(factor: float) -> None:
    generator = torch.Generator().manual_seed(9)
    columns = tuple(torch.randn(6, 4, generator=generator) for _ in range(3))
    target, weight = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 1.0])
    for average in ("triplets", "anchors"):
        expected = functional.dmd_margin(columns, target, weight=weight, average=average)
        assert expected > 0
        found = functional.dmd_margin(columns, target, weight=factor * weight, average=average)
        torch.testing.assert_close(found, expected)
