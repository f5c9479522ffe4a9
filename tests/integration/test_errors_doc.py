"""docs/errors.md: each input of its tables is made, and what the table says is what a user sees."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from attrs import define

from mtl.commands import main

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/errors.md"
ROWS = b"sentence\tlabel\n" + b"a warm film\t1\na dull film\t0\n" * 8
OBJECTS = b'{"text": "a warm film", "label": 1}\n{"text": "a dull film", "label": 0}\n' * 8
TASK = "tasks.SST2.DocClassificationTask"
DATA = f"{TASK}.data"


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.split(" |")] for line in lines]
    return {row[0].removeprefix("| "): row[1:-1] for row in rows}


@define
class Place:
    """A folder with a config and its data, where a command runs."""

    path: Path
    invoke: Callable[..., tuple[int, str]]

    def write(self, name: str, content: bytes | str) -> None:
        """Replace a file."""
        (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def plan(self, *overrides: str, config: str = "config.json") -> tuple[int, str]:
        """`mtl plan` of the config, with these settings."""
        return self.invoke("plan", config, *(word for each in overrides for word in ("--set", each)))

    def facts(self, *overrides: str) -> dict[str, Any]:
        """What `mtl plan --json` says of the task's data."""
        options = [word for each in overrides for word in ("--set", each)]
        status, out = self.invoke("plan", "config.json", "--json", *options)
        assert status == 0, out
        planned = json.loads(out[: out.rindex("}") + 1])
        expected = ("are training rows", "does not read `id`", "need a `tokenizer`")
        assert [each for each in planned["notices"] if not each.endswith(expected)] == []
        facts: dict[str, Any] = planned["tasks"]["SST2"]["train"]
        return {name: value for name, value in facts.items() if name != "path"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    """The config is right, and so is its data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *arguments: None)

    def invoke(*words: str) -> tuple[int, str]:
        status = main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, (out + err).replace(f"{tmp_path}/", "")

    made = Place(tmp_path, invoke)
    data = {"train_path": "train.tsv", "eval_path": "eval.tsv"}
    config = {"tasks": {"SST2": {"DocClassificationTask": {"data": data}}}, "device": "cpu"}
    made.write("config.json", json.dumps(config, indent=2))
    made.write("train.tsv", ROWS)
    made.write("eval.tsv", ROWS)
    made.write("words.txt", "a\nfilm\n")
    return made


# --- what is right --------------------------------------------------------------------------------------

TSV_AS_IT_IS: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + ROWS,
    "lines that end with CR LF": ROWS.replace(b"\n", b"\r\n"),
    "blank lines, in between and at the end": b"\n" + ROWS.replace(b"\n", b"\n  \n") + b"\n\n",
    "no line end at the end": ROWS.removesuffix(b"\n"),
    "no header": ROWS.split(b"\n", 1)[1],
    "columns in another order, or more of them": b"id\tlabel\tsentence\n"
    + b"7\t1\ta warm film\n7\t0\ta dull film\n" * 8,
    "spaces around a cell": ROWS.replace(b"\t", b" \t  "),
    "stray quotes": ROWS.replace(b"a warm", b'"warm').replace(b"a dull", b"''dull"),
    "control characters within a text": ROWS.replace(b"warm", b"w\x1b[31mrm"),
}


@pytest.mark.parametrize("name", TSV_AS_IT_IS)
def test_valid_input_is_read_unchanged(name: str, place: Place) -> None:
    expected = place.facts()
    place.write("train.tsv", TSV_AS_IT_IS[name])
    facts = place.facts()
    words = 2 if "quotes" in name else 3
    assert facts["words"] == words * facts["rows"]
    if words == 3:
        assert facts == expected
    assert facts["rows"] == 16


def test_json_lines_may_be_blank_too(place: Place) -> None:
    expected = place.facts()
    place.write("train.tsv", b"\xef\xbb\xbf" + OBJECTS.replace(b"\n", b"\r\n\r\n"))
    place.write("eval.tsv", OBJECTS)
    data = json.dumps({"JSONL": {"train_path": "train.tsv", "eval_path": "eval.tsv"}})
    assert place.facts(f"{DATA}={data}") == expected


def test_every_valid_example_is_tested() -> None:
    assert list(table("What is right")) == list(TSV_AS_IT_IS)


# --- what is wrong --------------------------------------------------------------------------------------

Fault = Callable[[Place], tuple[int, str]]
FAULTS: dict[str, dict[str, Fault]] = {}


def fault(heading: str, name: str) -> Callable[[Fault], Fault]:
    """Names the row of the document that a function makes."""

    def note(make: Fault) -> Fault:
        FAULTS.setdefault(heading, {})[name] = make
        return make

    return note


def rows_with(line: bytes) -> bytes:
    """The rows, with one more in line 4."""
    lines = ROWS.split(b"\n")
    return b"\n".join([*lines[:3], line, *lines[3:]])


def of_file(heading: str, files: dict[str, bytes], name: str, *overrides: str) -> None:
    """Rows of the document about what a file holds."""

    def maker(content: bytes) -> Fault:
        def make(place: Place) -> tuple[int, str]:
            place.write(name, content)
            return place.plan(*overrides)

        return make

    FAULTS.setdefault(heading, {}).update({row: maker(content) for row, content in files.items()})


of_file(
    "Rows",
    {
        "bytes that are no UTF-8": rows_with(b"na\xefve\t1"),
        "NUL": rows_with(b"n\0l\t1"),
        "a missing column": rows_with(b"no tab here"),
        "a tab inside a text, a surplus column": rows_with(b"a\twarm film\t1"),
        "tabs and nothing else": rows_with(b" \t"),
        "an empty text": rows_with(b" \t1"),
        "an empty label": rows_with(b"a film\t "),
        "a line of 20 MB": rows_with(b"x" * 20_000_000 + b"\t1"),
        "a header with other names": ROWS.replace(b"sentence\tlabel", b"review\tstars"),
        "a header with only some of the names": ROWS.replace(b"sentence", b"review"),
        "no header, and more columns than the task reads": ROWS.split(b"\n", 1)[1].replace(b"\t", b"\tx\t"),
        "no header, and the label first": b"".join(b"%d\ta warm film %d\n" % (n % 2, n) for n in range(9)),
        "cells in quotes": ROWS.replace(b"a warm film", b'"a warm film"').replace(
            b"a dull film", b'"a dull film"'
        ),
        "another delimiter": ROWS.replace(b"\t", b";"),
        "JSON lines in a table": OBJECTS,
        "an empty file": b"",
        "a header and nothing else": b"sentence\tlabel\n",
        "one label in all rows": ROWS.replace(b"\t0", b"\t1"),
        "a column of texts where the labels should be": b"".join(b"a\tlabel %d\n" % n for n in range(30)),
    },
    "train.tsv",
)
of_file(
    "Rows",
    {
        "a label that no training row has": rows_with(b"a film\t2"),
        "no rows to evaluate on": b"sentence\tlabel\n",
    },
    "eval.tsv",
)


@fault("Rows", 'bad rows, with `"on_bad_row": "skip"`')
def _(place: Place) -> tuple[int, str]:
    place.write("train.tsv", rows_with(b"no tab here\n\xff\t1"))
    return place.plan(f"{DATA}.on_bad_row=skip", f"{DATA}.max_skipped_share=0.2")


@fault("Rows", 'nothing but bad rows, with `"on_bad_row": "skip"`')
def _(place: Place) -> tuple[int, str]:
    place.write("train.tsv", b"sentence\tlabel\nno tab here\n")
    return place.plan(f"{DATA}.on_bad_row=skip", f"{DATA}.max_skipped_share=1")


@fault("Rows", 'many bad rows, with `"on_bad_row": "skip"`')
def _(place: Place) -> tuple[int, str]:
    place.write("train.tsv", rows_with(b"no tab here"))
    return place.plan(f"{DATA}.on_bad_row=skip")


def zipped(*contents: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"part{number}.tsv", content)
    return file.getvalue()


def json_row(line: bytes) -> Fault:
    def make(place: Place) -> tuple[int, str]:
        place.write("train.tsv", OBJECTS + line + b"\n")
        return place.plan(f'{DATA}={{"JSONL": {{"train_path": "train.tsv"}}}}')

    return make


FAULTS["Rows"] |= {
    "JSON lines: null": json_row(b'{"text": "a film", "label": null}'),
    "JSON lines: a number where a label should be": json_row(b'{"text": "a film", "label": 0.5}'),
    "JSON lines: no object": json_row(b"[1]"),
    "JSON lines: no JSON": json_row(b'{"text": "a film", }'),
    "JSON lines: a missing key": json_row(b'{"text": "a film"}'),
    "JSON lines: a wrong type": json_row(b'{"text": 7, "label": 1}'),
    "JSON lines: deep nesting": json_row(b"[" * 100_000),
    "JSON lines: half a surrogate pair": json_row(b'{"text": "\\ud800", "label": 1}'),
}


@fault("Rows", "a language model over a text that is one line")
def _(place: Place) -> tuple[int, str]:
    place.write("train.tsv", b"word " * 4_000_000)
    place.write("config.json", '{"task": {"LMTask": {"data": {"train_path": "train.tsv"}}}}')
    return place.plan()


@fault("Rows", "JSON lines: an array")
def _(place: Place) -> tuple[int, str]:
    place.write("train.tsv", b"[" + OBJECTS.replace(b"\n", b",\n") + b"]")
    return place.plan(f'{DATA}={{"JSONL": {{"train_path": "train.tsv"}}}}')


# Files.

of_file(
    "Files",
    {
        "UTF-16": ROWS.decode().encode("utf-16"),
        "Latin-1 or Windows-1252": ROWS.replace(b"warm", b"na\xefve"),
        "a compressed file that was cut off": gzip.compress(ROWS)[:-9],
        "a zip archive of several files": zipped(ROWS, ROWS),
        "a Parquet file": b"PAR1" + bytes(50),
    },
    "train.tsv",
)


@fault("Files", "a path that leads nowhere")
def _(place: Place) -> tuple[int, str]:
    return place.plan(f"{DATA}.train_path=trian.tsv")


@fault("Files", "a folder")
def _(place: Place) -> tuple[int, str]:
    (place.path / "folder").mkdir()
    return place.plan(f"{DATA}.train_path=folder")


@fault("Files", "a pipe")
def _(place: Place) -> tuple[int, str]:
    os.mkfifo("pipe")
    return place.plan(f"{DATA}.train_path=pipe")


@fault("Files", "a file that may not be read")
def _(place: Place) -> tuple[int, str]:
    (place.path / "train.tsv").chmod(0)
    if os.geteuid() != 0:
        return place.plan()
    folders = [place.path, *place.path.parents[:2]]
    for folder in folders:
        folder.chmod(0o711)
    os.seteuid(65534)  # the superuser reads everything
    try:
        return place.plan()
    finally:
        os.seteuid(0)
        for folder in folders:
            folder.chmod(0o700)


@fault("Files", "`mtl test --data` with a pipe")
def _(place: Place) -> tuple[int, str]:
    os.mkfifo("pipe")
    place.invoke("train", "config.json", "--output", "run", "--set", "trainer.max_steps=1", "--quiet")
    return place.invoke("test", "run", "--task", "SST2", "--data", "pipe")


# Sources of mtl-tasks.


def of_source(
    task: str, source: str, content: bytes, columns: dict[str, Any] | None = None, **settings: Any
) -> Fault:
    """A file that another source reads, for a task that needs it."""

    def make(place: Place) -> tuple[int, str]:
        place.write("rows", content)
        data = {source: {"train_path": "rows", "columns": columns or {}}}
        return place.plan(f"tasks={json.dumps({'SST2': {task: {'data': data, **settings}}})}")

    return make


def questions(*answers: dict[str, Any], **more: Any) -> bytes:
    """A question about `Ada in Rome`, as SQuAD's JSON."""
    asked = {"id": "1", "question": "Where?", "answers": list(answers), **more}
    paragraphs = [{"context": "Ada in Rome", "qas": [asked]}]
    return json.dumps({"data": [{"title": "T", "paragraphs": paragraphs}]}).encode()


FRAME = pl.DataFrame({"review": ["a film"] * 4, "label": [0.5, 1.5, 2.5, 3.5]})


def as_parquet(frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


FAULTS["Other sources"] = {
    "`CSV`: a quote that is not closed": of_source(
        "DocClassificationTask", "CSV", b'text,label\n"a film,1\ndull,0\n'
    ),
    "`CSV`: text after a quoted cell": of_source(
        "DocClassificationTask", "CSV", b'text,label\n"a" film,1\ndull,0\n'
    ),
    "`CSV`: a row with another number of cells": of_source(
        "DocClassificationTask", "CSV", b"text,label\na film,1\na long, dull film,0\n"
    ),
    "`CoNLL`: a line with another number of columns": of_source(
        "TaggingTask", "CoNLL", b"Ada B-PER\nslept\n\nRome B-LOC\n"
    ),
    "`CoNLL`: a column by name, without names": of_source(
        "TaggingTask", "CoNLL", b"Ada B-PER\n", columns={"tags": "UPOS"}
    ),
    "`CoNLL`: a column that is not there": of_source(
        "TaggingTask", "CoNLL", b"Ada B-PER\n", columns={"tags": 3}
    ),
    "`CoNLL`: a tag that continues no span": of_source(
        "TaggingTask", "CoNLL", b"Ada B-PER\nin O\nRome I-LOC\n", scheme="BIO"
    ),
    "`Parquet`: a file that is cut off": of_source(
        "DocClassificationTask", "Parquet", as_parquet(FRAME)[:-20], columns={"text": "review"}
    ),
    "`Parquet`: another file": of_source("DocClassificationTask", "Parquet", ROWS),
    "`Parquet`: a column that is not there": of_source("DocClassificationTask", "Parquet", as_parquet(FRAME)),
    "`Parquet`: a column of another type": of_source(
        "DocClassificationTask", "Parquet", as_parquet(FRAME), columns={"text": "review"}
    ),
    "`SQuAD`: no JSON": of_source("SpanTask", "SQuAD", b'{"data": [}'),
    "`SQuAD`: other JSON": of_source("SpanTask", "SQuAD", b'[{"question": "Where?"}]'),
    "`SQuAD`: an answer that is not where it should be": of_source(
        "SpanTask", "SQuAD", questions({"text": "Rome", "answer_start": 6})
    ),
    "`SQuAD`: an answer beyond the context": of_source(
        "SpanTask", "SQuAD", questions({"text": "Rome", "answer_start": 60})
    ),
    "`SQuAD`: a question without answers to train on": of_source(
        "SpanTask", "SQuAD", questions().replace(b', "answers": []', b"")
    ),
    "`JSONL`: a dotted key that leads nowhere": of_source(
        "DocClassificationTask", "JSONL", b'{"a": {"b": "film"}, "label": 1}\n', columns={"text": "a.c"}
    ),
}


# Splits.


def divided(**data: Any) -> Fault:
    """The task's rows divided, without an evaluation file unless it is named."""
    settings = json.dumps({"train_path": "train.tsv", **data})
    return lambda place: place.plan(f"{DATA}={settings}")


FAULTS["Splits"] = {
    "a fraction and a path for one split": divided(eval_fraction=0.1, eval_path="eval.tsv"),
    "fractions that leave no training rows": divided(eval_fraction=0.6, test_fraction=0.4),
    "a test file that is the training file": divided(eval_fraction=0.5, test_path="train.tsv"),
    "a fold that does not exist": divided(eval_fraction=0.25, eval_fold=4),
    "`stratify_by` without a fraction": divided(stratify_by="label"),
    "a column that the file does not have": divided(eval_fraction=0.5, group_by="author"),
    "too few rows": divided(test_fraction=0.01),
}


@fault("Splits", "training files that have changed since the run")
def _(place: Place) -> tuple[int, str]:
    place.write("train.tsv", b"".join(b"a film %d\t%d\n" % (n, n % 2) for n in range(20)))
    data = json.dumps({"train_path": "train.tsv", "test_fraction": 0.5})
    run = ["train", "config.json", "--output", "run", "--set", "trainer.max_steps=1", "--quiet"]
    status, said = place.invoke(*run, "--set", f"{DATA}={data}")
    assert status == 0, said
    place.write("train.tsv", b"".join(b"a film %d\t%d\n" % (n, n % 2) for n in range(1, 21)))
    return place.invoke("test", "run")


# Vocabularies.

VOCABULARY = f"{TASK}.features.word_feat.vocab_file=words.txt"
of_file(
    "Vocabularies",
    {
        "an empty file": b"",
        "nothing but special tokens": b"__PAD__\n<unk>\n",
        "a space within a word": b"a\nwarm film\n",
        "bytes that are no UTF-8": b"a\nna\xefve\n",
        "words that are there twice": b"a\nfilm\nA\n",
        "lines without a word": b"\t3\na\n\nfilm\n",
    },
    "words.txt",
    VOCABULARY,
)


@fault("Vocabularies", "no word that is frequent enough")
def _(place: Place) -> tuple[int, str]:
    return place.plan(f"{TASK}.features.word_feat.min_count=1000")


of_file(
    "Word vectors",
    {
        "vectors of another width": b"a 1 2 3\nfilm 4 5 6\n",
        "a file without vectors": b"a\nfilm\n",
        "a line with fewer numbers": b"a 1 2\nfilm 1\n",
        "what is not a finite number": b"a 1 2\nfilm nan 2\n",
        "words that do not occur": b"un 1 2\nchien 3 4\n",
    },
    "vectors.txt",
    f'{TASK}.features={{"word_feat": {{"vectors_file": "vectors.txt", "embed_dim": 2}}}}',
)


@fault("Word vectors", "a NumPy array without its words")
def _(place: Place) -> tuple[int, str]:
    place.write("vectors.npy", b"")
    return place.plan(f'{TASK}.features={{"word_feat": {{"vectors_file": "vectors.npy", "embed_dim": 2}}}}')


def encoder(place: Place, task: str = TASK, files: dict[str, Any] | None = None, **settings: Any) -> str:
    """A folder with a tiny pretrained model without weights, and the setting that names it."""
    folder = place.path / "encoder"
    folder.mkdir(exist_ok=True)
    marks = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    post = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    model = {"type": "WordLevel", "vocab": {**marks, "film": 5}, "unk_token": "[UNK]"}
    described: dict[str, Any] = {
        "config.json": {
            "model_type": "bert",
            "hidden_size": 4,
            "vocab_size": 6,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 4,
            "max_position_embeddings": 16,
        },
        "tokenizer.json": {"version": "1.0", "model": model, "post_processor": post},
        "tokenizer_config.json": {"pad_token": "[PAD]", "mask_token": "[MASK]"},
        **(files or {}),
    }
    for name, content in described.items():
        if content is not None:
            place.write(f"encoder/{name}", content if isinstance(content, bytes) else json.dumps(content))
    feature = json.dumps({"pretrained_feat": {"model": "encoder", "align": None, **settings}})
    return f"{task}.features={feature}"


POOLED = f'{TASK}.representation={{"PooledRepresentation": {{"encoder": "Identity", "pooling": "MeanPool"}}}}'
LM = "tasks.SST2.LMTask"


def with_encoder(name: str, files: dict[str, Any] | None = None, **settings: Any) -> None:
    """A row of the document about a classifier over the tiny model."""

    def make(place: Place) -> tuple[int, str]:
        return place.plan(encoder(place, files=files, **settings), POOLED)

    FAULTS.setdefault("Pretrained models", {})[name] = make


with_encoder("a folder without a model", {"config.json": None})
with_encoder("a folder without a fast tokenizer", {"tokenizer.json": None})
with_encoder("a model without weights")
with_encoder("pickled weights", {"pytorch_model.bin": b"PK"})
with_encoder(
    "a model that brings code",
    {"config.json": {"model_type": "x", "auto_map": {"AutoModel": "x.X"}, "hidden_size": 4}},
)
with_encoder("a damaged tokenizer", {"tokenizer.json": {"model": 3}, "model.safetensors": b""})
with_encoder("sequences longer than the model reads", max_length=600)
with_encoder("another model than the config says", hidden_size=5)
with_encoder("more frozen layers than there are", {"model.safetensors": b""}, freeze_layers=3)


@fault("Pretrained models", "a name that is neither a folder nor in the cache, without network")
def _(place: Place) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place.path / "cache"))
        return place.plan(encoder(place, model="acme/no-such-model"), POOLED)


