"""Texts are cleaned and become token ids of a tokenizer that is learnt from training rows or loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from mmdistill.data.features import extractor
from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.cleaning import clean
from mmdistill.data.modalities.reader import CellReader
from mmdistill.errors import InputError
from tests.data_rows.making import feature, fitted, modality

TEXTS = ["The cat sat on the mat.", "the dog sat", "A cat and a dog", "the end."]


def ids(text: str, texts: list[str] = TEXTS, **settings: object) -> list[int]:
    info = fitted("text", list(texts), **settings)
    arrays = extractor(info, CellReader(None))({"x": text})
    assert arrays is not None
    assert arrays["values"].dtype == np.int64
    return arrays["values"].tolist()


def tokens(text: str, texts: list[str] = TEXTS, **settings: object) -> list[str]:
    info = fitted("text", list(texts), **settings)
    known = Tokenizer.from_str(info.state["tokenizer"])
    return [known.id_to_token(index) for index in ids(text, texts, **settings)]


def test_words_are_lowercase_punctuation_is_apart_and_rare_ones_are_unknown() -> None:
    assert tokens("The CAT sat.") == ["the", "cat", "sat", "."]
    assert tokens("The cow sat") == ["the", "[UNK]", "sat"]
    assert tokens("mat", min_count=1) == ["mat"]
    assert tokens("mat", min_count=2) == ["[UNK]"]


def test_padding_is_0_and_unknown_is_1() -> None:
    for kind in ("word", "character", "bpe"):
        state = fitted("text", list(TEXTS), tokenizer=kind).state
        assert (state["pad_id"], state["unknown_id"]) == (0, 1)
        known = Tokenizer.from_str(state["tokenizer"])
        assert (known.id_to_token(0), known.id_to_token(1)) == ("[PAD]", "[UNK]")
        assert state["vocabulary_size"] == known.get_vocab_size()


def test_characters_keep_white_space_and_line_breaks() -> None:
    assert tokens("a b\nc", ["a b\nc", "a b\nc"], tokenizer="character", collapse_whitespace=False) == list("a b\nc")


def test_chinese_words_are_single_characters() -> None:
    assert tokens("我爱猫", ["我爱猫", "我爱狗", "猫狗"], min_count=1) == ["我", "爱", "猫"]


def test_accents_survive() -> None:
    assert tokens("Café", ["café"], min_count=1) == ["café"]


def test_bytes_know_every_text() -> None:
    assert 1 not in ids("completely new ☃ words 猫", tokenizer="bpe", vocabulary=300)


def test_the_vocabulary_is_bounded() -> None:
    texts = [f"word{number} word{number}" for number in range(500)]
    for kind in ("word", "bpe", "character"):
        size = 300
        assert fitted("text", list(texts), tokenizer=kind, vocabulary=size).state["vocabulary_size"] <= size


def test_long_texts_are_cut_at_the_end() -> None:
    assert tokens("the cat sat on the mat", max_length=3) == ["the", "cat", "sat"]


def test_a_text_of_which_cleaning_leaves_nothing_is_one_unknown_token() -> None:
    assert ids("https://example.org", strip_urls=True) == [1]
    assert ids("<br/>", strip_html=True) == [1]


@pytest.mark.parametrize("kind", ["word", "bpe", "character"])
def test_the_vocabulary_is_the_same_in_every_process(kind: str) -> None:
    program = (
        "import sys, hashlib\n"
        "from mmdistill.data.modalities.tokenization import train\n"
        "texts = [f'w{i % 37} x{i % 11} {chr(97 + i % 26)} y{i % 5}' for i in range(2000)]\n"
        f"print(hashlib.sha256(train(texts, {kind!r}, 400, 2).to_str().encode()).hexdigest())\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": str(seed), "RAYON_NUM_THREADS": str(seed), "PATH": ""},
        ).stdout
        for seed in (1, 3)
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"text": "x"}, "is a mapping with the keys text, not a text"),
        (3.5, r"is a number \(3.5\), not a text"),
        (["a"], "is a list of 1 elements, not a text"),
        (b"abc", r"is bytes \(3 of them\), not a text"),
        ("x" * 10_000_000, "a text of 10,000,000 characters, more than max_characters = 1,000,000"),
    ],
)
def test_says_what_is_wrong_with_a_text(cell: object, message: str) -> None:
    extract = extractor(fitted("text", list(TEXTS)), CellReader(None))
    with pytest.raises(CellError, match=message):
        extract({"x": cell})


def test_training_rows_that_are_no_texts_do_not_hinder_unless_there_are_no_others() -> None:
    assert tokens("cat", [3.5, "cat", "cat"]) == ["cat"]  # type: ignore[list-item]
    with pytest.raises(CellError, match="not a text"):
        modality("text").fit(iter([{"x": 3.5}]))


def test_an_error_of_the_table_comes_through_the_training() -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield {"x": "text"}
        raise InputError("The table ends in the middle of a row")

    with pytest.raises(InputError, match="middle of a row"):
        modality("text").fit(broken())


@pytest.mark.parametrize("cell", [None, "", " \n\t "])
def test_absence(cell: object) -> None:
    assert modality("text").absent({"x": cell})
    assert not modality("text").absent({"x": "a"})


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({}, "  Two\n words ", "two words"),
        ({"lowercase": False, "collapse_whitespace": False}, " A\n", " A\n"),
        ({}, "ﬁne ２", "fine 2"),
        ({"normalize": "NFC"}, "ﬁne é", "ﬁne é"),
        ({"normalize": "none"}, "é", "é"),
        ({"strip_html": True}, "<p class='x'>a &amp; b</p> 1 < 2 <br>c", "a & b 1 < 2 c"),
        ({}, "<p>a</p>", "<p>a</p>"),
        ({"strip_urls": True}, "see https://x.org/a?b=c now or www.y.org", "see now or"),
        ({}, "broken \ud83d half", "broken ? half"),
    ],
)
def test_cleaning(settings: dict[str, object], text: str, expected: str) -> None:
    assert clean(text, **settings) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["<a" * 300_000, "<" * 600_000, "http://" * 100_000, "&" * 500_000])
def test_cleaning_takes_time_in_proportion_to_the_text(text: str) -> None:
    start = time.perf_counter()
    clean(text, strip_html=True, strip_urls=True)
    assert time.perf_counter() - start < 5


@pytest.fixture
def saved_tokenizer(tmp_path: Path) -> Path:
    vocabulary = {"[PAD]": 3, "[UNK]": 7, "Cat": 1, "dog": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=50)
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("name", ["model", "model/tokenizer.json", "{root}/model"])
def test_a_tokenizer_is_loaded_from_a_folder_or_file(saved_tokenizer: Path, name: str) -> None:
    name = name.format(root=saved_tokenizer)
    info = fitted("text", ["anything"], saved_tokenizer, tokenizer=name, max_length=2)
    assert (info.state["pad_id"], info.state["unknown_id"]) == (3, 7)
    arrays = extractor(info, CellReader(None))({"x": "Cat cow dog"})  # the state is all that is needed
    assert arrays is not None
    assert arrays["values"].tolist() == [1, 7]  # case kept, cut, not padded


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has no tokenizer.json"), ("{", "cannot be read"), (json.dumps({}), "cannot be read")],
)
def test_a_bad_tokenizer_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    (tmp_path / "model").mkdir()
    if content is not None:
        (tmp_path / "model" / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=message):
        fitted("text", ["a"], tmp_path, tokenizer="model")


def test_a_byte_vocabulary_has_room_for_the_bytes() -> None:
    with pytest.raises(InputError, match="258 or more"):
        feature("text", tokenizer="bpe", vocabulary=200)
