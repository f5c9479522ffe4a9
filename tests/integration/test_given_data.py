"""Rows given in Python in place of files: tables of several libraries train the same model as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mtl
from mtl import DataError, UsageError
from mtl.runs import check_data, load

Config = dict[str, Any]
Rows = list[dict[str, str]]


def rows(count: int, start: int = 0) -> Rows:
    return [
        {"text": f"a {'dull' if number % 2 else 'warm'} film {number % 7}", "label": "10"[number % 2]}
        for number in range(start, start + count)
    ]


TRAIN, EVAL = rows(40), rows(12, start=100)


def config(**data: Any) -> Config:
    task: Config = {
        "batch_size": 8,
        "features": {"word_feat": {"embed_dim": 4}},
        "representation": {"BiLSTMDocAttention": {"lstm": {"BiLSTM": {"lstm_dim": 3}}}},
    }
    if data:
        task["data"] = {"TSV": data}
    return {
        "tasks": {"Reviews": {"DocClassificationTask": task}},
        "trainer": {"epochs": 2, "num_threads": 1},
        "device": "cpu",
    }


class Arrow:
    """A table of a library that polars does not know, such as pyarrow's."""

    def __init__(self, given: Rows) -> None:
        self._frame = pl.DataFrame(given)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


class Series:
    def __init__(self, cells: list[Any]) -> None:
        self.cells = cells

    def isna(self) -> Series:
        return Series([cell is None for cell in self.cells])

    def tolist(self) -> list[Any]:
        return self.cells


class Pandas:
    """What of a pandas table is used."""

    __module__ = "pandas.core.frame"

    def __init__(self, given: Rows) -> None:
        self.given = given
        self.columns = list(given[0])

    def __getitem__(self, name: str) -> Series:
        return Series([row[name] for row in self.given])

    def to_dict(self, form: str) -> Rows:
        return self.given


def files(folder: Path) -> Config:
    for name, given in (("train", TRAIN), ("eval", EVAL)):
        pl.DataFrame(given).write_csv(folder / f"{name}.tsv", separator="\t")
    return {**config(train_path="train.tsv", eval_path="eval.tsv"), "base_dir": str(folder)}


FORMS = [list, pl.DataFrame, lambda given: pl.DataFrame(given).lazy(), Arrow, Pandas]


@pytest.mark.parametrize("form", FORMS, ids=["list", "polars", "lazy", "arrow", "pandas"])
def test_tables_train_the_model_of_a_file(form: Any, tmp_path: Path) -> None:
    of_file = mtl.train(files(tmp_path), output=tmp_path / "file")
    given = {"Reviews": {"train": form(TRAIN), "eval": form(EVAL)}}
    result = mtl.train(config(), data=given, output=tmp_path / "given")

    assert result.data["tasks"]["Reviews"]["eval"] == of_file.data["tasks"]["Reviews"]["eval"]
    weights = "model/weights.safetensors"
    assert (tmp_path / "given" / weights).read_bytes() == (tmp_path / "file" / weights).read_bytes()


def test_the_run_names_the_rows_by_their_content(tmp_path: Path) -> None:
    given = {"Reviews": {"train": TRAIN, "eval": EVAL}}
    first = mtl.train(config(), data=given, output=tmp_path / "first").data["data"]
    again = mtl.train(
        config(), data={"Reviews": {"train": pl.DataFrame(TRAIN), "eval": EVAL}}, output=tmp_path / "b"
    )

    assert first == again.data["data"]
    assert first["Reviews.train"]["path"].startswith("table:") and first["Reviews.train"]["rows"] == 40
    stated = json.loads((tmp_path / "first/config.json").read_text())["tasks"]["Reviews"][
        "DocClassificationTask"
    ]
    assert stated["data"]["TSV"]["train_path"] == first["Reviews.train"]["path"]


def test_resuming_needs_the_same_rows(tmp_path: Path) -> None:
    given = {"Reviews": {"train": TRAIN, "eval": EVAL}}
    whole = mtl.train(config(), data=given, output=tmp_path / "whole")
    short = {**config(), "trainer": {"epochs": 1, "num_threads": 1}}
    mtl.train(short, data=given, output=tmp_path / "parts")
    with pytest.raises(UsageError, match=r'train_path: "table:.* before, "table:.* now'):
        mtl.train(
            config(),
            data={"Reviews": {"train": TRAIN[1:], "eval": EVAL}},
            output=tmp_path / "parts",
            resume=True,
        )
    again = mtl.train(config(), data=given, output=tmp_path / "parts", resume=True)
    assert again.data["tasks"]["Reviews"]["eval"] == whole.data["tasks"]["Reviews"]["eval"]