def over_encoder(place: Place, objective: str, feature: str, **settings: Any) -> tuple[int, str]:
    """Plan a language model instead of the classifier."""
    task = {
        "data": {"train_path": "train.tsv"},
        "objective": objective,
        "representation": "Identity",
        **settings,
    }
    place.write("config.json", json.dumps({"tasks": {"SST2": {"LMTask": task}}, "device": "cpu"}))
    return place.plan(feature)


@fault("Pretrained models", "a next-word model over an encoder that sees all words")
def _(place: Place) -> tuple[int, str]:
    return over_encoder(place, "next-word", encoder(place, LM))


@fault("Pretrained models", "a language model over pieces that are aligned to words")
def _(place: Place) -> tuple[int, str]:
    return over_encoder(place, "masked", encoder(place, LM, align="first"))


@fault("Pretrained models", "whole words over features of words")
def _(place: Place) -> tuple[int, str]:
    feature = f'{LM}.features={{"word_feat": {{}}}}'
    return over_encoder(place, "masked", feature, whole_words=True)


# Configs.


def with_config(text: bytes | str, name: str = "config.json") -> Fault:
    def make(place: Place) -> tuple[int, str]:
        place.write(name, text)
        return place.plan(config=name)

    return make


def with_settings(*overrides: str) -> Fault:
    return lambda place: place.plan(*overrides)


