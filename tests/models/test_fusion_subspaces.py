"""MISA and ShaSpec: what is shared, what is not, and the losses that make it so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.fusion.misa import difference, reconstruction, similarity
from mmdistill.models.fusion.shaspec import alignment, classification
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import Component, ModelSpec
from tests.models.features import image, vector

DIMS = {"image": 6, "sound": 8, "note": 4}
ROWS = 10
DATA = os.environ.get("MMDISTILL_DATA")
GOLDEN = Path(DATA).parent / "golden" / "misa__solver_terms__s1d.npz" if DATA else None


def build(name: str, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_fusion(Component(name=name, **options), DIMS).double()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def embeddings() -> dict[str, Tensor]:
    return {column: random(ROWS, width, seed=width) for column, width in DIMS.items()}


def everything() -> dict[str, Tensor]:
    return {column: torch.ones(ROWS, dtype=torch.bool) for column in DIMS}


def without(*absent: str) -> dict[str, Tensor]:
    return {column: torch.full((ROWS,), column not in absent) for column in DIMS}


def into(fusion: nn.Module, present: dict[str, Tensor] | None = None) -> Any:
    return fusion(embeddings(), {}, {}, present or everything())


def parts(width: int = 5) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    shared = {column: random(ROWS, width, seed=index).sigmoid() for index, column in enumerate(DIMS)}
    return shared, {column: random(ROWS, width, seed=9 + index).sigmoid() for index, column in enumerate(DIMS)}


def test_misa_gives_what_its_equations_say() -> None:
    fusion = build("misa", dim=6, hidden=[]).eval()
    fused = into(fusion)
    for column, vector_ in embeddings().items():
        u = nn.functional.layer_norm(fusion.project[column][0](vector_).relu(), (6,))
        shared, private = fusion.shared(u).sigmoid(), fusion.private[column](u).sigmoid()
        torch.testing.assert_close(fused.taps[f"{column}.projected"], u)
        torch.testing.assert_close(fused.taps[f"{column}.shared"], shared)
        torch.testing.assert_close(fused.taps[f"{column}.private"], private)
        restored = fusion.restore[column](shared + private)
        torch.testing.assert_close(fused.taps[f"{column}.reconstruction"], restored)
    states = [fused.taps[f"{column}.{part}"] for part in ("shared", "private") for column in DIMS]
    (layer,) = fusion.transformer
    expected = layer(torch.stack(states, dim=1), torch.ones(ROWS, 6, dtype=torch.bool))
    torch.testing.assert_close(fused.embedding, expected.flatten(1))


def test_the_losses_of_misa_are_those_of_the_library_where_all_columns_are_there() -> None:
    fusion = build("misa", dim=6)
    fused = into(fusion)
    shared, private, projected, restored = (
        tuple(fused.taps[f"{column}.{part}"] for column in DIMS)
        for part in ("shared", "private", "projected", "reconstruction")
    )
    expected = {
        "similarity": 1.0 * functional.misa_cmd(shared),
        "difference": 0.3 * functional.misa_difference(shared, private, reduction="mean"),
        "reconstruction": 1.0 * functional.misa_reconstruction(projected, restored),
    }
    torch.testing.assert_close(dict(fused.auxiliary), expected)


@pytest.mark.skipif(GOLDEN is None or not GOLDEN.is_file(), reason="the folder golden/ beside MMDISTILL_DATA is absent")
def test_similarity_and_difference_are_those_of_the_authors_code() -> None:
    with np.load(GOLDEN, allow_pickle=False) as recorded:  # type: ignore[arg-type]
        arrays = {name: torch.from_numpy(recorded[name]).double() for name in recorded.files}
    shared, private = ({column: arrays[f"{part}_{column}"] for column in "tva"} for part in ("shared", "private"))
    present = {column: torch.ones(len(shared["t"]), dtype=torch.bool) for column in "tva"}
    total = similarity(shared, present) + 0.3 * difference(shared, private, present)
    assert total.item() == pytest.approx(arrays["loss"].item(), rel=1e-7)


def test_a_pair_is_compared_over_the_rows_that_have_both() -> None:
    shared, private = parts()
    present = everything() | {"sound": torch.arange(ROWS) < 6}
    found = similarity(shared, present)
    cut = [
        functional.misa_cmd((shared["image"][:6], shared["sound"][:6])),
        functional.misa_cmd((shared["sound"][:6], shared["note"][:6])),
        functional.misa_cmd((shared["image"], shared["note"])),
    ]
    torch.testing.assert_close(found, torch.stack(cut).mean())
    spoilt = {column: values.clone() for column, values in shared.items()}
    spoilt["sound"][6:] = 0.5
    torch.testing.assert_close(similarity(spoilt, present), found)
    torch.testing.assert_close(difference(spoilt, private, present), difference(shared, private, present))


def test_each_column_is_restored_over_its_own_rows() -> None:
    shared, private = parts()
    present = everything() | {"sound": torch.arange(ROWS) < 6}
    errors = [(shared[column] - private[column]).square().mean(1) for column in DIMS]
    expected = (errors[0].mean() + errors[1][:6].mean() + errors[2].mean()) / 3
    torch.testing.assert_close(reconstruction(shared, private, present), expected)


@pytest.mark.parametrize("name", ["misa", "shaspec"])
def test_a_batch_with_nothing_teaches_nothing(name: str) -> None:
    fused = into(build(name), without(*DIMS))
    assert all(value.item() == 0 for value in fused.auxiliary.values())


@pytest.mark.parametrize("name", ["misa", "shaspec"])
def test_losses_weigh_what_their_options_say(name: str) -> None:
    fusion = build(name)
    halved = {
        key: getattr(Component(name=name).options("fusion"), key) / 2
        for key in type(Component(name=name).options("fusion")).model_fields
        if key.endswith("_weight")
    }
    whole, half = into(fusion).auxiliary, into(build(name, **halved)).auxiliary
    for loss, value in whole.items():
        assert value.item() > 0
        assert half[loss].item() == pytest.approx(value.item() / 2)


def test_training_on_its_own_losses_brings_what_is_shared_together() -> None:
    for name in ("misa", "shaspec"):
        fusion = build(name, dim=8)
        optimizer = torch.optim.Adam(fusion.parameters(), lr=0.01)
        first = into(fusion).auxiliary
        for _ in range(40):
            optimizer.zero_grad()
            losses = into(fusion).auxiliary
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
        assert all(losses[loss] < first[loss] for loss in losses), name


def test_shaspec_adds_a_residual_of_both_parts_to_what_is_shared() -> None:
    fusion = build("shaspec", dim=6, hidden=[])
    fused = into(fusion)
    expected = []
    for column, vector_ in embeddings().items():
        shared = fusion.shared(fusion.entry[column](vector_).relu())
        specific = fusion.specific[column](vector_)
        expected.append(shared + fusion.residual(torch.cat([shared, specific], dim=1)))
        torch.testing.assert_close(fused.taps[f"{column}.shared"], shared)
        torch.testing.assert_close(fused.taps[f"{column}.private"], specific)
    torch.testing.assert_close(fused.embedding, torch.cat(expected, dim=1))


def test_a_missing_column_gets_the_mean_of_the_shared_features_of_the_others() -> None:
    fusion = build("shaspec", dim=6, hidden=[])
    fused = into(fusion, without("sound"))
    shared = (fused.taps["image.shared"] + fused.taps["note.shared"]) / 2
    torch.testing.assert_close(fused.embedding[:, 6:12], shared)
    torch.testing.assert_close(into(fusion).embedding[:, :6], fused.embedding[:, :6])
    assert (into(fusion, without(*DIMS)).embedding == 0).all()


def test_alignment_is_the_mean_absolute_difference_over_pairs_that_are_there() -> None:
    shared, there = random(4, 3, 5), torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    pairs = [(0, 0, 1), (0, 0, 2), (0, 1, 2), (1, 0, 2)]
    expected = torch.stack([(shared[row, one] - shared[row, other]).abs().mean() for row, one, other in pairs]).mean()
    torch.testing.assert_close(alignment(shared, there), expected)


def test_classification_tells_the_columns_that_are_there_apart() -> None:
    logits, there = random(4, 3, 3), torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    found = [-logits[row, column].log_softmax(0)[column] for row, column in there.nonzero().tolist()]
    torch.testing.assert_close(classification(logits, there), torch.stack(found).mean())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("misa", {"dim": 5, "heads": 2}),
        ("misa", {"moments": 0}),
        ("misa", {"similarity_weight": -1}),
        ("misa", {"reconstruction_weight": float("nan")}),
        ("misa", {"hidden": [0]}),
        ("shaspec", {"dim": 0}),
        ("shaspec", {"alignment_weight": float("inf")}),
        ("shaspec", {"classification": 1}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name=name, **options).options("fusion")


@pytest.mark.parametrize("column", ["image.shared", "image.private", "image.reconstruction", "gates"])
def test_a_column_cannot_bear_the_name_of_what_a_fusion_adds(column: str) -> None:
    spec = ModelSpec.model_validate({"encoders": {"image": "tiny_cnn", column: "mlp"}})
    with pytest.raises(InputError, match=r"cannot be called.*Rename it"):
        build_model(spec, {"image": image(), column: vector(column)}, {"digit": 2}, 0)
