"""word_feat: which words have a row, which row, and what is said about the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import Builder, DataError, Ragged
from mtl_text import (
    BOS,
    EOS,
    MASK,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    UNK_ID,
    CharFeat,
    CharFeatConfig,
    WordFeat,
    WordFeatConfig,
)

quick = settings(deadline=None, max_examples=150)
Corpus = list[list[str]]


def series(rows: Corpus) -> pl.Series:
    return pl.Series("text", rows, dtype=pl.List(pl.String))


def featurizer(corpora: Mapping[str, Corpus], **options: Any) -> WordFeat:
    made = WordFeat(WordFeatConfig(**options))
    made.fit({task: [series(rows)] for task, rows in corpora.items()})
    return made


def column(featurizer: WordFeat, rows: Corpus) -> Ragged:
    ids = featurizer.encode(series(rows))["ids"]
    assert isinstance(ids, Ragged)
    return ids


def ids(featurizer: WordFeat, *tokens: str) -> list[int]:
    return column(featurizer, [list(tokens)]).values.tolist()


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "vocab.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- against a plain implementation -----------------------------------------------------------------

WORDS = [
    "a",
    "A",
    "b",
    "B",
    "cat",
    "Cat",
    "É",
    "é",
    "dog",
    "ß",
    "ΣΑΣ",
    "<unk>",
    "<UNK>",
    "中",
    *SPECIAL_TOKENS,
]
CORPUS = st.lists(st.lists(st.sampled_from(WORDS), max_size=8), max_size=6)


def plain(word: str, lowercase: bool) -> str:
    return word.lower() if lowercase and word not in SPECIAL_TOKENS else word


def reference_words(
    corpora: Mapping[str, Corpus], listed: list[str] | None, options: Mapping[str, Any], lowercase: bool
) -> list[str]:
    counts = Counter(plain(word, lowercase) for rows in corpora.values() for row in rows for word in row)
    words = {plain(word, lowercase) for word in listed or []}
    if options["vocab_from_train_data"]:
        words |= {word for word, count in counts.items() if count >= options["min_count"]}
    words -= {*SPECIAL_TOKENS, "<unk>"}
    return sorted(words, key=lambda word: (-counts[word], word))[: options["vocab_size"]]


@quick
@given(
    corpora=st.dictionaries(st.sampled_from(["SST2", "LM"]), CORPUS, min_size=1),
    listed=st.none() | st.lists(st.sampled_from([*WORDS, "zebra"]), min_size=1),
    lowercase=st.booleans(),
    vocab_size=st.none() | st.integers(1, 6),
    min_count=st.integers(1, 3),
    from_data=st.booleans(),
    unseen=CORPUS,
)
def test_vocabulary_and_ids_equal_a_plain_implementation(
    tmp_path_factory: pytest.TempPathFactory,
    corpora: dict[str, Corpus],
    listed: list[str] | None,
    lowercase: bool,
    vocab_size: int | None,
    min_count: int,
    from_data: bool,
    unseen: Corpus,
) -> None:
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "min_count": min_count,
        "vocab_from_train_data": from_data or listed is None,
    }
    words = reference_words(corpora, listed, options, lowercase)
    if listed is not None:
        options["vocab_file"] = write(tmp_path_factory.mktemp("vocabulary"), "\n".join(listed))
    if not words or (
        listed is not None and set(listed) <= {*SPECIAL_TOKENS, "<unk>"} | ({"<UNK>"} if lowercase else set())
    ):
        with pytest.raises(DataError, match="must"):
            featurizer(corpora, lowercase=lowercase, **options)
        return
    made = featurizer(corpora, lowercase=lowercase, **options)
    assert made.vocabulary.words == tuple(words)
    assert made.vocabulary.tokens == (*SPECIAL_TOKENS, *words)
    assert len(made.vocabulary) == 5 + len(words)

    row = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *words])}
    expected = [[row.get(plain(token, lowercase), UNK_ID) for token in tokens] for tokens in unseen]
    encoded = column(made, unseen)
    assert encoded.values.dtype == torch.int32
    assert [part.tolist() for part in encoded.values.split(encoded.lengths.tolist())] == expected
    flat = [i for tokens in expected for i in tokens if i == UNK_ID or i >= 5]
    assert made.report([series(unseen)]) == {"unknown": flat.count(UNK_ID) / max(len(flat), 1)}

    loaded = WordFeat(WordFeatConfig(lowercase=lowercase))
    loaded.load_state(json.loads(json.dumps(made.state())))
    assert torch.equal(column(loaded, unseen).values, encoded.values)


# --- the defects --------------------------------------------------------------------------------------


def test_d13_a_long_file_keeps_the_words_frequent_in_training(tmp_path: Path) -> None:
    frequent = ["with", "you", "who", "was", "very"]
    path = write(tmp_path, "\n".join(sorted([*"abcdefgh", *frequent])))
    made = featurizer(
        {"SST2": [["a", *frequent]], "LM": [frequent * 2]},
        vocab_file=path,
        vocab_size=5,
        vocab_from_train_data=False,
    )
    assert sorted(made.vocabulary.words) == sorted(frequent)
    assert made.report([series([["with", "a", "b", "You"]])]) == {"unknown": 0.5}
    assert made.notices() == [
        "vocabulary: the 5 words most frequent in the training data are kept, of 13 (`vocab_size`)"
    ]


def test_d13_frequency_is_that_of_all_sharers_together() -> None:
    made = featurizer({"SST2": [["x", "x", "y"]], "LM": [["y", "y", "z"]]}, vocab_size=1)
    assert made.vocabulary.words == ("y",)


def test_d13_ties_fall_by_word_whatever_the_order_of_rows() -> None:
    one = featurizer({"A": [["c", "b"], ["a"]]}, vocab_size=2)
    other = featurizer({"A": [["a"]], "B": [["b", "c"]]}, vocab_size=2)
    assert one.vocabulary.words == other.vocabulary.words == ("a", "b")


def test_s3_special_tokens_have_the_same_rows_for_every_user() -> None:
    lines = featurizer({"LM": [[BOS, "the", EOS]]})
    sentences = featurizer({"SST2": [["the"]]})
    for made in (lines, sentences):
        assert ids(made, PAD, UNK, BOS, EOS, MASK, "the", "THE", "never", "<unk>") == [
            0,
            1,
            2,
            3,
            4,
            5,
            5,
            1,
            1,
        ]


def test_special_tokens_are_never_words(tmp_path: Path) -> None:
    path = write(tmp_path, "__EOS__\nword\n<unk>\n")
    assert featurizer({"A": [[BOS, "<unk>", MASK]]}, vocab_file=path).vocabulary.words == ("word",)
    assert ids(featurizer({"A": [["x"]]}), "__bos__", "__BOS__") == [UNK_ID, 2]


def test_d14_the_tutorials_stray_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "\t0\n\t1\n!\nthe\t7\r\nThe\n\n'\n")
    made = featurizer({"A": [["the", "!"]]}, vocab_file=path, vocab_from_train_data=False)
    assert made.vocabulary.words == ("!", "the", "'")
    assert made.notices() == [
        f"{path}: 3 lines without a word are left out",
        f"{path}: 1 line repeats a word, read in lower case",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": a vocabulary file must list at least one word"),
        (b"\t0\n\t1\n", ": a vocabulary file must list at least one word"),
        (b"__PAD__\n<unk>\n", ": a vocabulary file must list at least one word"),
        (b"a\nna\xefve\n", ":2: text must be UTF-8, but byte 3 of the line is not"),
        (b"a\nb\0\n", ":2: text must not hold NUL"),
        (b"a\nthe 7\n", ":2: a line must be a word, or a word, a tab and a count, but 'the 7' has a space"),
    ],
)
def test_d14_a_file_without_a_vocabulary_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        featurizer({"A": [["a"]]}, vocab_file=path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_d14_a_missing_vocabulary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt: must be a readable file, but: No such file"):
        featurizer({"A": [["a"]]}, vocab_file=tmp_path / "absent.txt", vocab_from_train_data=False)


@pytest.mark.parametrize("featurizer", [WordFeat(WordFeatConfig()), CharFeat(CharFeatConfig())])
@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (None, "must be a list of strings"),
        ("abc", "must be a list of strings"),
        (["a", 1], "must be a list of strings"),
        (["a", "b", "a"], "must differ from each other"),
        (["a", "__PAD__"], "and from the special tokens"),
        (["a", "\ud800"], "half a surrogate pair"),
    ],
)
def test_a_malformed_saved_vocabulary_is_refused(
    featurizer: WordFeat | CharFeat, saved: Any, message: str
) -> None:
    name = "words" if isinstance(featurizer, WordFeat) else "characters"
    with pytest.raises(DataError, match=f"`{name}` {message}|`{name}` .*{message}"):
        featurizer.load_state({name: saved} if saved is not None else {})


def test_d14_a_vocabulary_of_special_tokens_alone_is_refused() -> None:
    with pytest.raises(
        DataError, match="must have at least one word, but the training data has none that occurs 2"
    ):
        featurizer({"A": [["a", "b", EOS, EOS]]}, min_count=2)


def test_no_file_and_no_training_data_is_refused() -> None:
    with pytest.raises(ValueError, match="`vocab_from_train_data` must be true without a `vocab_file`"):
        WordFeatConfig(vocab_from_train_data=False)


# --- the embedding ------------------------------------------------------------------------------------


def test_embedding_reads_ids_and_padding_is_zero() -> None:
    made = featurizer({"A": [["a", "b"]]}, embed_dim=8)
    torch.manual_seed(0)
    embedding = made.build_embedding(Builder())
    vectors = embedding({"ids": torch.tensor([[5, 6], [1, 0]], dtype=torch.int32)})
    assert vectors.shape == (2, 2, made.config.output_dim)
    assert not vectors[1, 1].any()
    assert vectors[0].any(dim=-1).all()
    torch.manual_seed(0)
    reference = torch.nn.Embedding(7, 8, padding_idx=0)
    assert torch.equal(embedding.weight, reference.weight)


def test_init_range_bounds_the_weights() -> None:
    made = featurizer({"A": [[str(i) for i in range(200)]]}, init_range=0.1)
    weight = made.build_embedding(Builder()).weight
    assert isinstance(weight, torch.Tensor)
    assert 0.09 < weight.abs().max() <= 0.1
    assert not weight[0].any()
    assert weight[1:].any(dim=1).all()


# --- rare words ---------------------------------------------------------------------------------------


def vectors(embedding: torch.nn.Module, row: int, times: int = 1) -> torch.Tensor:
    """The vectors of `times` occurrences of the token with this row."""
    read: torch.Tensor = embedding({"ids": torch.full((1, times), row, dtype=torch.int32)})
    return read[0]


def test_words_are_dropped_at_the_rate_of_their_counts() -> None:
    made = featurizer({"SST2": [["a", "b", "a"]], "LM": [["A", "a", EOS, "<unk>"]]}, rare_word_dropout=2.0)
    assert made.vocabulary.words == ("a", "b")
    torch.manual_seed(0)
    embedding = made.build_embedding(Builder())
    unknown = vectors(embedding, UNK_ID)
    for row, expected in {2: 0.0, 3: 0.0, 4: 0.0, 5: 2 / (2 + 4), 6: 2 / (2 + 1)}.items():
        read = vectors(embedding, row, times=10_000)
        rate = (read == unknown).all(dim=1).float().mean().item()
        assert rate == pytest.approx(expected, abs=0.02 if expected else 0.0)


def test_the_drops_come_from_torchs_seed() -> None:
    embedding = featurizer({"A": [["a"]]}, rare_word_dropout=1.0).build_embedding(Builder())
    torch.manual_seed(3)
    first, second = vectors(embedding, 5, times=100), vectors(embedding, 5, times=100)
    torch.manual_seed(3)
    assert torch.equal(vectors(embedding, 5, times=100), first)
    assert not torch.equal(first, second)


def test_evaluation_drops_nothing(tmp_path: Path) -> None:
    """Not even a word of the vocabulary file that no training row has, which training always drops."""
    path = write(tmp_path, "a\nnever\n")
    made = featurizer({"A": [["a"]]}, vocab_file=path, rare_word_dropout=50.0)
    assert made.vocabulary.words == ("a", "never")
    embedding = made.build_embedding(Builder())
    assert torch.equal(vectors(embedding, 6, times=50), vectors(embedding, UNK_ID).expand(50, -1))
    embedding.eval()
    assert isinstance(embedding.weight, torch.Tensor)
    assert torch.equal(vectors(embedding, 5, times=50), embedding.weight[5].expand(50, -1))
    assert torch.equal(vectors(embedding, 6), embedding.weight[6:7])


def test_only_the_row_that_is_read_gets_a_gradient() -> None:
    embedding = featurizer({"A": [["a", "b"]]}, rare_word_dropout=1.0).build_embedding(Builder())
    assert isinstance(embedding.weight, torch.Tensor)
    torch.manual_seed(0)
    read = vectors(embedding, 5, times=1_000)
    dropped = int((read == embedding.weight[UNK_ID]).all(dim=1).sum())
    read.sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[:, 0].tolist() == [0, dropped, 0, 0, 0, 1_000 - dropped, 0]
    assert 0 < dropped < 1_000


@quick
@given(
    corpora=st.dictionaries(st.sampled_from(["SST2", "LM"]), CORPUS, min_size=1),
    lowercase=st.booleans(),
    vocab_size=st.none() | st.integers(1, 6),
)
def test_the_counts_are_those_of_all_sharers_and_survive_saving(
    corpora: dict[str, Corpus], lowercase: bool, vocab_size: int | None
) -> None:
    counts = Counter(plain(word, lowercase) for rows in corpora.values() for row in rows for word in row)
    corpora = {**corpora, "more": [["zebra"]]}
    options: dict[str, Any] = {"lowercase": lowercase, "vocab_size": vocab_size, "rare_word_dropout": 1.5}
    made = featurizer(corpora, **options)
    assert made.counts == [counts[word] or 1 for word in made.vocabulary.words]
    loaded = WordFeat(WordFeatConfig(**options))
    loaded.load_state(json.loads(json.dumps(made.state())))
    assert loaded.counts == made.counts
    ours, theirs = (each.build_embedding(Builder()).drop_probabilities for each in (made, loaded))
    assert isinstance(ours, torch.Tensor)
    assert isinstance(theirs, torch.Tensor)
    assert torch.equal(ours, theirs)


def test_counts_are_kept_only_where_they_are_asked_for() -> None:
    made = featurizer({"A": [["a"]]})
    assert made.state() == {"words": ["a"], "normalization": "NFC"}
    assert not list(made.build_embedding(Builder()).buffers())


@pytest.mark.parametrize("saved", [None, 3, [1], [1, 2, 3], [1, -1], [1, True], [1, 2.0]])
def test_invalid_saved_counts_are_refused(saved: Any) -> None:
    made = WordFeat(WordFeatConfig(rare_word_dropout=1.0))
    with pytest.raises(DataError, match="`counts` must be a number from 0 for each of 2 words"):
        made.load_state({"words": ["a", "b"], "counts": saved})
