"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.modalities`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from mmdistill.losses.graph_distillation import EdgeScores
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "c2kd": [{"threshold": None}, {"target_class": "logit_0"}, {"temperature": 4.0, "threshold": -0.2}],
    "mad": [{"uncertainty": "partner"}],
    "mmanet_regularisation": [{"weak": ((True, False, True), (False, False, True))}],
    "promptmm_listwise": [{"form": "plain"}, {"alpha": 1.0, "beta": 2.0}],
    "promptmm_feature": [{"exponent": 1.0}, {"exponent": 1.5}],
    "dmd_homogeneous": [
        {"prior": (0.5, 0.1, 0.1, 0.1, 0.1, 0.1)},
        {"regulariser": 0.0, "sharpness": 1.0},
        {"distance": "squared"},
        {"distance": "cosine"},
    ],
    "dmd_heterogeneous": [{"representations": "apart"}],
    "dmd_margin": [
        {"triplets": "all", "average": "anchors", "margin_scale": "target_distance", "margin": 0.15},
        {"triplets": "all"},
        {"average": "anchors"},
    ],
    "dmd_orthogonality": [{"form": "signed"}],
    "misa_cmd": [{"moments": 2, "interval": 2.0}],
    "misa_difference": [{"reduction": "mean"}],
    "misa_reconstruction": [{"error": "scale_invariant"}, {"error": "squared_mean"}],
}


def _seen(rows: int, classes: int, numbers: object, generator: torch.Generator) -> Tensor:
    """Rows of every kind: complete, without the second column, with the last alone."""
    patterns = torch.tensor([[True, False, True], [False, False, True], [True, True, True]])
    return patterns[torch.arange(rows) % 3]


INPUTS: Inputs = {"mmanet_regularisation": {"seen": _seen}}


def _c2kd(arrays: Arrays, numbers: Numbers) -> Tensor:
    """The whole method: both models on their targets, each beside its proxy, the proxies with each other."""

    def side(own: Tensor, proxy: Tensor, other_proxy: Tensor) -> Tensor:
        return (
            F.cross_entropy(own, arrays["target"])
            + functional.kd(proxy, own, temperature=1.0)
            + functional.kd(own, proxy, temperature=1.0)
            + functional.c2kd(proxy, other_proxy, arrays["target"], threshold=numbers["krc"], target_class="logit_0")
        )

    student, teacher = arrays["student_logits"], arrays["teacher_logits"]
    proxies = arrays["student_proxy_logits"], arrays["teacher_proxy_logits"]
    return side(student, *proxies) + side(teacher, *reversed(proxies))


def _ntkl(arrays: Arrays, numbers: Numbers) -> Tensor:
    """The source is given the selection, averages over the rows that it leaves out as well, and has no T²."""
    chosen = arrays["mask"]
    selected = functional.c2kd(
        arrays["student_logits"],
        arrays["teacher_logits"],
        arrays["target"],
        weight=chosen,
        temperature=numbers["temperature"],
        threshold=None,
        target_class="logit_0",
    )
    return chosen.to(selected.dtype).mean() * selected / numbers["temperature"] ** 2


def _edge_scores(arrays: Arrays) -> Tensor:
    (width, logits_width), embeddings = arrays["param.W_logit.weight"].shape, arrays["reprs"].transpose(0, 1)
    scores = EdgeScores(embeddings.shape[2], logits_width, width).to(embeddings.dtype)
    renamed = {"logits": "W_logit", "embeddings": "W_repr", "edge": "W_edge"}
    parts = [f"{layer}.{part}" for layer in renamed for part in ("weight", "bias")]
    scores.load_state_dict(
        {part: arrays[f"param.{renamed[part.split('.')[0]]}.{part.split('.')[1]}"] for part in parts}
    )
    found: Tensor = scores(embeddings, arrays["logits"].transpose(0, 1))
    return found


_DISTANCES: dict[str, Any] = {"l1": "absolute", "l2": "squared", "cosine": "cosine"}


def _homogeneous(arrays: Arrays, numbers: Numbers) -> Tensor:
    first = numbers["w_losses"][0]
    return (0.05 * first) * functional.dmd_homogeneous(
        arrays["reprs"].unbind(),
        _edge_scores(arrays),
        arrays["logits"].unbind(),
        sharpness=numbers["alpha"],
        regulariser=numbers["gd_reg"] / first,
        distance=_DISTANCES[numbers["metric"]],
        prior=tuple(arrays["gd_prior"].tolist()),
    )


