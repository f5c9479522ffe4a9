"""Words to pieces: a model's tokenizer over words, and where the pieces of each word are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from attrs import frozen
from tokenizers import Encoding, Tokenizer

from mtl import SpecialTokens
from mtl_text.vocabulary import DistinctWords
from mtl_transformers.layout import Layout, PieceRows, TextPieces, lay_out
from mtl_transformers.model_files import SPECIAL_NAMES, TOKENIZER, read_json

CHUNK = 10_000
"""Distinct words that are tokenized at once."""


@frozen(eq=False)
class PieceTokenizer:
    """A model's fast tokenizer, for texts that are split into words.

    `named` are the special tokens that the model's files name, such as `{"pad": "[PAD]"}`; `texts` are those
    of all pieces by id, all different.
    """

    tokenizer: Tokenizer
    named: Mapping[str, str]
    texts: Sequence[str]

    @classmethod
    def load(cls, folder: Path, pieces: int) -> PieceTokenizer:
        """Read the `tokenizer.json` of a model that has vectors of so many pieces.

        Raises `ValueError` for a folder without one, or one that is damaged or has ids beyond the model's.
        """
        path = folder / TOKENIZER
        if not path.is_file():
            raise ValueError(f"`model` must have a fast tokenizer ({TOKENIZER}), but {folder} has none")
        described = read_json(path)
        _prefix_words(described)
        with _tokenizer_errors(f"{path} is not a tokenizer"):
            tokenizer = Tokenizer.from_str(json.dumps(described))
            tokenizer.no_padding()
            tokenizer.no_truncation()
        loaded = cls(tokenizer, _special_names(folder), _texts(tokenizer, pieces))
        loaded.layout(1)
        return loaded

    def layout(self, texts: int, *, with_begin: bool = False) -> Layout:
        """Return the marks that the model puts around one or two texts.

        `with_begin` asks for a mark before the text, which some decoders are used without.
        """
        layout = _find_layout(self.tokenizer, texts, len(self.texts))
        if with_begin and not len(layout.marks[0]):
            begin = next((n for n in map(self._number, ("bos", "cls", "eos")) if n is not None), None)
            if begin is None:
                raise ValueError(
                    "`model` must name a begin token (`bos_token`) for `align` null, but names none"
                )
            layout = layout.begun_by(begin)
        return layout

    def encode(
        self, texts: Sequence[pl.Series], longest: int, stride: int | None, layout: Layout
    ) -> PieceRows:
        """Return the pieces of rows of one or two texts (`list[str]` of words each), at most `longest` in a
        window.

        Longer rows are cut or, with `stride`, become windows that share so many pieces; see `lay_out`.
        """
        return lay_out([self._pieces(text) for text in texts], layout, longest, stride)

    def _pieces(self, text: pl.Series) -> TextPieces:
        """Return the pieces of each word; each distinct word is tokenized once, since a word's pieces do not
        depend on the words around it."""
        found = DistinctWords.of(text)
        ids: list[np.ndarray] = []
        counts = np.zeros(len(found.words), dtype=np.int64)
        for start in range(0, len(found.words), CHUNK):
            words = [[word] for word in found.words[start : start + CHUNK].to_list()]
            with _tokenizer_errors("`model` has a tokenizer that fails"):
                encoded = self.tokenizer.encode_batch(words, is_pretokenized=True, add_special_tokens=False)
            counts[start : start + len(words)] = [len(each) for each in encoded]
            ids.append(np.array([number for each in encoded for number in each.ids], dtype=np.int32))
        words_per_row = text.list.len().fill_null(0).cast(pl.Int64).to_numpy()
        return TextPieces.spread(
            np.concatenate(ids) if ids else np.zeros(0, dtype=np.int32), counts, found.places, words_per_row
        )

    def special_tokens(self, layout: Layout) -> SpecialTokens:
        """Return the ids of the special tokens; begin and end are the marks around a text."""
        before, after = layout.marks[0], layout.marks[-1]
        return SpecialTokens(
            padding=self._number("pad"),
            unknown=self._number("unk"),
            begin=int(before[0]) if len(before) else None,
            end=int(after[-1]) if len(after) else None,
            mask=self._number("mask"),
        )

    def _number(self, name: str) -> int | None:
        token = self.named.get(name)
        return None if token is None else self.tokenizer.token_to_id(token)


def _texts(tokenizer: Tokenizer, size: int) -> list[str]:
    """Return the text of each of a model's `size` pieces by id.

    Raises `ValueError` if the tokenizer has ids that the model does not.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    largest = max(vocabulary.values(), default=-1)
    if largest >= size:
        raise ValueError(
            f"`model` has vectors for {size:,} pieces, but its tokenizer gives the id {largest:,}"
        )
    texts = [f"[id {number}]" for number in range(size)]
    for text, number in vocabulary.items():
        texts[number] = text
    return texts