FAULTS["Configs"] = {
    "an empty file": with_config(""),
    "no JSON": with_config('{\n  "seed": 1,\n}'),
    "bytes that are no UTF-8": with_config(b'{\n  "seed": "\xff"}'),
    "a key twice": with_config('{\n  "seed": 1,\n  "seed": 2, "tasks": {}}'),
    "NaN": with_config('{\n  "seed": NaN}'),
    "a number that is none": with_config('{\n  "seed": 1e999}'),
    "deep nesting": with_config('{"tasks": ' + "[" * 100_000),
    "50 MB": with_config(" " * 50_000_000),
    "half a surrogate pair": with_config('{\n  "tasks": {"\\ud800": "LMTask"}}'),
    "YAML: a tag": with_config("seed: !!int 3", "config.yaml"),
    "YAML: a merge key": with_config("a: &a {}\nb:\n  <<: *a", "config.yaml"),
    "YAML: aliases of aliases": with_config(
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        "config.yaml",
    ),
    "YAML: no YAML": with_config("seed: 1\n device: cpu", "config.yaml"),
    "TOML: no TOML": with_config("seed = 1\ndevice = cpu", "config.toml"),
    "TOML: a date": with_config("base_dir = 2024-01-01", "config.toml"),
    "a misspelled key": with_settings("trainer.epcohs=3"),
    "a misspelled component": with_config('{\n  "tasks": {\n    "SST2": {"DocClasificationTask": {}}}}'),
    "a misspelled task": with_settings("target_task=SST"),
    "a string for a number": with_settings('trainer.epochs="3"'),
    "a size of zero": with_settings(f"{TASK}.batch_size=0"),
    "a negative size": with_settings(f"{TASK}.features.word_feat.embed_dim=-1"),
    "a negative rate": with_settings("trainer.optimizer.lr=-0.1"),
    "a dropout of one": with_settings(f"{TASK}.representation.dropout=1"),
    "`--set` without a value": with_settings("trainer.epochs"),
    "a label mapped to one that the task does not have": with_settings(
        f'{TASK}.labels=["0", "1"]', f'{TASK}.label_map={{"yes": "2"}}'
    ),
    "the name of a table from Python in a file": with_settings(f"{DATA}.train_path=table:12"),
}


