"""The vectors of words and pieces equal those of transformers, called by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from attrs import evolve
from tokenizers import Regex, Tokenizer, pre_tokenizers
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from mtl import Batch, Builder
from mtl.data.columns import Ragged, Rows
from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.featurizer import PretrainedFeat
from mtl_transformers.pieces import PieceTokenizer

FAMILIES = ("bert", "roberta", "deberta-v2", "modernbert", "gpt2")
NO_PIECE = "\u200d"
"""A word that BERT's normalizer removes."""
ROWS: list[list[str]] = [
    ["The", "film", "'s", "unpredictability", "is", "wonderful", "!"],
    ["dull"],
    ["not", "funny,not", "sad", NO_PIECE, "and", "Überraschung", "🎬"],
    [],
    ["characterization", "characterization", "of", "nobody"],
]
OTHERS: list[list[str]] = [["it", "is", "better"], ["a", "story"], ["so"], ["music"], ["unforgettable"] * 3]

Models = Callable[[str], Path]


def featurizer(folder: Path, **settings: Any) -> PretrainedFeat:
    return PretrainedFeat(PretrainedFeatConfig(model=str(folder), **settings).resolve())


def column(rows: Sequence[Sequence[str]]) -> pl.Series:
    return pl.Series("text", rows, dtype=pl.List(pl.String))


def batch_of(made: PretrainedFeat, *texts: Sequence[Sequence[str]]) -> Batch:
    columns = made.encode_jointly([column(rows) for rows in texts])
    count = len(texts[0])
    return Rows(columns, np.arange(count)).batch(np.arange(count))


def vectors(made: PretrainedFeat, *texts: Sequence[Sequence[str]]) -> list[Tensor]:
    """Return the vectors of each row, all rows in one batch."""
    batch = batch_of(made, *texts)
    module = made.build_embedding(Builder()).eval().double()  # no rounding of float32
    with torch.no_grad():
        output = module(batch.tensors)
    lengths = batch.lengths[made.length_column].tolist()
    assert not any(row[length:].any() for row, length in zip(output, lengths, strict=True))
    return [row[:length] for row, length in zip(output, lengths, strict=True)]


class Reference:
    """One row at a time, as in a user's script."""

    def __init__(self, folder: Path) -> None:
        prefix = {"add_prefix_space": True} if "gpt2" in str(folder) or "roberta" in str(folder) else {}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **prefix)
        self.model = AutoModel.from_pretrained(folder).eval().double()

    def pieces(self, *texts: Sequence[str], **settings: Any) -> Any:
        settings |= {"is_split_into_words": True, "return_token_type_ids": True}
        return self.tokenizer(*map(list, texts), **settings)

    def run(self, encoded: Any, window: int | None = None) -> Tensor:
        names = ("input_ids", "token_type_ids", "attention_mask")
        given = {name: encoded[name] for name in names if name in encoded}
        if window is not None:
            given = {name: ids[window] for name, ids in given.items()}
        if not given["input_ids"]:
            return torch.zeros(0, self.model.config.hidden_size, dtype=torch.float64)
        if getattr(self.model.config, "type_vocab_size", 0) < 2:
            given.pop("token_type_ids", None)
        with torch.no_grad():
            states: Tensor = self.model(**{name: torch.tensor([ids]) for name, ids in given.items()})[0][0]
        return states

    def words(self, align: str, *texts: Sequence[str], **settings: Any) -> Tensor:
        encoded = self.pieces(*texts, **settings)
        states = self.run(encoded)
        found = []
        for number, text in enumerate(texts):
            for word in range(len(text)):
                own = [
                    states[place]
                    for place, (of, which) in enumerate(
                        zip(encoded.encodings[0].sequence_ids, encoded.encodings[0].word_ids, strict=True)
                    )
                    if of == number and which == word
                ]
                if not own:
                    found.append(states.new_zeros(states.shape[1]))
                else:
                    found.append({"first": own[0], "last": own[-1], "mean": torch.stack(own).mean(0)}[align])
        return torch.stack(found) if found else states.new_zeros(0, states.shape[1])


