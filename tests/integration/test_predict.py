"""Predictions: one JSON object a row, in order, the same alone as in a batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mtl
from mtl.errors import DataError, UsageError
from mtl.files import write_manifest
from mtl.plugins import discover
from mtl.runs import LoadedRun

TEXTS = [
    "a fine film",
    "the plot",
    "a dull and weak scene with a slow and very long ending",
    "",
    "unheardof words",
]


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier and a language model over a stream, trained for a few steps."""
    data = {"train_path": "SST-2/train.tsv", "eval_path": "SST-2/dev.tsv"}
    text = {"train_path": "wikitext-2/wiki.train.tokens"}
    config = {
        "base_dir": str(corpus),
        "tasks": {
            "SST2": {"DocClassificationTask": {"data": data, "eval_batch_size": 3}},
            "LM": {"LMTask": {"data": text, "rows": "stream", "max_tokens": 5, "eval_batch_size": 3}},
        },
        "trainer": {"max_steps": 6},
        "device": "cpu",
    }
    return mtl.train(config, output=tmp_path_factory.mktemp("predict") / "run").folder


@pytest.fixture(scope="module")
def loaded(run: Path) -> LoadedRun:
    return mtl.load(run)


def rows(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def test_c2_predictions_carry_labels_and_probabilities(loaded: LoadedRun) -> None:
    answers = list(loaded.predict("SST2", rows(TEXTS[:3])))
    assert len(answers) == 3
    for answer in answers:
        assert answer["label"] in ("0", "1")
        assert answer["probabilities"][answer["label"]] == max(answer["probabilities"].values())
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("task", ["SST2", "LM"])
def test_a_row_alone_gets_the_answer_that_it_gets_in_a_batch(loaded: LoadedRun, task: str) -> None:
    texts = [text for text in TEXTS if text] * 3
    together = list(loaded.predict(task, rows(texts)))
    metric = "perplexity" if task == "LM" else "probabilities"
    for text, answer in zip(texts, together, strict=True):
        (alone,) = loaded.predict(task, rows([text]))
        assert alone[metric] == pytest.approx(answer[metric], rel=1e-4)


def test_a_language_model_over_a_stream_answers_each_line_whole(loaded: LoadedRun) -> None:
    answers = list(loaded.predict("LM", rows(TEXTS)))
    assert len(answers) == len(TEXTS)
    assert answers[2]["tokens"] > answers[0]["tokens"] > answers[3]["tokens"]


def test_an_empty_text_is_refused_by_a_classifier(loaded: LoadedRun) -> None:
    with pytest.raises(UsageError, match="row 2: `text` must not be empty"):
        list(loaded.predict("SST2", rows(["fine", ""])))


def test_what_is_no_row_is_refused_with_its_number(loaded: LoadedRun) -> None:
    said = {
        "is missing": {},
        "must be a string, but is 3": {"text": 3},
        "must be Unicode": {"text": "\ud800"},
    }
    for what, row in said.items():
        with pytest.raises(UsageError, match=f"row 2: `text` {what}"):
            loaded.predict("SST2", [{"text": "a"}, row])


def test_rows_come_in_every_form_that_a_caller_has(loaded: LoadedRun) -> None:
    texts = TEXTS[:3]
    expected = loaded.predict("SST2", rows(texts))
    assert loaded.predict("SST2", texts) == expected
    assert loaded.predict("SST2", tuple(texts)) == expected
    assert loaded.predict("SST2", [(text,) for text in texts]) == expected
    assert loaded.predict("SST2", pl.Series(texts)) == expected
    assert list(loaded.predict("SST2", iter(texts))) == expected
    table = loaded.predict("SST2", pl.DataFrame({"text": texts, "id": [1, 2, 3]}))
    assert isinstance(table, pl.DataFrame) and table.to_dicts() == expected
    for single in (texts[0], {"text": texts[0]}):
        assert loaded.predict("SST2", single) == loaded.predict("SST2", texts[:1])


@pytest.mark.parametrize("rows", [3, None, b"a film", 2.5, [3], [None], [["a"]], [("a", "b")], object()])
def test_anything_else_is_refused_with_what_is_taken(loaded: LoadedRun, rows: Any) -> None:
    with pytest.raises(UsageError, match="rows of SST2 must be a text or a mapping with `text`, a list"):
        loaded.predict("SST2", rows)


def test_bad_rows_are_answered_left_out_or_end_it(
    loaded: LoadedRun, caplog: pytest.LogCaptureFixture
) -> None:
    given = ["fine", "", "a film", {"text": None}]
    good = loaded.predict("SST2", ["fine", "a film"])
    reported = loaded.predict("SST2", given, on_bad_row="report")
    assert [reported[0], reported[2]] == good
    assert reported[1]["line"] == 2 and "must not be empty" in reported[1]["error"]
    assert reported[3]["line"] == 4 and "must be a string" in reported[3]["error"]
    assert loaded.predict("SST2", given, on_bad_row="skip") == good
    assert "2 rows were not predicted, the first: row 2: `text` must not be empty" in caplog.text
    with pytest.raises(UsageError, match="`on_bad_row` must be error, skip or report, but is 'ignore'"):
        loaded.predict("SST2", given, on_bad_row="ignore")  # type: ignore[arg-type]


# --- files, as `test` reads them -------------------------------------------------------------------


def test_a_file_is_read_with_or_without_labels_and_its_columns_are_carried(
    loaded: LoadedRun, tmp_path: Path
) -> None:
    texts = ["a fine film", "the plot", "a dull scene"]
    expected = loaded.predict("SST2", texts)
    labelled = tmp_path / "labelled.tsv"
    lines = [f"{number}\t{text}\t{number % 2}\n" for number, text in enumerate(texts)]
    labelled.write_text("id\ttext\tlabel\n" + "".join(lines))
    carried = list(loaded.predict_file("SST2", labelled))
    assert carried == [
        {"id": str(number), "input_label": str(number % 2), **answer}
        for number, answer in enumerate(expected)
    ]
    plain = tmp_path / "plain.tsv"
    plain.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    assert list(loaded.predict_file("SST2", str(plain))) == expected


def test_a_bad_row_of_a_file_keeps_its_place(loaded: LoadedRun, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("text\tid\na film\t1\n\t2\nthe plot\t3\n")
    first, bad, last = loaded.predict_file("SST2", path)
    assert (first["id"], last["id"]) == ("1", "3") and bad["line"] == 3 and "error" in bad
    with pytest.raises(DataError, match=f"{path}:3: "):
        list(loaded.predict_file("SST2", path, on_bad_row="error"))


def test_a_gold_label_in_a_line_does_not_change_the_answer(loaded: LoadedRun) -> None:
    lines = [b"average phone arrived\n", b"average phone arrived\tperfect\n"]
    one, two = loaded.predict_lines("SST2", lines)
    assert one == two


# --- one task of a run -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SST2", "LM"])
def test_one_task_alone_answers_as_in_the_whole_run(run: Path, loaded: LoadedRun, name: str) -> None:
    alone = mtl.load(run, task=name)
    assert alone.task_names == [name]
    assert alone.predict(name, TEXTS[:3]) == loaded.predict(name, TEXTS[:3])
    with pytest.raises(UsageError, match="no task is called 'Nothing'; this run has SST2, LM"):
        mtl.load(run, task="Nothing")


def test_one_task_needs_its_own_plugins_only(run: Path) -> None:
    plugins = discover(blocked=["pytext-plugins-lm"])
    assert mtl.load(run, task="SST2", plugins=plugins).predict("SST2", "a fine film")
    with pytest.raises(UsageError, match="LMTask"):
        mtl.load(run, task="LM", plugins=plugins)


def test_another_version_than_the_runs_is_reported(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    path = copy / "model/versions.json"
    versions = json.loads(path.read_text())
    versions["pytext-plugins-lm"]["version"] = "0.0.7"
    path.write_text(json.dumps(versions))
    (copy / "model/manifest.json").unlink()
    write_manifest(copy / "model")
    mtl.load(copy, task="SST2")
    assert "0.0.7" not in caplog.text
    mtl.load(copy)
    assert "made with pytext-plugins-lm 0.0.7 (0.1.0 is installed); results may differ" in caplog.text


def test_an_unknown_task_is_refused_with_those_there_are(loaded: LoadedRun) -> None:
    with pytest.raises(UsageError, match="SST2, LM"):
        list(loaded.predict("SST", rows(["a"])))


def test_more_rows_than_a_chunk_come_back_in_order(loaded: LoadedRun) -> None:
    texts = [TEXTS[index % 3] for index in range(2500)]
    labels = [answer["label"] for answer in loaded.predict("SST2", rows(texts))]
    expected = [answer["label"] for answer in loaded.predict("SST2", rows(TEXTS[:3]))]
    assert labels == [expected[index % 3] for index in range(2500)]


def test_a_model_trained_with_a_plugin_that_is_gone_says_which(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        mtl.load(run, plugins=discover(blocked=["pytext-plugins-lm"]))
    assert "LMTask" in str(error.value) and "pytext-plugins-lm" in str(error.value)