@fault("Configs", "a path that leads nowhere")
def _(place: Place) -> tuple[int, str]:
    return place.plan(config="confg.json")


@fault("Configs", "a folder")
def _(place: Place) -> tuple[int, str]:
    return place.plan(config=".")


@fault("Configs", "a pipe")
def _(place: Place) -> tuple[int, str]:
    os.mkfifo("pipe")
    return place.plan(config="pipe")


# Commands.


@fault("Commands", "a misspelled command")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("trian", "config.json")


@fault("Commands", "a misspelled option")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("train", "config.json", "--ouput", "run")


@fault("Commands", "an output folder that holds a run")
def _(place: Place) -> tuple[int, str]:
    words = ["train", "config.json", "--output", "run", "--set", "trainer.max_steps=1", "--quiet"]
    assert place.invoke(*words)[0] == 0
    return place.invoke(*words)


@fault("Commands", "an output folder that is a file")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("train", "config.json", "--output", "words.txt", "--quiet")


@fault("Commands", "a folder that holds no run")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("test", ".")


@fault("Commands", "`--from` a run that has nothing in common")
def _(place: Place) -> tuple[int, str]:
    assert (
        place.invoke("train", "config.json", "--output", "run", "--set", "trainer.max_steps=1", "--quiet")[0]
        == 0
    )
    place.write("other.json", Path("config.json").read_text().replace('"SST2"', '"Other"'))
    return place.invoke("plan", "other.json", "--from", "run")


