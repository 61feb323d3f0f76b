"""Cleaning of texts, before they are split into tokens."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Literal

# Both patterns look at each character a bounded number of times, so that no text can make them slow.
_TAG = re.compile(r"<[!/?a-zA-Z][^<>]*>")
_URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)


def clean(
    text: str,
    *,
    normalize: Literal["NFC", "NFKC", "none"] = "NFKC",
    lowercase: bool = True,
    collapse_whitespace: bool = True,
    strip_html: bool = False,
    strip_urls: bool = False,
) -> str:
    """Clean one text, in the order: characters that are no text, HTML, web addresses, Unicode form, case, white space.

    Half of a surrogate pair, which cannot be written in UTF-8, becomes a question mark.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if strip_html:
        text = html.unescape(_TAG.sub(" ", text))
    if strip_urls:
        text = _URL.sub(" ", text)
    if normalize != "none" and not text.isascii():
        text = unicodedata.normalize(normalize, text)
    if lowercase:
        text = text.lower()
    if collapse_whitespace:
        text = " ".join(text.split())
    return text
