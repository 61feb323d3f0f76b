"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.features`."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses import functional
from tests.losses.golden_case import Arrays, GoldenCase, Numbers
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {
    "fitnets": [{"reduction": "half_sum"}],
    "normalised_mse": [{"reduction": "sum"}],
    "vid": [{"initial_variance": 0.1, "hidden": 3, "smallest_variance": 1e-4}],
    "catkd": [{"resolution": 3}, {"normalise": False}],
    "frequency_features": [{"cutoff": 0.7}, {"low_weight": 0.0}, {"high_weight": 0.0}],
}

INPUTS: Inputs = {}


def _normalised(maps: Tensor, arrays: Arrays, name: str) -> Tensor:
    """Batch normalisation by the statistics of the batch, then ReLU."""
    weight, bias = arrays[f"param.{name}.weight"], arrays[f"param.{name}.bias"]
    return F.relu(F.batch_norm(maps, None, None, weight, bias, training=True))


def _fitnets_regressor(arrays: Arrays, _: Numbers) -> Tensor:
    """mdistiller's regressor of 1x1 convolution, BatchNorm and ReLU in front of the loss."""
    name = "param.conv_reg.conv"
    projected = F.conv2d(arrays["student_feat_0"], arrays[f"{name}.weight"], arrays[f"{name}.bias"])
    return functional.fitnets(_normalised(projected, arrays, "conv_reg.bn"), arrays["teacher_feat_0"])


def _simkd_projector(arrays: Arrays, _: Numbers) -> Tensor:
    """The authors' projector: 1x1, 3x3 and 1x1 convolutions, each with BatchNorm and ReLU."""
    maps = arrays["student_feat_0"]
    for layer, padding in ((0, 0), (3, 1), (6, 0)):
        maps = F.conv2d(maps, arrays[f"param.transfer.{layer}.weight"], padding=padding)
        maps = _normalised(maps, arrays, f"transfer.{layer + 1}")
    return functional.simkd(maps, arrays["teacher_feat_0"])


def _vid(arrays: Arrays, numbers: Numbers) -> Tensor:
    """Three 1x1 convolutions with ReLU between predict the mean."""
    first, second, third = (arrays[f"param.regressor.{layer}.weight"] for layer in (0, 2, 4))
    mean = F.conv2d(F.relu(F.conv2d(F.relu(F.conv2d(arrays["student_feat_0"], first)), second)), third)
    return functional.vid(mean, arrays["teacher_feat_0"], arrays["param.log_scale"], smallest_variance=numbers["eps"])


def _catkd(arrays: Arrays, numbers: Numbers) -> Tensor:
    return functional.catkd(
        arrays["student_feat_0"],
        arrays["teacher_feat_0"],
        resolution=numbers["resolution"],
        normalise=numbers.get("normalize", True),
        binarise="normalize" not in numbers,
    )


GOLDEN: dict[str, GoldenCase] = {
    "fitnets__hint_mse__s1d": GoldenCase(
        "fitnets", lambda arrays, _: functional.fitnets(arrays["student_feat_0"], arrays["teacher_feat_0"])
    ),
    "fitnets__convreg__s1d": GoldenCase("fitnets", _fitnets_regressor),
    "simkd__feature__s1d": GoldenCase("simkd", _simkd_projector),
    "vid__single_layer__s1d": GoldenCase("vid", _vid),
    "catkd__cat_loss__s1d": GoldenCase("catkd", _catkd),
    "catkd__binarized__s1d": GoldenCase("catkd", _catkd),
}
