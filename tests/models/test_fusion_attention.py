"""Fusions by attention against their formulas, written out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.fusion.column_tokens import ColumnTokens
from mmdistill.models.fusion.mult import CrossmodalLayer, last_position
from mmdistill.models.layers.transformer import Attention, TransformerLayer
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import Component, ModelSpec
from tests.models.features import arrays, image, text

DIMS = {"image": 6, "text": 5, "type": 4}
LENGTHS = {"image": 3, "text": 4}
ROWS = 3
SMALL = {"dim": 8, "heads": 2}
BY_ATTENTION = ("cross_attention", "mult", "bottleneck", "single_stream", "perceiver", "attention_pooling")


def fusion_of(name: str, columns: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    dims = dict(list(DIMS.items())[:columns])
    return build_fusion(Component(name=name, **SMALL, **options), dims).double().eval()


def inputs(columns: int = 3, seed: int = 0) -> list[dict[str, Tensor]]:
    """Embeddings, tokens, masks and presence of rows that have everything."""
    generator = torch.Generator().manual_seed(seed)
    dims = dict(list(DIMS.items())[:columns])

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lengths = {column: length for column, length in LENGTHS.items() if column in dims}
    return [
        {column: drawn(ROWS, width) for column, width in dims.items()},
        {column: drawn(ROWS, length, dims[column]) for column, length in lengths.items()},
        {column: torch.ones(ROWS, length, dtype=torch.bool) for column, length in lengths.items()},
        {column: torch.ones(ROWS, dtype=torch.bool) for column in dims},
    ]


def only(given: list[dict[str, Tensor]], *columns: str) -> list[dict[str, Tensor]]:
    """The same rows, which now have only some columns."""
    return [*given[:3], {column: torch.full((ROWS,), column in columns) for column in given[3]}]


def sequences_of(fusion: Any, given: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tokens of each column by hand: project, tell columns and the pooled token apart."""
    tokens = fusion.tokens
    result = {}
    for index, (column, embedding) in enumerate(given[0].items()):
        project = tokens.project[column]
        own = given[1][column].unbind(1) if column in given[1] else ()
        rows = [project(embedding) + tokens.column[index] + tokens.pooled]
        rows += [project(token) + tokens.column[index] for token in own]
        result[column] = torch.stack(rows, dim=1)
    return result


def attend(attention: Attention, queries: Tensor, keys: Tensor) -> Tensor:
    """softmax(q k / √d) v head by head, with a key and a value of zeros beside the others."""
    query, key, value = attention.query(queries), attention.key(keys), attention.value(keys)
    zeros = torch.zeros_like(key[:, :1])
    key, value = torch.cat([key, zeros], 1), torch.cat([value, zeros], 1)
    width = query.shape[2] // attention.heads
    heads = []
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        scores = torch.einsum("bqd,bkd->bqk", query[..., part], key[..., part]) / math.sqrt(width)
        heads.append(torch.einsum("bqk,bkd->bqd", scores.softmax(-1), value[..., part]))
    return attention.out(torch.cat(heads, dim=2))


def self_attend(layer: TransformerLayer, tokens: Tensor) -> Tensor:
    """A pre-norm transformer layer."""
    normed = layer.attention_norm(tokens)
    tokens = tokens + attend(layer.attention, normed, normed)
    return tokens + layer.feed_forward(layer.feed_forward_norm(tokens))


def cross_attend(layer: Any, vectors: Tensor, tokens: Tensor) -> Tensor:
    """A pre-norm layer of one set over another."""
    vectors = vectors + attend(layer.attention, layer.query_norm(vectors), layer.token_norm(tokens))
    return vectors + layer.feed_forward(layer.feed_forward_norm(vectors))


def test_a_column_is_its_embedding_and_then_its_tokens() -> None:
    torch.manual_seed(0)
    module, given = ColumnTokens(DIMS, 8).double(), inputs()
    given[2]["text"][0, 2:] = False
    given[3]["image"][1] = False
    tokens, masks = module(*given)
    assert [part.shape for part in tokens] == [(ROWS, 4, 8), (ROWS, 5, 8), (ROWS, 1, 8)]
    assert masks[0].tolist() == [[True] * 4, [False] * 4, [True] * 4]
    assert masks[1][0].tolist() == [True, True, True, False, False]
    assert masks[2].all()
    assert module.labels(LENGTHS) == {"image": ("image",) * 4, "text": ("text",) * 5, "type": ("type",)}


