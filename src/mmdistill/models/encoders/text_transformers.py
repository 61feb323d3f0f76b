"""Any text encoder of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.models.encoders.backbone import Backbone
from mmdistill.models.encoders.catalog import TransformersOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.encoders.text_words import vocabulary_size
from mmdistill.models.encoders.transformers_model import hidden_size, load_config, load_network, plain_config
from mmdistill.models.masking import masked_mean, sequence_mask, where_true

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

# Position tables of these models keep their first rows, up to the padding id, for padding.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer", "data2vec-text")


class TextTransformers(nn.Module):
    """A transformers encoder over token ids; the embedding is the mean of its tokens, or the first one.

    Args:
        info: a text feature, tokenised with the model's own tokeniser when the weights are pretrained.
        options: see `TransformersOptions`.

    Raises:
        InputError: when the model cannot be had, or its vocabulary or positions do not cover the column.
        MissingExtra: when transformers is not installed.
    """

    def __init__(self, info: FeatureInfo, options: TransformersOptions) -> None:
        super().__init__()
        where = f"column {info.column!r}, encoder transformers"
        config = load_config(options, where)
        if not options.pretrained and "vocab_size" not in (options.config or {}):
            config.vocab_size = vocabulary_size(info)
            config.pad_token_id = info.state.get("pad_id", 0)
        check_text(info, config, where)
        self.options, self.config = options, config
        self.dim = hidden_size(config)
        self.pad = config.pad_token_id if isinstance(config.pad_token_id, int) else 0
        self.backbone = Backbone(load_network(options, config, where), options.frozen)

    def portable(self) -> dict[str, Any]:
        """The options that build the same architecture again without any file or download."""
        return self.options.model_dump() | {"model": None, "pretrained": False, "config": plain_config(self.config)}

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` int64 (B, L) and `mask` to an embedding (B, dim) and tokens (B, L, dim)."""
        mask = sequence_mask(arrays)
        ids = arrays["values"].masked_fill(~mask, self.pad)
        # An empty row attends to its first padding, so that no softmax is over nothing; what it says is masked below.
        attended = mask | (torch.arange(mask.shape[1], device=mask.device) == 0)
        with self.backbone.gradients():
            tokens = self.backbone.network(input_ids=ids, attention_mask=attended.long()).last_hidden_state
        embedding = masked_mean(tokens, mask) if self.options.pool == "mean" else where_true(mask[:, 0], tokens[:, 0])
        return Encoded(embedding, tokens, mask)


def check_text(info: FeatureInfo, config: Any, where: str) -> None:
    """Refuse a text column whose vocabulary or length a model of this configuration cannot take.

    Raises:
        InputError: saying which, and what the column should be set to.
    """
    words, known = vocabulary_size(info), getattr(config, "vocab_size", None)
    if known is not None and words > known:
        raise InputError(
            f"The column has {words} token ids, but the model knows {known}",
            where=where,
            fix="Set the column's `tokenizer` to the model's own name or folder",
        )
    places, longest = getattr(config, "max_position_embeddings", None), info.settings.get("max_length")
    if not isinstance(places, int) or places <= 0 or not isinstance(longest, int):
        return
    if config.model_type in _OFFSET_POSITIONS:
        places -= (config.pad_token_id or 0) + 1
    if longest > places:
        raise InputError(
            f"The column keeps texts of up to {longest} tokens, but the model reads {places}",
            where=where,
            fix=f"Set the column's max_length to {places} or less",
        )