def _heterogeneous(arrays: Arrays, numbers: Numbers) -> Tensor:
    first = numbers["w_losses"][0]
    return (0.05 * first) * functional.dmd_heterogeneous(
        arrays["reprs"].unbind(),
        arrays["logits"].unbind(),
        _edge_scores(arrays),
        sharpness=numbers["alpha"],
        regulariser=numbers["gd_reg"] / first,
        distance=_DISTANCES[numbers["metric"]],
        prior=tuple(arrays["gd_prior"].tolist()),
        representations="apart",
        representation_weight=numbers["w_losses"][1] / first,
    )


def _margin(arrays: Arrays, numbers: Numbers) -> Tensor:
    """The source has the three columns of a row one below the other."""
    columns = arrays["student_feat"].unflatten(0, (-1, 3)).unbind(dim=1)
    return functional.dmd_margin(
        columns,
        arrays["ids"][::3, 0],
        margin=0.15,
        margin_scale="target_distance",
        triplets="all",
        average="anchors",
    )


def _columns(arrays: Arrays, name: str, letters: str) -> tuple[Tensor, ...]:
    return tuple(arrays[f"{name}_{letter}"] for letter in letters)


def _solver_terms(arrays: Arrays, numbers: Numbers) -> Tensor:
    shared, private = _columns(arrays, "shared", "tva"), _columns(arrays, "private", "tva")
    difference = functional.misa_difference(shared, private, reduction="mean", detach_norm=True)
    return numbers["diff_weight"] * difference + numbers["sim_weight"] * functional.misa_cmd(shared)


def _mad(arrays: Arrays, uncertainty: str) -> Tensor:
    return functional.mad(
        arrays["student_feat"], arrays["teacher_feat"], arrays["teacher_logits"], uncertainty=uncertainty
    )


def _regularisation(arrays: Arrays, numbers: Numbers) -> Tensor:
    present = arrays["availability"].flatten(1).bool()
    terms = [
        functional.mmanet_regularisation(
            arrays[f"student_logits_{i}"], arrays["target"], present, weak=(tuple(combination.bool().tolist()),)
        )
        for i, combination in enumerate(arrays["weak_combinations"])
    ]
    return torch.stack(terms).sum()


def _scores(arrays: Arrays, side: str, others: str) -> Tensor:
    """Scores of the chosen item, and of the others after it."""
    user, item = arrays[f"{side}_user"][arrays["users"]], arrays[f"{side}_item"]
    candidates = torch.cat([arrays["pos_items"][:, None], arrays[others].reshape(len(user), -1)], dim=1)
    return (user[:, None] * item[candidates]).sum(dim=-1)


def _first(scores: Tensor) -> Tensor:
    return torch.zeros(len(scores), dtype=torch.int64)


def _bpr(arrays: Arrays, numbers: Numbers) -> Tensor:
    """BPR is the pairwise loss with a teacher that is certain; the source adds the size of the embeddings."""
    scores = _scores(arrays, "student", "neg_items")
    certain = torch.tensor([[500.0, 0.0]], dtype=scores.dtype).expand_as(scores)
    used = [arrays["student_user"][arrays["users"]]]
    used += [arrays["student_item"][arrays[name]] for name in ("pos_items", "neg_items")]
    size = sum(rows.square().sum() for rows in used) / 2 / numbers["batch_size"]
    return functional.promptmm_pairwise(scores, certain, _first(scores)) + numbers["decay"] * size


def _pairwise(arrays: Arrays, numbers: Numbers) -> Tensor:
    student, teacher = _scores(arrays, "student", "neg_items"), _scores(arrays, "teacher", "neg_items")
    return functional.promptmm_pairwise(student, teacher, _first(student))


def _listwise(arrays: Arrays, numbers: Numbers) -> Tensor:
    student, teacher = _scores(arrays, "student", "neg_list"), _scores(arrays, "teacher", "neg_list")
    return functional.promptmm_listwise(student, teacher, _first(student), form="plain") / student.shape[1]


def _listwise_of_probabilities(arrays: Arrays, numbers: Numbers) -> Tensor:
    """The source applies the softmax itself and hands the result on as if it were scores."""
    student, teacher = _scores(arrays, "student", "neg_list"), _scores(arrays, "teacher", "neg_list")
    return functional.promptmm_listwise(
        student.softmax(-1), teacher.softmax(-1), _first(student), alpha=numbers["alpha"], beta=numbers["beta"]
    )


_FAULTY_KL = (
    "The source gives −log p to a KL divergence that expects log p, and takes the teacher's −log p for its "
    "probability, so that the loss falls as the student gets worse; the paper minimises the divergence of the two "
    "sides' preferences, and so does ours."
)

