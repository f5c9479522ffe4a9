"""Word vectors from files: each format gives the same vectors, and a damaged file a message."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mtl
from mtl import Builder, ConfigError, DataError
from mtl_text import SPECIAL_TOKENS, WordFeat, WordFeatConfig
from mtl_text.vectors import VectorFile

VECTORS = {"the": [0.5, -1.25], "Film": [2.0, 0.0], "film": [1.0, 3.0], "caf\u0065\u0301": [-4.0, 0.125]}
ROWS = [["the", "film", "café", "unheard"], ["the"]]

Writer = Callable[[Path], dict[str, Any]]


def text(folder: Path, *, header: bool = False, separator: str = " ", end: str = "\n") -> dict[str, Any]:
    lines = [separator.join([word, *map(str, vector)]) + end for word, vector in VECTORS.items()]
    path = folder / "vectors.txt"
    path.write_text(("4 2\n" if header else "") + "".join(lines), encoding="utf-8")
    return {"vectors_file": path}


def compressed(folder: Path) -> dict[str, Any]:
    path = folder / "vectors.txt.gz"
    path.write_bytes(gzip.compress(text(folder)["vectors_file"].read_bytes()))
    return {"vectors_file": path}


def binary(folder: Path, *, line_ends: bool) -> dict[str, Any]:
    path, end = folder / "vectors.bin", b"\n" if line_ends else b""
    parts = [
        word.encode() + b" " + np.array(vector, "<f4").tobytes() + end for word, vector in VECTORS.items()
    ]
    path.write_bytes(b"4 2\n" + b"".join(parts))
    return {"vectors_file": path}


def array(folder: Path) -> dict[str, Any]:
    np.save(folder / "vectors.npy", np.array(list(VECTORS.values()), dtype=np.float16))
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in VECTORS), encoding="utf-8")
    return {"vectors_file": folder / "vectors.npy", "vectors_words": folder / "words.txt"}


FORMATS: dict[str, Writer] = {
    "GloVe": text,
    "GloVe, compressed": compressed,
    "fastText": lambda folder: text(folder, header=True, end=" \n"),
    "tabs": lambda folder: text(folder, separator="\t"),
    "word2vec": lambda folder: binary(folder, line_ends=False),
    "word2vec, line ends": lambda folder: binary(folder, line_ends=True),
    "NumPy": array,
}


def fitted(**options: Any) -> WordFeat:
    made = WordFeat(WordFeatConfig(embed_dim=2, **options))
    made.fit({"task": [pl.Series("text", ROWS, dtype=pl.List(pl.String))]})
    return made


def vectors(made: WordFeat) -> dict[str, list[float]]:
    weight = made.build_embedding(Builder()).get_parameter("embedding.weight")
    return dict(zip(made.vocabulary.tokens, weight.tolist(), strict=True))


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_vectors_of_the_words(write: Writer, tmp_path: Path) -> None:
    made = fitted(**write(tmp_path))
    found = vectors(made)
    # `film` is spelled as in the file, where `Film` comes first; `café` is in another form there.
    assert found["the"] == [0.5, -1.25]
    assert found["film"] == [1.0, 3.0]
    assert found["café"] == [-4.0, 0.125]
    assert found["[PAD]" if "[PAD]" in found else SPECIAL_TOKENS[0]] == [0.0, 0.0]
    assert any("3 of 4 words have a vector, 80.0 %" in notice for notice in made.notices())


def test_other_words_are_distributed_as_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    generator = np.random.default_rng(0)
    known = generator.normal([3.0, -2.0], [0.1, 4.0], (500, 2))
    file.write_text("".join(f"k{row} {a} {b}\n" for row, (a, b) in enumerate(known)))
    made = WordFeat(WordFeatConfig(embed_dim=2, vectors_file=file))
    words = [[f"k{row}" for row in range(500)] + [f"n{row}" for row in range(500)]]
    made.fit({"task": [pl.Series("text", words, dtype=pl.List(pl.String))]})
    torch.manual_seed(0)
    weight = made.build_embedding(Builder()).get_parameter("embedding.weight")
    drawn = torch.stack(
        [row for word, row in zip(made.vocabulary.tokens, weight, strict=True) if word[0] == "n"]
    )
    assert (drawn.mean(0) - torch.tensor([3.0, -2.0])).abs().max() < 0.5
    assert (drawn.std(0) / torch.tensor([0.1, 4.0]) - 1).abs().max() < 0.1


def test_words_with_spaces_and_words_that_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text("2003 1 2\n. . 3 4\n. 5 6\n")
    found, known = VectorFile.open(file, None).vectors_of(
        [".", "2003", ". ."], lowercase=True, normalization="NFC"
    )
    assert found[:2].tolist() == [[5, 6], [1, 2]]
    assert known[:2].all()


def test_the_first_words_of_a_file_join_the_vocabulary(tmp_path: Path) -> None:
    made = fitted(vocab_from_vectors=2, vocab_from_train_data=False, **text(tmp_path))
    assert set(made.vocabulary.words) == {"the", "film"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the 0.5 x\n", ":1: must have a word and its numbers"),
        (b"the 0.5 1\nfilm 1 2 3\nfilm 1\n", ":3: a vector must have 2 numbers, but has 1"),
        (b"the 0.5 1\nfilm 1 y\n", ":2: a word must be followed by numbers"),
        (b"the 0.5 nan\n", ":1: a vector must be finite, but has nan"),
        (b"other 0.5 1\n", "must have a vector for at least one word"),
        (b"", "must have a word and its numbers"),
        (b"the " + b"1 " * 2**20, "a line must have less than"),
        (b"9 2\nthe \0\0\0\0\0\0", "must have 9 vectors, but ends in number 1"),
        (b"9 2\n" + b"\xff" * 9000, "vector number 1 must follow a word"),
        (b"3 999999\nthe 1 2\n", "vectors must have 1 to 16,384 numbers"),
    ],
)
def test_a_damaged_file_gives_a_message(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        fitted(vectors_file=file)
    assert message in str(error.value)
    assert str(error.value).startswith(str(file))


@settings(deadline=None, max_examples=200)
@given(content=st.binary(max_size=80), header=st.sampled_from([b"", b"2 2\n", b"the 1 2\n"]))
def test_any_bytes_give_vectors_or_a_message(
    content: bytes, header: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.vectors"
    file.write_bytes(header + content)
    try:
        fitted(vectors_file=file)
    except (ConfigError, DataError) as error:
        assert "any.vectors" in str(error)


def test_an_array_needs_its_words_and_holds_no_objects(tmp_path: Path) -> None:
    options = array(tmp_path)
    with pytest.raises(DataError, match="vectors_words"):
        fitted(vectors_file=options["vectors_file"])
    options["vectors_words"].write_text("one\n")
    with pytest.raises(DataError, match="a row for each of the 1 words"):
        fitted(**options)
    np.save(options["vectors_file"], np.array([[print]], dtype=object))
    with pytest.raises(DataError, match="array that NumPy saved"):
        fitted(**options)


def test_another_width_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    made = WordFeat(WordFeatConfig(embed_dim=3, **text(tmp_path)))
    with pytest.raises(ConfigError, match="`embed_dim` must be 2, the width"):
        made.fit({"task": [pl.Series("text", ROWS, dtype=pl.List(pl.String))]})


@pytest.mark.parametrize("freeze", [True, False])
def test_a_run_does_not_need_the_file(freeze: bool, tmp_path: Path) -> None:
    rows = "".join(f"{' '.join(row)}\t{number}\n" for number, row in enumerate(ROWS)) * 3
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    file = text(tmp_path)["vectors_file"]
    feature = {"embed_dim": 2, "vectors_file": str(file), "freeze": freeze}
    task = {"data": {"train_path": "rows.tsv"}, "features": {"word_feat": feature}}
    config = {
        "base_dir": str(tmp_path),
        "tasks": {"T": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 2},
        "device": "cpu",
    }
    mtl.train(config, output=tmp_path / "run")
    file.unlink()
    run = mtl.load(tmp_path / "run")
    assert run.predict("T", "the film")[0]["label"] in ("0", "1")
    weight = dict(run.model.named_parameters())
    [embedding] = [each for name, each in weight.items() if name.endswith("embedding.weight")]
    made = run.task("T").features.featurizers["word_feat"]
    row = embedding[made.vocabulary.tokens.index("film")]
    assert (row.tolist() == [1.0, 3.0]) == freeze
