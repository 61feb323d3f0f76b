"""Redundancy, rank agreement, visibility, temperature, gate, labels: each against what is known of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmdistill.evaluation.diagnosis.accuracy_gate import describe_rows, gate
from mmdistill.evaluation.diagnosis.estimates import Estimate, Scorer, make_scorer
from mmdistill.evaluation.diagnosis.gain import expected_gain
from mmdistill.evaluation.diagnosis.label_efficiency import doubling, label_curve, taught_gain
from mmdistill.evaluation.diagnosis.plain import PlainColumn
from mmdistill.evaluation.diagnosis.probes import fit_probe
from mmdistill.evaluation.diagnosis.rank_agreement import rank_agreement
from mmdistill.evaluation.diagnosis.redundancy import answers_of_two, cohen_kappa, linear_cka
from mmdistill.evaluation.diagnosis.temperature import mean_entropy, starting_temperature, temperature_of_entropy
from mmdistill.evaluation.diagnosis.visibility import decisive_visible_share, explained, visible_share
from mmdistill.losses import functional
from mmdistill.tasks.classification import ClassificationTask


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def scorer_of(targets: Any, classes: int = 3) -> Scorer:
    state = {"classes": [str(one) for one in range(classes)], "counts": [1] * classes}
    return make_scorer(ClassificationTask(), state, np.asarray(targets, dtype=np.int64))


def blobs(rows: int, noise: float, seed: int = 0) -> tuple[Any, Any]:
    targets = np.random.default_rng(seed).integers(0, 3, rows)
    return np.eye(3)[targets] + noise * drawn(rows, 3, seed=seed + 1), targets


def test_linear_cka_is_that_of_the_loss_without_its_matrix_of_rows() -> None:
    one, other = drawn(30, 5), drawn(30, 8, seed=1)
    other[:, :3] += one[:, :3]
    loss = functional.cka(torch.from_numpy(one), torch.from_numpy(other), kernel="linear", estimator="debiased")
    assert linear_cka(one, other) == pytest.approx(1 - float(loss), abs=1e-9)


def test_cka_of_a_rotation_is_one_and_of_unrelated_wide_embeddings_about_zero() -> None:
    one = drawn(200, 64)
    rotation = np.linalg.qr(drawn(64, 64, seed=1))[0]
    assert linear_cka(one, 3 * one @ rotation + 1) == pytest.approx(1)
    assert abs(linear_cka(one, drawn(200, 64, seed=2)) or 0) < 0.05
    assert linear_cka(one[:3], one[:3]) is None
    assert linear_cka(np.ones((9, 4)), drawn(9, 4)) is None


def test_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    generator = np.random.default_rng(0)
    one, other = (generator.integers(0, 4, 50) for _ in range(2))
    assert cohen_kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))
    assert cohen_kappa(np.zeros(5, dtype=np.int64), np.zeros(5, dtype=np.int64)) is None


def test_answers_of_two_models_are_counted() -> None:
    first, second = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[0, 1, 0, 1]]
    found = answers_of_two(first, second, np.array([0, 0, 0, 0]))
    assert [found[key] for key in ("both_right", "only_first_right", "only_second_right", "both_wrong")] == [0.25] * 4
    assert found["agreement"] == 0.5
    assert found["kappa"] == pytest.approx(0)


def test_rank_agreement_counts_the_rows_that_c2kd_would_teach() -> None:
    teacher = drawn(6, 4)
    student = np.concatenate([teacher[:4], -teacher[4:]])
    found = rank_agreement(student, teacher)
    assert found == {"kendall": pytest.approx(2 / 6), "followed": pytest.approx(4 / 6), "rows": 6}


def test_what_the_columns_show_of_a_teacher_is_found_and_what_they_do_not_is_not() -> None:
    shared, hidden = drawn(600, 4), drawn(600, 4, seed=1)
    seen = PlainColumn(shared[:400], shared[400:])

    def visible(teacher: Any) -> float:
        return visible_share(seen, (teacher[:400], teacher[400:]))

    assert visible(shared @ drawn(4, 5, seed=2)) > 0.99
    assert visible(hidden @ drawn(4, 5, seed=2)) < 0.02
    half = np.concatenate([shared[:, :1], -shared[:, :1], hidden[:, :1], -hidden[:, :1]], axis=1)
    assert visible(half) == pytest.approx(0.5, abs=0.05)
    assert visible(np.ones((600, 3))) == 0.0


def test_channels_count_by_how_much_they_decide() -> None:
    shared, hidden = drawn(600, 1), drawn(600, 1, seed=1)
    seen = PlainColumn(shared[:400], shared[400:])
    fused = np.concatenate([shared, hidden], axis=1)
    pair = (fused[:400], fused[400:])
    assert explained(seen, pair) == pytest.approx([1, 0], abs=0.02)
    weights = torch.tensor([[2.0, -2.0], [0.01, -0.01]], dtype=torch.float64)
    assert (decisive_visible_share(seen, pair, lambda each: each @ weights) or 0) > 0.95
    assert (decisive_visible_share(seen, pair, lambda each: each @ weights.flip(0)) or 0) < 0.05
    assert decisive_visible_share(seen, pair, lambda each: 0 * each) is None


def test_the_temperature_makes_training_rows_as_unsure_as_calibrated_ones() -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 5, 4000)
    honest = 2 * np.eye(5)[targets] + drawn(4000, 5)
    calibrated = 2 * honest  # the logarithm of the posterior of this mixture
    found = starting_temperature(12 * honest, 6 * honest, targets)
    assert found["calibrating"] == pytest.approx(3, rel=0.1)
    assert found["as_unsure_in_training"] == pytest.approx(6, rel=0.1)
    assert found["temperature"] == 6
    assert found["entropy"]["validation_calibrated"] == pytest.approx(mean_entropy(calibrated), rel=0.1)
    assert found["entropy"]["train_at_1"] < found["entropy"]["train_at_start"] < found["entropy"]["highest"]


def test_the_temperature_is_never_below_one_and_never_endless() -> None:
    targets = np.arange(30) % 3
    shy = starting_temperature(0.1 * np.eye(3)[targets], 0.1 * np.eye(3)[targets], targets)
    assert shy["temperature"] == 1
    assert shy["calibrating"] < 1
    wrong = starting_temperature(100 * np.eye(3)[targets], 100 * np.eye(3)[(targets + 1) % 3], targets)
    assert wrong["temperature"] == 20


def test_temperature_of_an_entropy_ends_at_its_range() -> None:
    logits = drawn(20, 4)
    assert mean_entropy(logits, temperature_of_entropy(logits, 1.0)) == pytest.approx(1.0)
    assert temperature_of_entropy(logits, 2.0) == pytest.approx(100)
    assert temperature_of_entropy(logits, -1.0) == pytest.approx(0.01)


def codes(train: Any, validation: Any, teacher: Estimate, rivals: dict[str, Estimate], scorer: Scorer) -> list[str]:
    return [one["code"] for one in gate(train, validation, teacher, rivals, scorer)]


def test_the_gate_is_open_to_a_good_teacher_and_warns_of_each_fault() -> None:
    targets = np.arange(300) % 3
    scorer = scorer_of(targets)
    right = 5 * np.eye(3)[targets]
    good = scorer(right)
    assert (
        codes(describe_rows(right, targets), describe_rows(right, targets), good, {"chance": scorer.chance()}, scorer)
        == []
    )

    half = right.copy()
    half[:150] = 5 * np.eye(3)[(targets[:150] + 1) % 3]
    train, validation = describe_rows(right, targets), describe_rows(half, targets)
    found = gate(train, validation, scorer(half), {"a linear model of sound": good}, scorer)
    assert [one["code"] for one in found] == ["not_better", "overconfident", "overfitted"]
    assert "a linear model of sound: accuracy 0.500 against 1.000" in found[0]["sentence"]
    assert "right in 50.0\u00a0%" in found[1]["sentence"]


def test_a_teacher_that_only_knows_how_common_classes_are_is_not_better_than_that() -> None:
    scorer = scorer_of(np.arange(60) % 3)
    described = describe_rows(np.zeros((60, 3)), scorer.targets)
    assert codes(described, described, scorer.chance(), {"chance": scorer.chance()}, scorer) == ["not_better"]


def test_a_probe_learns_and_knows_classes_that_it_was_not_shown() -> None:
    matrix, targets = blobs(200, 0.1)
    probe = fit_probe(matrix, targets, 3)
    assert (probe.logits(matrix).argmax(axis=1) == targets).mean() > 0.98
    two = fit_probe(matrix[targets < 2], targets[targets < 2], 3)
    assert two.logits(matrix).shape == (200, 3)
    assert (two.logits(matrix)[:, 2] == -30).all()
    one = fit_probe(matrix[targets == 1], targets[targets == 1], 3)
    assert (one.logits(matrix).argmax(axis=1) == 1).all()


def test_balanced_weights_answer_rare_classes_more_often() -> None:
    targets = (np.arange(400) % 20 == 0).astype(np.int64)
    matrix = targets[:, None] + drawn(400, 1)
    plain, balanced = (
        fit_probe(matrix, targets, 2, weight).logits(matrix).argmax(axis=1) for weight in (None, "balanced")
    )
    assert balanced.mean() > 3 * plain.mean()
    weighted = fit_probe(matrix, targets, 2, {0: 1.0, 1: 19.0}).logits(matrix).argmax(axis=1)
    assert (weighted == balanced).mean() > 0.95


def test_more_labels_bring_more_until_they_do_not() -> None:
    matrix, targets = drawn(400, 30), np.arange(400) % 3
    matrix[:, :3] += 1.2 * np.eye(3)[targets]
    seen = PlainColumn(matrix[:200], matrix[200:])
    curve = label_curve(seen, targets[:200], scorer_of(targets[200:]), None)
    assert [labels for _, labels, _ in curve] == [20, 50, 100, 200]
    assert curve[0][2].value < curve[-1][2].value
    rise = doubling(curve)
    assert rise is not None
    assert rise.value == pytest.approx(curve[-1][2].value - curve[-2][2].value)
    few = label_curve(PlainColumn(matrix[:4], matrix[200:]), targets[:4], scorer_of(targets[200:]), None)
    assert [labels for _, labels, _ in few] == [4]
    assert doubling(few) is None


@pytest.mark.parametrize("helps", [True, False])
def test_rows_without_a_label_help_as_far_as_the_teacher_knows(helps: bool) -> None:
    matrix, targets = drawn(900, 20), np.arange(900) % 3
    matrix[:, :3] += 1.5 * np.eye(3)[targets]
    seen = PlainColumn(matrix[:30], matrix[600:])
    said = np.eye(3)[targets[30:600] if helps else np.random.default_rng(0).integers(0, 3, 570)]
    gain = taught_gain(seen, matrix[30:600], targets[:30], said, scorer_of(targets[600:]), None)["gain"]
    assert gain.interval is not None
    assert gain.interval[0] > 0 if helps else gain.interval[1] < 0


def about(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(value, value + spread * drawn(200))


def exactly(value: float) -> Estimate:
    return about(value, spread=0.0)


@pytest.mark.parametrize(
    ("evidence", "answer"),
    [
        ({"headroom": about(-0.1), "unlabelled": 9, "taught": about(0.1)}, "no"),
        ({"headroom": about(0.2), "unlabelled": 9, "taught": about(0.1)}, "yes"),
        ({"headroom": about(0.2), "unlabelled": 9, "taught": about(-0.1)}, "no"),
        ({"headroom": about(0.2), "unlabelled": 9, "taught": about(0.0)}, "unclear"),
        ({"headroom": about(0.2), "unlabelled": 9, "taught": exactly(0.0)}, "no"),
        ({"headroom": exactly(0.0), "unlabelled": 9, "taught": about(0.1)}, "no"),
        ({"headroom": about(0.0), "unlabelled": 9, "taught": about(0.1)}, "unclear"),
        ({"headroom": about(0.2), "unlabelled": 9, "taught": about(0.1), "visible": 0.05}, "no"),
        ({"headroom": about(0.2), "unlabelled": 0}, "unclear"),
        ({"headroom": None, "unlabelled": 9}, "unclear"),
        ({"headroom": about(-0.2), "unlabelled": 0, "measured": about(0.1)}, "yes"),
        ({"headroom": about(0.2), "unlabelled": 0, "measured": about(-0.1)}, "no"),
    ],
)
def test_the_expected_gain_follows_its_evidence(evidence: dict[str, Any], answer: str) -> None:
    found = expected_gain(**evidence)
    assert found["answer"] == answer
    assert found["reasons"]
    assert all(reason.endswith(".") for reason in found["reasons"])