@contextmanager
def _tokenizer_errors(what: str) -> Iterator[None]:
    """Turn what the tokenizers library raises, a bare `Exception` or a panic, into `ValueError`."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise ValueError(f"{what}: {' '.join(str(error).split())[:300]}") from error


def _find_layout(tokenizer: Tokenizer, texts: int, size: int) -> Layout:
    """Return what the tokenizer puts around texts, found from what it makes of single words."""
    for word in ("a", "1", ".", "x"):
        with _tokenizer_errors("`model` has a tokenizer that fails"):
            pair = [word] if texts == 2 else None
            encoding: Encoding = tokenizer.encode([word], pair, is_pretokenized=True)
        if (largest := max(encoding.ids, default=0)) >= size:
            raise ValueError(f"`model` has {size:,} pieces, but its tokenizer gives the id {largest:,}")
        if not {0, 1}.issuperset(encoding.type_ids):
            raise ValueError("`model` must have a tokenizer whose segments are 0 and 1")
        ids = np.array(encoding.ids, dtype=np.int32)
        segments = np.array(encoding.type_ids, dtype=np.int32)
        place = np.array([-1 if text is None else text for text in encoding.sequence_ids])
        found = [(place == text).nonzero()[0] for text in range(texts)]
        if not all(map(len, found)):
            continue
        starts, ends = [int(each[0]) for each in found], [int(each[-1]) + 1 for each in found]
        is_whole = all(end - start == len(each) for start, end, each in zip(starts, ends, found, strict=True))
        if not is_whole or starts != sorted(starts):
            break
        cuts = [slice(end, start) for end, start in zip([0, *ends], [*starts, len(ids)], strict=True)]
        return Layout(
            [ids[cut] for cut in cuts],
            [segments[cut] for cut in cuts],
            [int(segments[start]) for start in starts],
        )
    raise ValueError("`model` must have a tokenizer that keeps texts in order, each once")


def _prefix_words(described: dict[str, Any]) -> None:
    """Let a tokenizer whose pieces carry the space before them add it to every word, as in running text."""
    pre_tokenizer = described.get("pre_tokenizer")
    steps = _steps(pre_tokenizer, "pretokenizers")
    for number, step in enumerate(steps):
        if step.get("type") == "Metaspace":
            step["prepend_scheme"] = "always"
        elif step.get("type") == "ByteLevel" and number == 0:
            step["add_prefix_space"] = True
        elif step.get("type") == "ByteLevel" and not step.get("add_prefix_space"):
            # Earlier steps have split the word, and each part would get a space.
            prepend = {"type": "Prepend", "prepend": " "}
            normalizers = [each for each in (described.get("normalizer"), prepend) if each is not None]
            described["normalizer"] = {"type": "Sequence", "normalizers": normalizers}


def _steps(described: Any, name: str) -> list[dict[str, Any]]:
    """Return the steps of a pre-tokenizer, which may be a sequence of them."""
    if not isinstance(described, dict):
        return []
    inner = described.get(name)
    if isinstance(inner, list):
        return [step for each in inner for step in _steps(each, name)]
    return [described]


def _special_names(folder: Path) -> dict[str, str]:
    """Return the special tokens that the files of a model name, without the `_token` of their keys."""
    named: dict[str, str] = {}
    for name in SPECIAL_NAMES:
        path = folder / name
        for key, token in (read_json(path) if path.is_file() else {}).items():
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str) and key.endswith("_token"):
                named[key.removesuffix("_token")] = text
    return named
