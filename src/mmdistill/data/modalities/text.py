"""The text modality: a cleaned text becomes the ids of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
from tokenizers import Tokenizer

from mmdistill.data.cells import Cell
from mmdistill.data.modalities import tokenization
from mmdistill.data.modalities.base import ArraySpec, CellError, State, describe, only_cell, readable
from mmdistill.data.modalities.catalog import TextOptions
from mmdistill.data.modalities.cleaning import clean
from mmdistill.data.modalities.reader import CellReader


class TextModality:
    """Texts to ``values`` int64, a sequence of 1 to `max_length` ids.

    A text of white space alone is absent. State: ``vocabulary_size``, ``pad_id`` (0 for a trained tokenizer),
    ``unknown_id``, and ``tokenizer``, the whole tokenizer as JSON text, so that nothing else is needed to extract.
    """

    fit_rows: int | None = None

    def __init__(self, settings: TextOptions, reader: CellReader) -> None:
        self.settings = settings
        self.reader = reader
        self._loaded: tuple[str, Tokenizer] | None = None

    def absent(self, cells: dict[str, Cell]) -> bool:
        """Whether there is no text but white space."""
        cell = only_cell(cells)
        return cell is None or (isinstance(cell, str) and (not cell or cell.isspace()))

    def fit(self, cells: Iterator[dict[str, Cell]]) -> State:
        """Train the tokenizer on the texts, or load it.

        Raises:
            CellError: when no text can be read.
            InputError: when the tokenizer cannot be loaded.
        """
        settings = self.settings
        if settings.trained:
            kind = cast(Literal["word", "bpe", "character"], settings.tokenizer)
            texts = readable(cells, self._text)
            tokenizer = _train(texts, kind, settings)
        else:
            tokenizer = tokenization.load(settings.tokenizer, self.reader.root)
        tokenizer.no_padding()
        tokenizer.enable_truncation(settings.max_length)
        return {
            "vocabulary_size": tokenizer.get_vocab_size(),
            "pad_id": tokenization.pad_id(tokenizer),
            "unknown_id": tokenization.unknown_id(tokenizer),
            "tokenizer": tokenizer.to_str(),
        }

    def extract(self, cells: dict[str, Cell], state: State) -> dict[str, np.ndarray]:
        """``values`` int64 (T,); one unknown token for a text of which cleaning leaves nothing.

        Raises:
            CellError: when the cell is no text, or too long.
        """
        ids = self._tokenizer(state).encode(self._text(cells)).ids
        return {"values": np.asarray(ids or [state["unknown_id"]], dtype=np.int64)}

    def arrays(self, state: State) -> dict[str, ArraySpec]:  # noqa: ARG002 - the same for every state
        """``values``, a sequence of ids."""
        return {"values": ArraySpec((), "int64", sequence=True)}

    def _text(self, cells: dict[str, Cell]) -> str:
        cell, settings = only_cell(cells), self.settings
        if not isinstance(cell, str):
            raise CellError(f"is {describe(cell)}, not a text", fix="Give texts, or another `type` of column")
        if len(cell) > settings.max_characters:
            raise CellError(
                f"is a text of {len(cell):,} characters, more than max_characters = {settings.max_characters:,}",
                fix="Shorten it, or raise `max_characters` of the column",
            )
        normalize = settings.normalize
        return clean(
            cell,
            normalize=("NFKC" if settings.trained else "none") if normalize == "auto" else normalize,
            lowercase=settings.trained if settings.lowercase == "auto" else settings.lowercase,
            collapse_whitespace=settings.collapse_whitespace,
            strip_html=settings.strip_html,
            strip_urls=settings.strip_urls,
        )

    def _tokenizer(self, state: State) -> Tokenizer:
        document = state["tokenizer"]
        if self._loaded is None or self._loaded[0] is not document:
            self._loaded = (document, Tokenizer.from_str(document))
        return self._loaded[1]


def _train(texts: Iterator[str], kind: Literal["word", "bpe", "character"], settings: TextOptions) -> Tokenizer:
    """Train, and let an error of the texts through, which the tokenizers library would wrap."""
    errors: list[Exception] = []

    def guarded() -> Iterator[str]:
        try:
            yield from texts
        except Exception as error:
            errors.append(error)

    tokenizer = tokenization.train(guarded(), kind, settings.vocabulary, settings.min_count)
    if errors:
        raise errors[0]
    return tokenizer
