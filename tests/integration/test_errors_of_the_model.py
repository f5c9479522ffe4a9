"""`mtl test --errors`: the rows that a model gets wrong, calibration and slices."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtl
from mtl.commands import main
from mtl.components import Judgment
from mtl.runs import Judged, judge


@pytest.fixture(scope="module")
def run(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("errors") / "run"
    return mtl.train(tiny_config, output=folder, quiet=True).folder


def test_every_wrong_row_is_written(
    run: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "errors.csv"
    data = tiny_corpus / "train.tsv"
    command = ["test", str(run), "--task", "SST2", "--data", str(data), "--errors", str(file)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "rows are wrong" in said and "expected calibration error" in said and "length" in said
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    texts = [line.split("\t") for line in data.read_text().splitlines()[1:]]
    predictions = mtl.load(run).predict("SST2", [text for text, _ in texts])
    expected = {
        (number, text, gold, each["label"], each["probabilities"][each["label"]])
        for number, ((text, gold), each) in enumerate(zip(texts, predictions, strict=True), start=2)
        if each["label"] != gold
    }
    found = [
        (int(row["line"]), row["text"], row["gold"], row["prediction"], float(row["probability"]))
        for row in rows
    ]
    assert 0 < len(expected) < len(texts)
    assert {each[:4] for each in found} == {each[:4] for each in expected}
    by_line = {each[0]: each[4] for each in expected}
    assert all(each[4] == pytest.approx(by_line[each[0]], rel=1e-5) for each in found)
    assert [each[4] for each in found] == sorted((each[4] for each in found), reverse=True)

    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    errors = told["errors"]["SST2"]
    assert errors["wrong"] == len(rows) and errors["rows"] == len(texts)
    assert told["metrics"]["SST2"]["accuracy"] == pytest.approx(1 - len(rows) / len(texts))
    for by in ("length", "label"):
        of = [each for each in errors["slices"] if each["by"] == by]
        assert sum(each["rows"] for each in of) == len(texts) and len(of) > 1
        right = sum(each["rows"] * each["right"] for each in of)
        assert right == pytest.approx(len(texts) - len(rows))


def test_a_language_model_has_no_wrong_rows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "errors.csv"
    assert main(["test", str(run), "--task", "LM", "--errors", str(file)]) == 2
    assert "no row is right or wrong for LM" in capsys.readouterr().err and not file.exists()
    assert main(["test", str(run), "--errors", str(file)]) == 0
    assert {row["task"] for row in csv.DictReader(io.StringIO(file.read_text()))} <= {"SST2"}


def test_calibration_is_that_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    probability = generator.uniform(0.5, 1, 4000)

    def error(right: np.ndarray) -> float:
        judgments = [Judgment("a", "b", bool(r), float(p)) for r, p in zip(right, probability, strict=True)]
        found = Judged("T", "test", None, np.arange(4000), judgments).calibration_error()  # type: ignore[arg-type]
        assert found is not None
        return found

    assert error(generator.uniform(size=4000) < probability) < 0.03
    assert error(np.ones(4000)) == pytest.approx(1 - probability.mean())
    assert error(np.zeros(4000)) == pytest.approx(probability.mean())


def test_some_rows_evenly_spread_keep_their_texts(run: Path) -> None:
    loaded = mtl.load(run)
    some, whole = judge(loaded, "SST2", "train", most=5), judge(loaded, "SST2", "train")
    assert some is not None and whole is not None and len(some.judgments) == 5
    all_rows = {row["line"]: row["text"] for row in whole.error_rows(loaded)}
    assert all(row["text"] == all_rows[row["line"]] for row in some.error_rows(loaded))
    assert judge(loaded, "LM") is None