def test_a_text_without_words_is_still_its_embedding() -> None:
    """The pooled token of a present column is there when all of its tokens are masked."""
    fusion, given = fusion_of("single_stream"), inputs()
    given[2]["text"][:] = False
    before = fusion(*given).embedding
    given[0]["text"] = given[0]["text"] + 1
    assert not torch.allclose(fusion(*given).embedding, before)


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_mult_is_a_crossmodal_transformer_a_pair_and_a_transformer_a_target(pool: str) -> None:
    fusion, given = fusion_of("mult", depth=2, pool=pool), inputs()
    sequences = sequences_of(fusion, given)
    summaries = []
    for target in DIMS:
        written = []
        for source in (column for column in DIMS if column != target):
            stream = sequences[target]
            for layer in fusion.crossmodal[target][source]:
                normed = layer.target_norm(stream)
                # Every layer reads the source's first tokens, and adds what is normalised (section 3.2).
                middle = attend(layer.attention, normed, layer.source_norm(sequences[source])) + normed
                middle = layer.feed_forward_norm(middle)
                stream = layer.feed_forward(middle) + middle
            written.append(stream)
        stream = torch.cat(written, dim=2)
        for layer in fusion.joined[target]:
            stream = self_attend(layer, stream)
        stream = fusion.norms[target](stream)
        summaries.append(stream.mean(1) if pool == "mean" else stream[:, -1])
    assert fusion.dim == 3 * 2 * 8
    torch.testing.assert_close(fusion(*given).embedding, torch.cat(summaries, dim=1))


def test_mult_adds_the_normalised_sequence_as_the_paper_does_and_its_code_does_not() -> None:
    torch.manual_seed(0)
    layer = CrossmodalLayer(8, 2).double()
    target, source = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 4, 8, dtype=torch.float64)
    result = layer(target, source, torch.ones(2, 4, dtype=torch.bool))
    middle = target + attend(layer.attention, layer.target_norm(target), layer.source_norm(source))
    code = middle + layer.feed_forward(layer.feed_forward_norm(middle))
    assert not torch.allclose(result, code, atol=0.1)
    # What is added is normalised, so the scale of the sequence does not come through.
    torch.testing.assert_close(
        layer(target * 100, source, torch.ones(2, 4, dtype=torch.bool)), result, atol=1e-4, rtol=0
    )


def test_mult_leaves_an_absent_target_out_and_does_not_look_at_an_absent_source() -> None:
    fusion, given = fusion_of("mult"), inputs()
    fused = fusion(*only(given, "text")).embedding.unflatten(1, (3, -1))
    assert (fused[:, 0] == 0).all()
    assert (fused[:, 2] == 0).all()
    assert (fused[:, 1] != 0).any()
    assert (fusion(*only(given)).embedding == 0).all()


def test_the_last_position_is_the_last_true_one() -> None:
    values = torch.arange(12.0).view(3, 4, 1)
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    assert last_position(values, mask).tolist() == [[1.0], [6.0], [0.0]]


@pytest.mark.parametrize("fusion_layer", [0, 1])
@pytest.mark.parametrize("present", [("image", "text", "type"), ("image", "type"), ("text",)])
def test_bottlenecks_are_the_mean_over_present_columns(fusion_layer: int, present: tuple[str, ...]) -> None:
    fusion = fusion_of("bottleneck", depth=3, fusion_layer=fusion_layer, bottlenecks=2)
    given = inputs()
    streams = {column: stream for column, stream in sequences_of(fusion, given).items() if column in present}
    shared = fusion.bottlenecks.expand(ROWS, -1, -1)
    for number, layer in enumerate(fusion.layers):
        if number < fusion_layer:
            streams = {column: self_attend(layer[column], stream) for column, stream in streams.items()}
            continue
        both = {
            column: self_attend(layer[column], torch.cat([stream, shared], 1)) for column, stream in streams.items()
        }
        streams = {column: stream[:, :-2] for column, stream in both.items()}
        shared = sum(stream[:, -2:] for stream in both.values()) / len(both)
    classes = [fusion.norms[column](stream[:, 0]) for column, stream in streams.items()]
    torch.testing.assert_close(fusion(*only(given, *present)).embedding, sum(classes) / len(classes))


def test_bottlenecks_of_nothing_are_nothing() -> None:
    assert (fusion_of("bottleneck")(*only(inputs())).embedding == 0).all()


def test_single_stream_is_one_transformer_over_everything() -> None:
    fusion, given = fusion_of("single_stream"), inputs()
    stream = torch.cat([fusion.class_token.expand(ROWS, -1, -1), *sequences_of(fusion, given).values()], dim=1)
    for layer in fusion.layers:
        stream = self_attend(layer, stream)
    torch.testing.assert_close(fusion(*given).embedding, fusion.norm(stream[:, 0]))


def test_an_absent_column_is_as_if_the_stream_never_had_it() -> None:
    fusion, given = fusion_of("single_stream"), inputs()
    stream = torch.cat([fusion.class_token.expand(ROWS, -1, -1), sequences_of(fusion, given)["text"]], dim=1)
    for layer in fusion.layers:
        stream = self_attend(layer, stream)
    torch.testing.assert_close(fusion(*only(given, "text")).embedding, fusion.norm(stream[:, 0]))