def assert_equal(ours: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("align", ["first", "mean", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_word_vectors_equal_the_reference(model_folder: Models, family: str, align: str) -> None:
    folder = model_folder(family)
    reference = Reference(folder)
    for ours, words in zip(vectors(featurizer(folder, align=align), ROWS), ROWS, strict=True):
        assert_equal(ours, reference.words(align, words))


@pytest.mark.parametrize("family", FAMILIES)
def test_piece_vectors_equal_the_reference(model_folder: Models, family: str) -> None:
    folder = model_folder(family)
    reference = Reference(folder)
    for ours, words in zip(vectors(featurizer(folder, align=None), ROWS), ROWS, strict=True):
        encoded = reference.pieces(words)
        if family == "gpt2":
            encoded = {
                "input_ids": [0, *encoded["input_ids"]],
                "attention_mask": [1, *encoded["attention_mask"]],
            }
        assert_equal(ours, reference.run(encoded))


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_are_read_jointly(model_folder: Models, family: str) -> None:
    folder = model_folder(family)
    reference = Reference(folder)
    made = featurizer(folder, align="mean")
    for ours, *texts in zip(vectors(made, ROWS, OTHERS), ROWS, OTHERS, strict=True):
        assert_equal(ours, reference.words("mean", *texts))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pair", [False, True])
def test_long_texts_are_cut_and_counted(model_folder: Models, family: str, pair: bool) -> None:
    folder = model_folder(family)
    reference = Reference(folder)
    made = featurizer(folder, align="last", max_length=12)
    texts = [ROWS, OTHERS] if pair else [ROWS]
    settings = {"truncation": True, "max_length": 12}
    cut_rows, cut_words = 0, 0
    for ours, *row in zip(vectors(made, *texts), *texts, strict=True):
        kept, whole = (
            list(zip(each.encodings[0].sequence_ids, each.encodings[0].word_ids, strict=True))
            for each in (reference.pieces(*row, **settings), reference.pieces(*row))
        )
        lost = {word for word in whole if word[1] is not None and whole.count(word) > kept.count(word)}
        cut_rows += bool(lost)
        cut_words += len(lost)
        assert_equal(ours, reference.words("last", *row, **settings))
    assert cut_rows > 0
    assert (made.cut_rows, made.cut_words) == (cut_rows, cut_words)
    assert f"{cut_words} words were cut off" in made.notices()[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_equal_the_reference_window_by_window(model_folder: Models, family: str) -> None:
    folder = model_folder(family)
    reference = Reference(folder)
    rows = [[word for row in ROWS for word in row], *ROWS]
    made = featurizer(folder, align="mean", max_length=16, long_texts="windows", stride=4)
    for ours, words in zip(vectors(made, rows), rows, strict=True):
        encoded = reference.pieces(
            words, truncation=True, max_length=16, stride=4, return_overflowing_tokens=True
        )
        expected = torch.zeros_like(ours)
        best = [(0, 0, 0)] * len(words)
        for window, encoding in enumerate(encoded.encodings):
            states = reference.run(encoded, window)
            text = [place for place, word in enumerate(encoding.word_ids) if word is not None]
            for word in set(encoding.word_ids) - {None}:
                own = [place for place, which in enumerate(encoding.word_ids) if which == word]
                rank = (len(own), min(own[0] - text[0], text[-1] - own[-1]), -window)
                if best[word][0] == 0 or rank > best[word]:
                    best[word] = rank
                    expected[word] = states[own].mean(0)
        assert_equal(ours, expected)
    assert made.cut_rows == 0


def test_windows_of_a_pair_hold_the_shorter_text(model_folder: Models) -> None:
    folder = model_folder("bert")
    long, short = [[word for row in ROWS for word in row]], [["a", "story"]]
    settings: dict[str, Any] = {"align": None, "max_length": 16, "long_texts": "windows", "stride": 2}
    for texts in ([long, short], [short, long]):
        batch = batch_of(featurizer(folder, **settings), *texts)
        pieces, windows = batch["pieces"][0], batch["windows"][0]
        alone = batch_of(featurizer(folder, align=None), short)["pieces"][0, 1:-1].tolist()
        for window in range(int(windows.max()) + 1):
            own = pieces[windows == window].tolist()
            assert len(own) <= 16
            assert any(own[i : i + len(alone)] == alone for i in range(len(own)))


def test_layers_are_averaged_or_mixed(model_folder: Models) -> None:
    folder = model_folder("bert")
    words = ROWS[0]
    reference = Reference(folder)
    encoded = {name: torch.tensor([ids]) for name, ids in reference.pieces(words).items()}
    with torch.no_grad():
        layers = torch.stack(reference.model(**encoded, output_hidden_states=True).hidden_states)[:, 0]
    mean = vectors(featurizer(folder, align=None, layers="mean", last_layers=2), [words])[0]
    assert_equal(mean, layers[-2:].mean(0))
    assert_equal(vectors(featurizer(folder, align=None, layers="mix"), [words])[0], layers.mean(0))


def test_a_row_means_the_same_alone_and_in_a_batch(model_folder: Models) -> None:
    made = featurizer(model_folder("roberta"), align="mean")
    for alone, together in zip((vectors(made, [row])[0] for row in ROWS), vectors(made, ROWS), strict=True):
        assert_equal(alone, together)


def test_the_tokenizer_of_a_word_does_not_split_its_space_off(model_folder: Models, tmp_path: Path) -> None:
    """Byte-level tokenizers that split with a pattern first, as Llama's and Qwen's, read words as in text."""
    folder = model_folder("gpt2")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pattern = Regex(r"'s|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    loaded = PieceTokenizer.load(tmp_path, 1000)
    words = ["the", "film's", "not", "funny,not", "12345"]
    rows = loaded.encode([column([words])], 64, None, loaded.layout(1))
    assert rows.ids.tolist() == tokenizer.encode(" " + " ".join(words)).ids


def test_evolving_the_config_keeps_what_was_read(model_folder: Models) -> None:
    config = PretrainedFeatConfig(model=str(model_folder("roberta"))).resolve()
    found = (config.hidden_size, config.positions, config.model_type, config.causal)
    assert found == (16, 64, "roberta", False)
    assert evolve(config, max_length=20).resolve().longest == 20


@pytest.mark.parametrize("family", FAMILIES)
def test_a_piece_says_whether_it_begins_a_word(model_folder: Models, family: str) -> None:
    """All pieces but those within a span after its first are the first of a word, or marks."""
    texts = [
        column(
            [
                "the film is a very good film with unforgettable characters".split(),
                [],
                ["unpredictability", "\u200d", "is"],
            ]
        )
    ]
    pieces = featurizer(model_folder(family), align=None).encode_jointly(texts)
    words = featurizer(model_folder(family), align="first").encode_jointly(texts)["words"]
    starts = pieces["starts"]
    assert isinstance(starts, Ragged) and isinstance(words, Ragged)
    skipped = 1 if family == "gpt2" else 0  # without alignment it has a begin mark
    for row in range(3):
        own = starts.values[starts.offsets[row] : starts.offsets[row + 1]]
        expected = torch.ones_like(own)
        for start, stop in words.values[words.offsets[row] : words.offsets[row + 1]].tolist():
            expected[start + 1 + skipped : max(stop, start + 1) + skipped] = 0
        assert torch.equal(own, expected)
    assert (starts.values == 0).any()
