"""Files as people publish them: trained as they are, with one setting, or refused with that setting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import mtl
from mtl.errors import UsageError

Rows = list[tuple[str, str]]
WORDS = ["bright", "dull", "warm", "flat", "clever", "noisy"]


def rows(begin: int, count: int) -> Rows:
    """Texts whose label is that of their last word."""
    return [(f"film {n} has a {WORDS[n % 6]} plot", "10"[n % 2]) for n in range(begin, begin + count)]


def joined(*cells: str, sep: str = "\t", header: str = "") -> Callable[[Rows], str]:
    """A line per row: `T` stands for its text, `L` for its label, `N` for its number."""

    def write(of: Rows) -> str:
        lines = [
            sep.join(cell.replace("T", text).replace("L", label).replace("N", str(number)) for cell in cells)
            for number, (text, label) in enumerate(of)
        ]
        return header + "".join(f"{line}\n" for line in lines)

    return write


def objects(of: Rows) -> str:
    return "".join(
        json.dumps({"id": n, "text": t, "label": int(label)}) + "\n" for n, (t, label) in enumerate(of)
    )


def array(of: Rows) -> str:
    return json.dumps([{"text": text, "label": label} for text, label in of], indent=1)


@frozen
class Layout:
    """A published layout; `data` reads it, and without it the file is `refused` with these words."""

    write: Callable[[Rows], str]
    refused: str | None = None
    source: str = "TSV"
    data: dict[str, Any] | None = None
    task: str = "DocClassificationTask"
    notice: str = ""


GLUE_COLUMNS = '`"columns": {"text": N, "label": N}`'
LAYOUTS: dict[str, Layout] = {
    "SST-2 of GLUE: sentence, label": Layout(joined("T ", "L", header="sentence\tlabel\n")),
    "CoLA of GLUE: no header, four columns": Layout(
        joined("bc01", "L", "*", "T"), GLUE_COLUMNS, data={"columns": {"text": 3, "label": 1}}
    ),
    "MRPC: label and ids before two texts": Layout(
        joined("L", "N", "N", "T", "so is T", header="Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"),
        'set `"columns": {"text1": N, "text2": N, "label": N}`',
        data={"columns": {"text1": "#1 String", "text2": "#2 String", "label": "Quality"}},
        task="PairClassificationTask",
        notice="does not read `#1 ID`, `#2 ID`",
    ),
    "QNLI: index, question, sentence, label": Layout(
        joined("N", "what is T ?", 'T "quoted', "L", header="index\tquestion\tsentence\tlabel\n"),
        notice="reads `sentence` as `text`, `label`; does not read `index`, `question`",
    ),
    "STS-B: many columns and a score": Layout(
        joined(
            "N", "main", "x", "T", "T too", "L.5", header="index\tgenre\tyear\tsentence1\tsentence2\tscore\n"
        ),
        task="RegressionTask",
        data={"columns": {"text": "sentence1"}},
        refused="must be there",
        notice="does not read `index`, `genre`, `year`, `sentence2`",
    ),
    "AG News: quoted CSV without a header, label first": Layout(
        joined('"L"', '"T"', '"it says, T"', sep=","),
        "use the data source `CSV`",
        source="CSV",
        data={"columns": {"label": 0, "text": 2}},
    ),
    "fastText: __label__": Layout(joined("__label__L T")),
    "SMS Spam: label first, no header": Layout(
        joined("L", "T"), '`"columns": {"text": 1, "label": 0}`', data={"columns": {"text": 1, "label": 0}}
    ),
    "Kaggle: CSV with an id": Layout(
        joined("N", '"T, so ""they"" say"', "L", sep=",", header="id,text,label\n"),
        "use the data source `CSV`",
        source="CSV",
        data={},
        notice="does not read `id`",
    ),
    "a JSON array": Layout(array, "looks like a JSON array", source="JSONL"),
    "JSON lines": Layout(objects, "use the data source `JSONL`", source="JSONL", data={}, notice="`id`"),
}


def config(folder: Path, layout: Layout, source: str, data: dict[str, Any]) -> dict[str, Any]:
    (folder / "train").write_text(layout.write(rows(0, 40)))
    (folder / "dev").write_text(layout.write(rows(40, 12)))
    task = {
        "data": {source: {"train_path": "train", "eval_path": "dev", **data}},
        "features": {"word_feat": {"embed_dim": 4}},
        "representation": {"BiLSTMDocAttention": {"lstm": {"lstm_dim": 2}}},
    }
    return {"base_dir": str(folder), "tasks": {"T": {layout.task: task}}, "trainer": {"max_steps": 2}}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_is_trained_or_refused_with_the_setting(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    first = "TSV" if layout.data is not None else layout.source
    options = {"delimiter": ","} if layout.source == "CSV" else {}
    as_it_is = config(tmp_path, layout, first, options)
    if layout.refused is not None:
        with pytest.raises(UsageError) as caught:
            mtl.plan(as_it_is)
        assert layout.refused in str(caught.value)
        if layout.data is None:
            return
        as_it_is = config(tmp_path, layout, layout.source, layout.data)
    planned = mtl.plan(as_it_is)
    assert (planned["tasks"]["T"]["train"]["rows"], planned["tasks"]["T"]["eval"]["rows"]) == (40, 12)
    assert layout.notice in "\n".join(planned["notices"])
    if layout.task != "RegressionTask":
        assert planned["tasks"]["T"]["train"]["labels"]["counts"] == {"0": 20, "1": 20}
    mtl.train(as_it_is, output=tmp_path / "run")
    loaded = mtl.load(tmp_path / "run")
    answers = list(loaded.predict_file("T", tmp_path / "dev"))
    assert len(answers) == 12 and not any("error" in answer for answer in answers)
    if layout.task == "DocClassificationTask" and layout.source != "CSV" and "QNLI" not in name:
        assert [{key: answer[key] for key in ("label", "probabilities")} for answer in answers] == (
            loaded.predict("T", [text for text, _ in rows(40, 12)])
        )


def lines_of_words(of: Rows) -> str:
    return "".join(f"{text}\n" for text, _ in of)


def conll(of: Rows) -> str:
    """A word and its tag per line, a blank line after each sentence."""
    return "".join("".join(f"{word}\tX\t{'NV'[len(word) % 2]}\n" for word in t.split()) + "\n" for t, _ in of)


@pytest.mark.parametrize(
    ("task", "write", "data"),
    [
        ("LMTask", lines_of_words, {"TextLines": {}}),
        ("TaggingTask", conll, {"CoNLL": {"columns": {"words": 0, "tags": 2}}}),
    ],
)
def test_lines_of_words_are_trained_on(
    task: str, write: Callable[[Rows], str], data: dict[str, Any], tmp_path: Path
) -> None:
    [(source, options)] = data.items()
    (tmp_path / "train").write_text(write(rows(0, 40)))
    settings = {
        "data": {source: {"train_path": "train", **options}},
        "features": {"word_feat": {"embed_dim": 4}},
    }
    made = {"base_dir": str(tmp_path), "tasks": {"T": {task: settings}}, "trainer": {"max_steps": 2}}
    assert mtl.plan(made)["tasks"]["T"]["train"]["rows"] == 40
    mtl.train(made, output=tmp_path / "run")
    answers = list(mtl.load(tmp_path / "run").predict_file("T", tmp_path / "train"))
    assert len(answers) == 40 and not any("error" in answer for answer in answers)