@pytest.mark.parametrize("share_weights", [True, False])
@pytest.mark.parametrize("output", ["mean", "query"])
def test_perceiver_reads_and_thinks_in_turn(share_weights: bool, output: str) -> None:
    fusion, given = fusion_of("perceiver", repeats=3, share_weights=share_weights, output=output), inputs()
    everything = torch.cat(list(sequences_of(fusion, given).values()), dim=1)
    latents = fusion.latents.expand(ROWS, -1, -1)
    for block in [fusion.blocks[0]] * 3 if share_weights else fusion.blocks:
        latents = cross_attend(block.read, latents, everything)
        for layer in block.layers:
            latents = self_attend(layer, latents)
    if output == "query":
        expected = fusion.norm(cross_attend(fusion.answer, fusion.query.expand(ROWS, -1, -1), latents)).squeeze(1)
    else:
        expected = fusion.norm(latents).mean(1)
    torch.testing.assert_close(fusion(*given).embedding, expected)


def test_shared_weights_do_not_grow_with_repeats() -> None:
    def size(repeats: int, share_weights: bool) -> int:
        module: nn.Module = fusion_of("perceiver", repeats=repeats, share_weights=share_weights)
        return sum(parameter.numel() for parameter in module.parameters())

    assert size(1, True) == size(4, True) == size(1, False)
    assert size(4, False) > 3 * size(1, False) / 2


def test_attention_pooling_is_the_set_transformers() -> None:
    fusion, given = fusion_of("attention_pooling", queries=2), inputs()
    everything = fusion.token_feed_forward(torch.cat(list(sequences_of(fusion, given).values()), dim=1))
    queries = fusion.queries.expand(ROWS, -1, -1)
    pooled = fusion.attention_norm(queries + attend(fusion.attention, queries, everything))
    pooled = fusion.norm(pooled + fusion.feed_forward(pooled))
    assert fusion.dim == 16
    torch.testing.assert_close(fusion(*given).embedding, torch.cat([pooled[:, 0], pooled[:, 1]], dim=1))


def test_pooling_does_not_care_for_the_order_of_tokens() -> None:
    fusion, given = fusion_of("attention_pooling"), inputs()
    before = fusion(*given).embedding
    given[1]["text"] = given[1]["text"].flip(1)
    torch.testing.assert_close(fusion(*given).embedding, before)


@pytest.mark.parametrize("name", BY_ATTENTION)
def test_a_token_of_another_column_changes_the_result(name: str) -> None:
    fusion, given = fusion_of(name), inputs()
    before = fusion(*given).embedding
    given[1]["text"][0, 2] += 1
    after = fusion(*given).embedding
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


@pytest.mark.parametrize("name", BY_ATTENTION)
def test_dropout_acts_in_training_alone(name: str) -> None:
    fusion, plain, given = fusion_of(name, dropout=0.5), fusion_of(name), inputs()
    torch.testing.assert_close(fusion(*given).embedding, plain(*given).embedding)
    fusion.train()
    assert not torch.allclose(fusion(*given).embedding, fusion(*given).embedding)


@pytest.mark.parametrize("name", BY_ATTENTION)
def test_traced_whole_by_torch_compile(name: str) -> None:
    fusion, given = fusion_of(name), inputs()
    compiled = torch.compile(fusion, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*given).embedding, fusion(*given).embedding)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mult", {"dim": 10, "heads": 4}, "multiple of heads"),
        ("mult", {"pool": "max"}, "'mean' or 'last'"),
        ("mult", {"joined_depth": 0}, "greater than or equal to 1"),
        ("bottleneck", {"depth": 1}, "greater than or equal to 2"),
        ("bottleneck", {"depth": 3, "fusion_layer": 2}, "at most depth - 2"),
        ("bottleneck", {"bottlenecks": 0}, "greater than or equal to 1"),
        ("single_stream", {"depth": 0}, "greater than or equal to 1"),
        ("perceiver", {"latents": 0}, "greater than or equal to 1"),
        ("perceiver", {"output": "first"}, "'mean' or 'query'"),
        ("attention_pooling", {"queries": 0}, "greater than or equal to 1"),
        ("attention_pooling", {"depth": 2}, "Extra inputs|unknown|not permitted"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Component(name=name, **options).options("fusion")


def test_masked_tokens_are_as_if_they_were_not_there() -> None:
    for name in BY_ATTENTION:
        fusion, given = fusion_of(name), inputs()
        longer = [dict(part) for part in given]
        longer[1]["text"] = F.pad(given[1]["text"], (0, 0, 0, 3), value=float("nan"))
        longer[2]["text"] = F.pad(given[2]["text"], (0, 3), value=False)
        torch.testing.assert_close(fusion(*longer).embedding, fusion(*given).embedding)


@pytest.mark.parametrize("name", BY_ATTENTION)
def test_all_of_an_encoder_is_trained_also_its_pooling(name: str) -> None:
    """A fusion that read tokens alone would leave what pools them without gradient, and its embedding untrained."""
    encoders = {"image": {"name": "tiny_cnn", "width": 8}, "note": {"name": "bilstm", "hidden": 8}}
    spec = ModelSpec.model_validate({"encoders": encoders, "fusion": {"name": name, **SMALL}})
    infos = {"image": image(size=8), "note": text("note")}
    model = build_model(spec, infos, {"digit": 3}, 0)
    logits = model({info.name: arrays(info, [4, 7, 2]) for info in infos.values()})["logits"]
    logits.square().sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert (parameter.grad != 0).any(), path