@fault("Commands", "`mtl data fetch` of an unknown dataset")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("data", "fetch", "colla")


@fault("Commands", "`mtl data check` on data with a fault")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("data", "check", "config.json")


@fault("Commands", "`mtl compare --folds` with `--seeds`")
def _(place: Place) -> tuple[int, str]:
    return place.invoke("compare", "config.json", "--folds", "3", "--seeds", "2")


@fault("Commands", "a GPU that is not there")
def _(place: Place) -> tuple[int, str]:
    return place.plan("device=cuda")


# Notices.


def noticed(rows: bytes, *overrides: str, evaluated: bytes | None = None) -> Fault:
    """The plan of these training rows, and of these evaluation rows."""

    def make(place: Place) -> tuple[int, str]:
        place.write("train.tsv", rows)
        if evaluated is not None:
            place.write("eval.tsv", evaluated)
        return place.plan(*overrides)

    return make


def labelled(*counts: tuple[str, int]) -> bytes:
    """Rows of which so many have each label."""
    texts = itertools.count()
    return b"sentence\tlabel\n" + b"".join(
        b"film %d\t%s\n" % (next(texts), label.encode()) for label, count in counts for _ in range(count)
    )


FAULTS["Notices"] = {
    "columns that are not read": noticed(ROWS.replace(b"\n", b"\t7\n").replace(b"label\t7", b"label\tid")),
    "a label in two spellings": noticed(labelled(("0", 8), ("0.0", 8), ("1", 8))),
    "a label that is several": noticed(
        labelled(("ok", 9), ("rude", 9), ("ok,rude", 9)), evaluated=labelled(("ok", 1))
    ),
    "a label with few rows": noticed(labelled(("0", 9), ("1", 9), ("l", 2))),
    "a label that nearly all rows have": noticed(labelled(("0", 5), ("1", 120))),
    "a mark of rows without a label": noticed(labelled(("0", 9), ("1", 9), ("-", 6))),
    "numbers in quantity": noticed(
        labelled(*((f"{n / 7:.2f}", 6) for n in range(20))), evaluated=labelled(("1.00", 1))
    ),
    "rows without a label, with `ignore_labels`": noticed(
        labelled(("0", 9), ("1", 9), ("-", 6)), f'{TASK}.ignore_labels=["-"]'
    ),
    "JSON lines: a label as a number and as a string": noticed(
        OBJECTS.replace(b'"label": 1', b'"label": "1"', 3),
        f'{DATA}={{"JSONL": {{"train_path": "train.tsv"}}}}',
    ),
    "evaluation words that training does not know": noticed(ROWS, evaluated=b"sentence\tlabel\nun mot\t1\n"),
    "evaluation rows that are training rows": noticed(ROWS, evaluated=b"sentence\tlabel\na warm film\t1\n"),
    "evaluation data that is the training data": noticed(ROWS, f"{DATA}.eval_path=train.tsv"),
    "texts longer than `max_tokens`": noticed(ROWS, f"{TASK}.max_tokens=2"),
    "a metric that the evaluation rows do not define": noticed(
        ROWS, f"{TASK}.selection_metric=roc_auc", evaluated=b"sentence\tlabel\na film\t1\n"
    ),
}
FAULTS["Rows"]["a label that stands for none"] = noticed(ROWS, evaluated=rows_with(b"a film\t-1"))