GOLDEN: dict[str, GoldenCase] = {
    "c2kd__full__s1d": GoldenCase("c2kd", _c2kd),
    "c2kd__ntkl__s1d": GoldenCase("c2kd", _ntkl),
    "dmd__graph_distill_homo__s1d": GoldenCase("dmd_homogeneous", _homogeneous),
    "dmd__graph_distill_hetero__s1d": GoldenCase("dmd_heterogeneous", _heterogeneous),
    "dmd__margin__s1d": GoldenCase("dmd_margin", _margin),
    "dmd__orthogonality__s1d": GoldenCase(
        "dmd_orthogonality",
        lambda arrays, _: functional.dmd_orthogonality(
            _columns(arrays, "shared", "lva"), _columns(arrays, "private", "lva")
        ),
    ),
    "misa__cmd__s1d": GoldenCase(
        "misa_cmd",
        lambda arrays, numbers: functional.misa_cmd((arrays["x1"], arrays["x2"]), moments=numbers["n_moments"]),
    ),
    "misa__difference__s1d": GoldenCase(
        "misa_difference",
        # With one column there is one pair: shared and private.
        lambda arrays, _: functional.misa_difference(
            (arrays["x1"],), (arrays["x2"],), reduction="mean", detach_norm=True
        ),
    ),
    "misa__simse__s1d": GoldenCase(
        "misa_reconstruction",
        # The source takes the whole batch for one row.
        lambda arrays, _: functional.misa_reconstruction(
            (arrays["x2"].reshape(1, -1),), (arrays["x1"].reshape(1, -1),), error="squared_mean"
        ),
    ),
    "misa__solver_terms__s1d": GoldenCase("misa_difference", _solver_terms),
    "mmanet__mad_classification__s1d": GoldenCase("mad", lambda arrays, _: _mad(arrays, "partner")),
    "mmanet__mad_segmentation__s1d": GoldenCase(
        "mad",
        lambda arrays, _: _mad(arrays, "anchor"),
        deviation="The source brings the two halves of each row of products to length 1 apart, so that the relations "
        "to the first and to the second half of the batch weigh the same; the paper normalises the row as a whole, and "
        "so does ours.",
    ),
    "mmanet__sp__s1d": GoldenCase(
        "sp", lambda arrays, _: functional.sp(arrays["student_feat"], arrays["teacher_feat"])
    ),
    "mmanet__modality_regularisation__s1d": GoldenCase(
        "mmanet_regularisation",
        _regularisation,
        deviation="The source multiplies a mask (B, 1, 1, 1) with cross-entropies (B), which gives (number of matching "
        "rows) · (sum of the cross-entropies of all rows) / B; equation 14 sums the cross-entropies of the matching "
        "rows, and so does ours.",
    ),
    "mfh__vggsound__s1d": GoldenCase(
        "kd",
        lambda arrays, _: functional.kd(arrays["student_logits"], arrays["teacher_logits"], temperature=1.0),
    ),
    "mfh__ravdess__s1d": GoldenCase(
        "kd",
        # Averaged over classes as well; the weight of the hard labels is 0.
        lambda arrays, numbers: (
            numbers["gt_weight"] * F.cross_entropy(arrays["student_logits"], arrays["target"])
            + numbers["pl_weight"]
            * functional.kd(arrays["student_logits"], arrays["teacher_logits"], temperature=1.0)
            / arrays["student_logits"].shape[1]
        ),
    ),
    "promptmm__bpr__s1d": GoldenCase("promptmm_pairwise", _bpr),
    "promptmm__pairwise_kd__s1d": GoldenCase("promptmm_pairwise", _pairwise, deviation=_FAULTY_KL),
    "promptmm__listwise_kd__s1d": GoldenCase("promptmm_listwise", _listwise, deviation=_FAULTY_KL),
    "promptmm__listwise_dkd__s1d": GoldenCase("promptmm_listwise", _listwise_of_probabilities),
    "promptmm__feature_sce__s1d": GoldenCase(
        "promptmm_feature",
        lambda arrays, numbers: functional.promptmm_feature(
            arrays["student_item"], arrays["teacher_item"], exponent=numbers["alpha"], dropped=numbers["tip_rate"]
        ),
    ),
    "promptmm__feature_mse__s1d": GoldenCase(
        "normalised_mse",
        lambda arrays, _: functional.normalised_mse(arrays["student_item"], arrays["teacher_item"]),
    ),
}
