"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.hidden_states`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmdistill.losses import functional
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings, Value
from tests.losses.settings import Numbers as RandomNumbers

OPTIONS: Settings = {
    "pkd": [{"state": "mean"}],
    "attention_mse": [{"heads": "summed_maps"}],
    "attention_cross_entropy": [{"heads": "averaged_maps"}],
    "minilm": [{"relation_heads": 1}],
}


def _wide_tokens(rows: int, classes: int, numbers: RandomNumbers, generator: torch.Generator) -> Value:
    return numbers(rows, 4, 8)


INPUTS: Inputs = {"minilm": {"student_tokens": _wide_tokens, "teacher_tokens": _wide_tokens}}


def _hidden(loss: Callable[..., Tensor]) -> Callable[[Arrays, Numbers], Tensor]:
    def call(arrays: Arrays, _: Numbers) -> Tensor:
        return loss(arrays["student_hidden"], arrays["teacher_hidden"], mask=arrays["mask"])

    return call


def _mapped_layers(loss: Callable[..., Tensor]) -> Callable[[Arrays, Numbers], Tensor]:
    """The mean over DistillKit's mapping of layers, the student's 0 to the teacher's 1 and 1 to 0."""

    def call(arrays: Arrays, _: Numbers) -> Tensor:
        pairs = [
            loss(arrays[f"student_hidden_{student}"], arrays[f"teacher_hidden_{teacher}"], mask=arrays["mask"])
            for student, teacher in ((0, 1), (1, 0))
        ]
        return torch.stack(pairs).mean()

    return call


def _attention(loss: Callable[..., Tensor], heads: str) -> Callable[[Arrays, Numbers], Tensor]:
    def call(arrays: Arrays, _: Numbers) -> Tensor:
        return loss(arrays["student_attention"], arrays["teacher_attention"], mask=arrays["mask"], heads=heads)

    return call


def _pkd(arrays: Arrays, _: Numbers) -> Tensor:
    return functional.pkd((arrays["student_hidden"],), (arrays["teacher_hidden"],))


def _token_gram(arrays: Arrays, _: Numbers) -> Tensor:
    student, teacher = (tuple(arrays[f"{side}_hidden_{layer}"] for layer in (0, 1)) for side in ("student", "teacher"))
    return functional.token_gram(student, teacher)


PADDED_KEYS = (
    "TextBrewer leaves padded queries out of the mean and lets padded keys take part in the softmax, unless their "
    "scores are very low already; ours leaves both out by the mask, which gives the same where they are."
)

GOLDEN: dict[str, GoldenCase] = {
    "hidden_state__textbrewer_hidden_mse__s1d": GoldenCase("fitnets", _hidden(functional.fitnets)),
    "hidden_state__textbrewer_cosine__s1d": GoldenCase("cosine_features", _hidden(functional.cosine_features)),
    "hidden_state__textbrewer_pkd__s1d": GoldenCase("pkd", _pkd),
    "hidden_state__textbrewer_attention_mse__s1d": GoldenCase(
        "attention_mse", _attention(functional.attention_mse, "mean")
    ),
    "hidden_state__textbrewer_attention_mse_sum__s1d": GoldenCase(
        "attention_mse", _attention(functional.attention_mse, "summed_maps")
    ),
    "hidden_state__textbrewer_attention_ce__s1d": GoldenCase(
        "attention_cross_entropy", _attention(functional.attention_cross_entropy, "mean"), deviation=PADDED_KEYS
    ),
    "hidden_state__textbrewer_attention_ce_mean__s1d": GoldenCase(
        "attention_cross_entropy",
        _attention(functional.attention_cross_entropy, "averaged_maps"),
        deviation=PADDED_KEYS,
    ),
    "hidden_state__textbrewer_gram_mmd__s1d": GoldenCase("token_gram", _token_gram),
    "hidden_state__distillkit_mse__s1d": GoldenCase(
        "fitnets", _mapped_layers(functional.fitnets), loss_tolerance=1e-4, gradient_tolerance=1e-4
    ),
    "hidden_state__distillkit_cosine__s1d": GoldenCase(
        "cosine_features", _mapped_layers(functional.cosine_features), loss_tolerance=1e-4, gradient_tolerance=1e-4
    ),
}
