"""Tokenizers: trained on texts, or loaded from a tokenizer.json."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from mmdistill.data.modalities.tokenizer_files import local_tokenizer
from mmdistill.errors import InputError, require

PAD, UNKNOWN = "[PAD]", "[UNK]"


def train(
    texts: Iterable[str], kind: Literal["word", "bpe", "character"], vocabulary: int, min_count: int
) -> Tokenizer:
    """Train a tokenizer; the same texts give the same vocabulary, whatever the number of threads.

    - word: runs of letters and digits, single punctuation marks, single Chinese characters;
    - bpe: pairs of bytes merged by frequency (Sennrich et al., "Neural Machine Translation of Rare Words with Subword
      Units", 2016), which knows every text;
    - character: every character, white space included.

    Ids 0 and 1 are padding and unknown.

    Args:
        texts: cleaned texts, read once.
        kind: what a token is.
        vocabulary: most tokens, with padding and unknown.
        min_count: a rarer word, pair or character gets no token.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN) if kind == "bpe" else models.WordLevel(unk_token=UNKNOWN))
    special = [PAD, UNKNOWN]
    trainer: trainers.Trainer
    if kind == "bpe":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=min_count,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
    else:
        trainer = trainers.WordLevelTrainer(
            vocab_size=vocabulary, min_frequency=min_count, special_tokens=special, show_progress=False
        )
    if kind == "word":
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if kind == "character":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load(name: str, root: Path | None) -> Tokenizer:
    """Load a tokenizer.json: of a folder or file (as it stands, or seen from `root`), else of a hub model.

    Raises:
        InputError: when there is none, or it cannot be read.
        MissingExtra: when `name` is no local path and the extra ``hub`` is not installed.
    """
    path = local_tokenizer(name, root)
    if path is None:
        path = _from_hub(name)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise InputError(
            f"The tokenizer {path} cannot be read ({error})", fix="Give a tokenizer.json of `tokenizers`"
        ) from None


def _from_hub(name: str) -> Path:
    hub = require("huggingface_hub", "hub", f"The tokenizer {name!r}, which is no local folder or file,")
    try:
        return Path(hub.hf_hub_download(name, "tokenizer.json"))
    except Exception as error:  # errors of the network, the hub and the name have no common class
        raise InputError(
            f"There is no tokenizer {name!r}: it is no local folder or file, and the hub did not give it "
            f"({type(error).__name__})",
            fix="Use word, bpe or character, or the path of a folder with a tokenizer.json",
        ) from error


def pad_id(tokenizer: Tokenizer) -> int:
    """The id of the padding token; 0 when there is none by a usual name."""
    for token in (PAD, "<pad>", "<|padding|>", "[pad]"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return 0


def unknown_id(tokenizer: Tokenizer) -> int:
    """The id that stands for what the vocabulary lacks; that of padding when there is none by a usual name."""
    for token in (getattr(tokenizer.model, "unk_token", None), UNKNOWN, "<unk>", "<|endoftext|>"):
        found = None if token is None else tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return pad_id(tokenizer)
