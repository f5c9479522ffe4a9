"""Normalization of words, and languages without spaces."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mtl
from mtl import DataError, Featurizer
from mtl.config.load import load_config
from mtl.plugins import discover
from mtl_text.data_config import CharFeatConfig, NgramFeatConfig, WordFeatConfig
from mtl_text.featurizers import CharFeat, WordFeat
from mtl_text.ngrams import NgramFeat

Form = Literal["NFC", "NFKC", "NFD"]
FEATURIZERS: list[Any] = [
    lambda **options: WordFeat(WordFeatConfig(**options)),
    lambda **options: CharFeat(CharFeatConfig(**options)),
    lambda **options: NgramFeat(NgramFeatConfig(**options)),
]
ACCENTED = st.text(st.sampled_from("aeéèñüÅ각ﬁ①ô"), min_size=1, max_size=6)


def column(rows: list[list[str]], form: Form | None = None) -> pl.Series:
    rows = [[unicodedata.normalize(form, word) if form else word for word in row] for row in rows]
    return pl.Series("text", rows, dtype=pl.List(pl.String))


def values(featurizer: Featurizer[Any], words: pl.Series) -> torch.Tensor:
    [encoded] = featurizer.encode(words).values()
    return encoded.values


@pytest.mark.parametrize("make", FEATURIZERS)
@given(rows=st.lists(st.lists(ACCENTED, max_size=4), min_size=1, max_size=4))
def test_canonically_equal_words_are_one_word(make: Any, rows: list[list[str]]) -> None:
    one, other = make(), make()
    rows = [["a"], *rows]
    one.fit({"task": [column(rows, "NFC")]})
    other.fit({"task": [column(rows, "NFD")]})
    assert one.state() == other.state()
    for featurizer in (one, other):
        encoded = [values(featurizer, column(rows, form)) for form in ("NFC", "NFD")]
        assert torch.equal(*encoded)


@pytest.mark.parametrize("make", FEATURIZERS)
def test_compatible_words_are_one_word_if_asked_for(make: Any) -> None:
    for form, is_same in {"NFC": False, "NFKC": True}.items():
        featurizer = make(normalization=form)
        featurizer.fit({"task": [column([["film", "ﬁlm"]])]})
        one, other = values(featurizer, column([["film"], ["ﬁlm"]]))
        assert torch.equal(one, other) is is_same


@pytest.mark.parametrize("make", FEATURIZERS)
def test_a_run_from_before_reads_words_as_they_are(make: Any) -> None:
    words = column([["cafe\u0301", "caf\u00e9"]])
    before = make(normalization="none")
    before.fit({"task": [words]})
    state = before.state()
    del state["normalization"]
    loaded = make()
    loaded.load_state(json.loads(json.dumps(state)))
    assert torch.equal(values(loaded, words), values(before, words))
    assert not torch.equal(*values(loaded, words))
    assert loaded.state()["normalization"] == "none"
    with pytest.raises(DataError, match="`normalization` must be one of"):
        loaded.load_state({**state, "normalization": "NFX"})


def test_a_vocabulary_file_is_normalized(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("cafe\u0301\ncaf\u00e9\n", encoding="utf-8")
    made = WordFeat(WordFeatConfig(vocab_file=mtl.InputPath(path)))
    made.fit({"task": [column([["tea"]])]})
    assert set(made.vocabulary.words) == {"caf\u00e9", "tea"}


GOOD, BAD = "喜欢精彩美好", "讨厌无聊糟糕"


def write_reviews(path: Path, rows: int, seed: int) -> None:
    draw = random.Random(seed)
    lines = []
    for row in range(rows):
        kind = GOOD if row % 2 else BAD
        filler = "".join(draw.choices("我你他这那部电影的了是很不", k=draw.randint(3, 9)))
        lines.append(f"{filler}{draw.choice(kind)}{filler[::-1]}。\t{row % 2}")
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")


def chinese(folder: Path, **word_feat: Any) -> dict[str, Any]:
    write_reviews(folder / "train.tsv", 120, 0)
    write_reviews(folder / "eval.tsv", 60, 1)
    data = {"train_path": "train.tsv", "eval_path": "eval.tsv"}
    task = {"data": data, "features": {"word_feat": {"embed_dim": 16, **word_feat}}, "batch_size": 20}
    return {
        "base_dir": str(folder),
        "tasks": {"Reviews": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 60, "optimizer": {"Adam": {"lr": 0.02}}},
        "device": "cpu",
    }


@pytest.mark.parametrize("tokenizer", ["unicode", "characters"])
def test_a_language_without_spaces_trains(tmp_path: Path, tokenizer: str) -> None:
    config = chinese(tmp_path, tokenizer=tokenizer)
    plan = mtl.plan(config)["tasks"]["Reviews"]["eval"]
    assert plan["statistics"]["word_feat.unknown"] == 0.0
    assert mtl.plan(chinese(tmp_path))["tasks"]["Reviews"]["eval"]["statistics"]["word_feat.unknown"] > 0.9
    result = mtl.train(config, output=tmp_path / "run").data
    assert result["tasks"]["Reviews"]["eval"]["accuracy"] > 0.95
    [answer] = mtl.load(tmp_path / "run").predict("Reviews", [{"text": "这部电影很精彩。"}])
    assert answer["label"] == "1"


def test_one_tokenizer_splits_for_all_featurizers_of_a_block(tmp_path: Path) -> None:
    config = chinese(tmp_path, tokenizer="characters")
    features = config["tasks"]["Reviews"]["DocClassificationTask"]["features"]
    features["char_feat"] = {}
    loaded = load_config(config, plugins=discover())
    assert loaded.config.tasks["Reviews"].config.features.tokenizer == "characters"
    features["char_feat"] = {"tokenizer": "unicode"}
    with pytest.raises(mtl.ConfigError) as caught:
        load_config(config, plugins=discover())
    [problem] = caught.value.problems
    path = "tasks.Reviews.DocClassificationTask.features"
    assert problem.path == f"{path}.char_feat"
    assert problem.message.endswith(f'it is "unicode" here and "characters" at {path}.word_feat')