def test_a_run_over_tables_tests_and_predicts(tmp_path: Path) -> None:
    result = mtl.train(config(), data={"Reviews": {"train": TRAIN, "eval": EVAL}}, output=tmp_path / "run")
    run = load(tmp_path / "run")

    metrics = run.test("Reviews", EVAL)["Reviews"]
    assert (
        metrics
        == run.test("Reviews", pl.DataFrame(EVAL))["Reviews"]
        == run.test("Reviews", Arrow(EVAL))["Reviews"]
    )
    assert metrics["accuracy"] == result.data["tasks"]["Reviews"]["eval"]["accuracy"]
    expected = run.predict("Reviews", EVAL)
    answers = run.predict("Reviews", Arrow(EVAL))
    assert isinstance(answers, pl.DataFrame) and answers["label"].to_list() == [
        each["label"] for each in expected
    ]
    pl.DataFrame(EVAL).write_csv(tmp_path / "eval.tsv", separator="\t")
    assert [each["label"] for each in run.predict_file("Reviews", tmp_path / "eval.tsv")] == answers[
        "label"
    ].to_list()


def test_the_rows_of_a_test_split_must_be_given_again(tmp_path: Path) -> None:
    mtl.train(config(), data={"Reviews": {"train": TRAIN, "test": EVAL}}, output=tmp_path / "run")
    with pytest.raises(DataError, match="these rows were given in Python; give them again"):
        load(tmp_path / "run").test("Reviews")


def test_fractions_columns_and_paths_go_with_tables(tmp_path: Path) -> None:
    renamed = [{"review": row["text"], "stars": int(row["label"])} for row in TRAIN]
    given = config(columns={"text": "review", "label": "stars"}, eval_fraction=0.25)
    planned = mtl.plan(given, data={"Reviews": {"train": renamed}})["tasks"]["Reviews"]
    assert planned["train"]["rows"] + planned["eval"]["rows"] == 40
    assert planned["train"]["labels"]["number"] == 2

    mixed = files(tmp_path)
    planned = mtl.plan(mixed, data={"Reviews": {"eval": EVAL[:5]}})["tasks"]["Reviews"]
    assert (planned["train"]["rows"], planned["eval"]["rows"]) == (40, 5)
    planned = mtl.plan(config(), data={"Reviews": {"train": tmp_path / "train.tsv"}})["tasks"]["Reviews"]
    assert planned["train"]["path"] == str(tmp_path / "train.tsv")
    assert check_data(config(), data={"Reviews": {"train": TRAIN}})["tasks"]["Reviews"]["train"]["rows"] == 40


def test_a_config_of_one_task_takes_tables_by_its_component(tmp_path: Path) -> None:
    given = {"task": "DocClassificationTask", "device": "cpu"}
    planned = mtl.plan(given, data={"DocClassificationTask": {"train": TRAIN}})
    assert planned["tasks"]["DocClassificationTask"]["train"]["rows"] == 40


def test_bad_rows_may_be_skipped() -> None:
    wrong = [*TRAIN, {"text": "no label", "label": None}]
    with pytest.raises(DataError, match="1 row is bad\nrow 41: `label` must not be empty"):
        mtl.plan(config(), data={"Reviews": {"train": wrong}})
    planned = mtl.plan(config(on_bad_row="skip"), data={"Reviews": {"train": wrong}})
    assert planned["tasks"]["Reviews"]["train"]["skipped"] == 1


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ([], UsageError, "`data` must be rows by task and split"),
        ({"Reviews": TRAIN}, UsageError, "`data` must be rows by task and split"),
        (
            {"Review": {"train": TRAIN}},
            UsageError,
            "must name tasks of the config, but names 'Review' (did you mean",
        ),
        ({"Reviews": {"dev": TRAIN}}, UsageError, "must be train, eval or test, but is 'dev'"),
        (
            {"Reviews": {"train": 7}},
            UsageError,
            "must be a polars, pandas or Arrow table or a list of mappings",
        ),
        ({"Reviews": {"train": ["a", "b"]}}, UsageError, "or a list of mappings, but is a list"),
        (
            {"Reviews": {"train": [{"text": "a"}]}},
            DataError,
            "`label` must be there, as `label`, but the columns are `text`",
        ),
        (
            {"Reviews": {"train": [{"text": 1, "label": "x"}]}},
            DataError,
            "`text` must be a column of a string, but is Int64",
        ),
        ({"Reviews": {"train": []}}, DataError, "`text` must be there"),
    ],
)
def test_other_data_is_refused(data: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        mtl.plan(config(), data=data)
    assert said in str(caught.value)


def test_a_config_cannot_name_a_table() -> None:
    with pytest.raises(mtl.ConfigError, match="stands for rows that were given in Python"):
        mtl.plan(config(train_path="table:12"))
