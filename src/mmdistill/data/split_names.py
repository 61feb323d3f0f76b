"""The words that name the three sides of a split, in a column or as folders."""

from __future__ import annotations

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}
_SIDE_OF = {word: side for side, words in SPLIT_WORDS.items() for word in words}


def split_name(word: object) -> str | None:
    """``train``, ``validation`` or ``test`` for one of its synonyms in any case, None for anything else."""
    return _SIDE_OF.get(word.strip().lower()) if isinstance(word, str) else None