# Predictions.


def predicted(content: bytes, *options: str) -> Fault:
    """The predictions for the rows of a file."""

    def make(place: Place) -> tuple[int, str]:
        run = ["train", "config.json", "--output", "run", "--set", "trainer.max_steps=1", "--quiet"]
        status, said = place.invoke(*run)
        assert status == 0, said
        place.write("rows.tsv", content)
        return place.invoke("predict", "run", "rows.tsv", *options)

    return make


FAULTS["Predictions"] = {
    "a header without the text": predicted(b"premise\tlabel\na film\t1\n"),
    "a header with other names": predicted(b"id\tpremise\n7\ta film\n8\ta plot\n"),
    "an empty text": predicted(b"id\tsentence\n7\ta film\n8\t \n"),
    "an empty text, with `--on-bad-row error`": predicted(b"id\tsentence\n8\t \n", "--on-bad-row", "error"),
    "a row of another width": predicted(b"id\tsentence\n7\ta film\n8\n"),
    "a file in another encoding": predicted("sentence\nun mot\n".encode("utf-16")),
    "a label behind a text, with `--text`": predicted(b"a film\t1\n", "--text"),
    "JSON lines: a missing key": predicted(b'{"label": 1}\n', "--format", "jsonl"),
    "JSON lines: no JSON": predicted(b"{'text': 'a film'}\n", "--format", "jsonl"),
    "a task that the run does not have": predicted(ROWS, "--task", "SST"),
}


