"""Each task passes the kit: it trains, predicts, saves, reloads, resumes and shares its modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl import ConfigError, DataError
from mtl.testing import check_pooling, check_task

WORDS = ("good", "bad", "dull", "fine", "odd", "new")
SMALL = {
    "features": {"word_feat": {"embed_dim": 6}},
    "representation": {"BiLSTMDocAttention": {"lstm": {"BiLSTM": {"lstm_dim": 4}}}},
}
PAIRED = {"pair": True}


def row(number: int) -> dict[str, Any]:
    """A row with a cell for every task."""
    words = [WORDS[(number + place) % 6] for place in range(1 + number % 5)]
    marks = ["B-X", "I-X", "O", "S-Y", "B-Y"]
    return {
        "text": " ".join(words),
        "text1": " ".join(words),
        "text2": " ".join(words[::-1]),
        "label": str(number % 3),
        "score": number % 7 / 2,
        "labels": [name for place, name in enumerate("abc") if number >> place & 1],
        "rude": number % 2,
        "long": number // 2 % 2,
        "words": words,
        "tags": [marks[place % 3] for place in range(len(words))],
    }


ROWS = "".join(json.dumps(row(number)) + "\n" for number in range(24))
TAGGER = {
    "features": SMALL["features"],
    "representation": {"BiLSTM": {"lstm_dim": 4}},
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("PairClassificationTask", SMALL),
    ("PairClassificationTask", {**SMALL, "combination": "MeanPool", "max_tokens": 3}),
    ("RegressionTask", SMALL),
    ("RegressionTask", {**SMALL, **PAIRED, "loss": "absolute", "range": [0, 3]}),
    ("MultiLabelTask", SMALL),
    ("MultiLabelTask", {**SMALL, **PAIRED, "label_columns": ["rude", "long"]}),
    ("TaggingTask", TAGGER),
    ("TaggingTask", {**TAGGER, "crf": True, "scheme": "BIO"}),
]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_a_task_passes_the_kit(name: str, settings: dict[str, Any]) -> None:
    config = {**settings, "data": {"JSONL": {"train_path": "train.jsonl"}}}
    checks = check_task(name, config=config, files={"train.jsonl": ROWS})
    assert all(check.outcome == "passed" for check in checks)


def test_compare_passes_the_kit() -> None:
    assert all(check.outcome == "passed" for check in check_pooling("Compare"))


def config_of(folder: Path, name: str, rows: str = ROWS, **settings: Any) -> dict[str, Any]:
    (folder / "train.jsonl").write_text(rows)
    data = {"JSONL": {"train_path": "train.jsonl", "eval_path": "train.jsonl"}}
    task = {**SMALL, "data": data, "batch_size": 8, **settings}
    return {
        "base_dir": str(folder),
        "tasks": {"T": {name: task}},
        "trainer": {"max_steps": 6},
        "device": "cpu",
    }


def test_compare_is_refused_where_a_sequence_is_pooled(tmp_path: Path) -> None:
    pooled = {"PooledRepresentation": {"pooling": "Compare"}}
    with pytest.raises(ConfigError, match=r"`pooling` needs a pooling with input `sequence`"):
        mtl.plan(config_of(tmp_path, "RegressionTask", representation=pooled))


def test_a_combination_of_one_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`combination` needs two texts, but the task reads one"):
        mtl.plan(config_of(tmp_path, "RegressionTask", combination="MeanPool"))


@pytest.mark.parametrize(
    ("name", "cell", "settings", "message"),
    [
        (
            "MultiLabelTask",
            {"rude": 2},
            {"label_columns": ["rude", "long"]},
            "`rude` must be 0 or 1, but is 2",
        ),
        ("MultiLabelTask", {"labels": ["d"]}, {"labels": ["a", "b", "c"]}, "but is 'd' \\(known: a, b, c\\)"),
        ("PairClassificationTask", {"text2": " "}, {}, "`text2` must not be empty"),
    ],
)
def test_a_wrong_cell_is_named_by_its_line(
    tmp_path: Path, name: str, cell: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    rows = ROWS + json.dumps({**row(1), **cell}) + "\n"
    with pytest.raises(DataError, match=f"train.jsonl:25: .*{message}"):
        mtl.plan(config_of(tmp_path, name, rows, **settings))


def test_a_tag_that_continues_no_span_is_refused_or_repaired(tmp_path: Path) -> None:
    rows = ROWS + json.dumps({"words": ["a", "b"], "tags": ["O", "I-X"]}) + "\n"
    settings = {**TAGGER, "scheme": "BIO"}
    with pytest.raises(DataError, match=r"train\.jsonl:25: tag 2, 'I-X', continues no X span"):
        mtl.plan(config_of(tmp_path, "TaggingTask", rows, **settings))
    mtl.plan(config_of(tmp_path, "TaggingTask", rows, **settings, invalid_tags="repair"))


def test_sentence1_and_sentence2_are_found_by_name(tmp_path: Path) -> None:
    lines = ["sentence1\tsentence2\tlabel", "a b\tb a\t0", "c\td\t1", "e\tf g\t1"]
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    config = config_of(tmp_path, "PairClassificationTask", data={"TSV": {"train_path": "train.tsv"}})
    result = mtl.train(config, output=tmp_path / "run")
    assert result.data["tasks"]["T"]["steps"] == 6
    [answer] = mtl.load(tmp_path / "run", device="cpu").predict("T", ("a b", "b a"))
    assert set(answer["probabilities"]) == {"0", "1"}


def trained(
    folder: Path, test_path: str | None, **settings: Any
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the thresholds of a run's model, its metrics on the evaluation data, and those of the model
    that is loaded."""
    folder.mkdir()
    (folder / "test.jsonl").write_text("".join(ROWS.splitlines(True)[:5]))
    paths = {"train_path": "train.jsonl", "eval_path": "train.jsonl", "test_path": test_path}
    config = config_of(folder, "MultiLabelTask", data={"JSONL": paths}, **settings)
    result = mtl.train(config, output=folder / "run").data
    run = mtl.load(folder / "run", device="cpu")
    found = run.test("T", folder / "train.jsonl")["T"]
    return run.model.tasks["T"].thresholds.tolist(), result["tasks"]["T"]["eval"], found


def test_thresholds_are_fitted_to_evaluation_rows_alone_and_saved(tmp_path: Path) -> None:
    thresholds, said, found = trained(tmp_path / "a", None)
    assert all(threshold != 0.5 for threshold in thresholds)
    assert found["micro_f1"] == said["micro_f1"]
    assert trained(tmp_path / "b", "test.jsonl")[0] == thresholds
    fixed, _, worse = trained(tmp_path / "c", None, fit_thresholds=False)
    assert fixed == [0.5] * 3
    assert worse["macro_f1"] <= found["macro_f1"]