@fault("Predictions", "one text for a task of two")
def _(place: Place) -> tuple[int, str]:
    place.write("pairs.tsv", b"text1\ttext2\tlabel\n" + b"a film\ta plot\t1\na b\tc d\t0\n" * 4)
    task = {"PairClassificationTask": {"data": {"train_path": "pairs.tsv"}}}
    place.write("config.json", json.dumps({"tasks": {"Pairs": task}, "device": "cpu"}))
    return predicted(b"a film\n", "--text")(place)


CASES = [(heading, name) for heading, faults in FAULTS.items() for name in faults]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("heading", "name"), CASES)
def test_mistakes_give_the_documented_messages(
    heading: str, name: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, said = FAULTS[heading][name](place)
    documented, exit_status = table(heading)[name]
    for sentence in re.findall(r"`` (.*?) ``", documented):
        pattern = ".*".join(map(re.escape, sentence.split("…")))
        assert re.search(pattern, " ".join(said.split())), f"{sentence}\n{said}"
    assert "`` " in documented
    assert status == int(exit_status), said


@pytest.mark.parametrize("heading", FAULTS)
def test_every_row_of_the_document_is_tested(heading: str) -> None:
    assert list(table(heading)) == list(FAULTS[heading])


def test_every_table_is_tested() -> None:
    headings = re.findall(r"^## (.+)$", DOCUMENT.read_text(), flags=re.M)
    assert {*headings} == {"What is right", *FAULTS}
