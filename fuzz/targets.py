"""Fuzz targets, one function each, for hypothesis, atheris and `run.py`: text inputs first.

A target returns a result or raises an `mtl.MtlError`; any other exception is a finding.
"""

from __future__ import annotations

import atexit
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import zstandard
from attrs import frozen

import mtl
from mtl.config.dumping import dump
from mtl.config.load import load_config
from mtl.config.source import Format, decode, parse
from mtl.config.writing import rewritten, written
from mtl.plugins import Plugins, discover
from mtl.runs.lines import LINE_FORMATS, line_rows
from mtl_text import (
    JSONL,
    TSV,
    CharFeat,
    CharFeatConfig,
    JSONLConfig,
    TextLines,
    TextLinesConfig,
    TSVConfig,
    WordFeat,
    WordFeatConfig,
)
from mtl_text.classification.labels import saved_labels
from mtl_text.vocabulary import read_word_list

FOLDER = Path(tempfile.mkdtemp(prefix="mtl-fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
TEXT = (mtl.ColumnSpec("text"),)
BOTH = (*TEXT, mtl.ColumnSpec("label", input=False))
HERE = mtl.InputPaths(FOLDER / "rows.tsv")
ROWS = b'sentence\tlabel\na warm film\t1\na "dull" film\t0\n\xc3\xa9t\xc3\xa9\t1\n'
OBJECTS = b'{"text": "a warm film", "label": 1}\n{"sentence": "dull", "label": "0"}\n'
TYPED_ROWS = b"text\tscore\tcount\ttags\tids\na film\t1.5\t2\ta, b\t1,2\ndull\t-3e2\t\t\t\n"
TYPED_OBJECTS = b"""{"text": "a film", "score": 1.5, "count": 2, "tags": ["a", "b"], "ids": [1, 2]}
{"text": "dull", "score": -3, "count": null, "tags": []}
"""
WORDS = b"the\t7\na\nfilm\t2\n\nThe\n"

Config = dict[str, Any]


@frozen
class Target:
    """`run` takes bytes; `seeds` are valid ones, whose first `prefix` bytes choose what is done."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    prefix: int = 0


@cache
def plugins() -> Plugins:
    """Return the plugins that are installed."""
    return discover()


def classifier() -> Config:
    """Return one task, two steps long."""
    features = {"word_feat": {"embed_dim": 2}}
    data = {"train_path": "rows.tsv", "eval_path": "rows.tsv"}
    task = {"data": data, "features": features, "representation": {"DocNN": {"kernel_num": 2}}}
    return {
        "base_dir": str(FOLDER),
        "tasks": {"A": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 2, "optimizer": {"AdamW": {"lr": 0.01}}},
        "device": "cpu",
    }


def sharers() -> Config:
    """Return two tasks that share what they can share."""
    lstm = {"shared_module_key": "L", "lstm_dim": 2}
    common: Config = {"data": {"train_path": "x"}, "features": {"shared_module_key": "E"}}
    return {
        "target_task": "A",
        "task_weights": {"A": 1, "B": 0.5},
        "tasks": {
            "A": {
                "DocClassificationTask": {**common, "representation": {"BiLSTMDocAttention": {"lstm": lstm}}}
            },
            "B": {"LMTask": {**common, "representation": lstm}},
        },
        "schedule": {"RoundRobin": {"epoch": "all"}},
    }


# --- config -------------------------------------------------------------------------------------------


def config(data: bytes) -> None:
    """A config file's text: what is read is written and read again, and stays the same."""
    loaded = load_config(decode(data, "config"), plugins=plugins(), check_paths=False)
    once = dump(loaded.config)
    json.dumps(once).encode()
    assert dump(load_config(once, plugins=plugins(), check_paths=False).config) == once


def config_seeds() -> list[bytes]:
    """Configs in several notations."""
    alone = {
        "task": {"LMTask": {"data": {"train_path": "x"}, "objective": "masked", "rows": "stream"}},
        "seed": 3,
    }
    configs = [sharers(), alone, classifier()]
    return [json.dumps(value, indent=indent).encode() for value in configs for indent in (None, 1)]


def yaml_config(data: bytes) -> None:
    """A config in YAML."""
    _config_in(Format.YAML, data)


def toml_config(data: bytes) -> None:
    """A config in TOML."""
    _config_in(Format.TOML, data)


def _config_in(format: Format, data: bytes) -> None:
    document = parse(decode(data, "config"), "config", format)
    once = dump(load_config(document, plugins=plugins(), check_paths=False).config)
    json.dumps(once).encode()
    rewritten(document.text, format, {**document.value, "seed": 1})


def format_seeds(format: Format) -> list[bytes]:
    """Configs as they are written, and what JSON does not have."""
    own = {
        Format.YAML: b"task: &t {LMTask: {data: {train_path: 'x'}}} # text\nseed: 0x3\nbase_dir: |\n  a\n",
        Format.TOML: b"seed = 0x3 # 3\nbase_dir = '.'\n"
        b"[task.LMTask]\ndata = {train_path = 'x'}\n[[phases]]\nsteps = 1\n",
    }
    return [own[format], *(written(value, format).encode() for value in (sharers(), classifier()))]


def override(data: bytes) -> None:
    """`--set`: one argument per line."""
    text = data.decode(errors="surrogateescape").replace("\0", "")
    loaded = load_config(classifier(), plugins=plugins(), overrides=text.split("\n"), check_paths=False)
    json.dumps(dump(loaded.config), ensure_ascii=False).encode()


def override_seeds() -> list[bytes]:
    """Overrides of every form."""
    return [
        b"trainer.max_steps=3\ntrainer.optimizer.AdamW.lr=0.5",
        b'trainer.optimizer={"SGD": {"lr": 1}}\ntasks["A"].DocClassificationTask.labels=["0", "1"]',
        b"tasks.A.DocClassificationTask.features.word_feat.vocab_size=5\nschedule=RoundRobin\nschedule.epoch=all",
        b'tasks.A.DocClassificationTask.labels=["x", "y"]\ntasks.A.DocClassificationTask.labels[0]=z\nseed=1',
    ]


# --- data ---------------------------------------------------------------------------------------------

_TSV: list[tuple[Config, bytes]] = [
    ({}, ROWS),
    ({"header": "yes"}, ROWS),
    ({"header": "no", "on_bad_row": "skip", "max_skipped_share": 1.0}, ROWS),
    ({"columns": {"text": 1, "label": 0}}, b"1\ta film\n0\ta scene\n1\tan end\n"),
    ({"columns": {"label": "label"}, "on_bad_row": "skip", "max_skipped_share": 1.0}, ROWS),
    ({"delimiter": " "}, b"warm 1\ndull 0\n"),
    ({"delimiter": ",", "quotes": "text"}, b'"warm",1\n"dull",0\n'),
    ({}, b"__label__1 a warm film\n__label__0 dull\n"),
    ({"encoding": "utf-16"}, ROWS.decode().encode("utf-16")),
    ({}, gzip.compress(ROWS)),
    ({}, zstandard.compress(ROWS)),
]


def tsv(data: bytes) -> None:
    """A table; the first byte chooses the settings."""
    settings, _ = _TSV[(data[0] if data else 0) % len(_TSV)]
    source = TSV(TSVConfig(train_path=HERE, **settings))
    answerable(source.parse_inputs(data[1:], "rows", BOTH))
    filled(source.parse(data[1:], "rows", BOTH))


_TYPED = (
    mtl.ColumnSpec("text"),
    mtl.ColumnSpec("score", mtl.ColumnType.FLOAT, input=False),
    mtl.ColumnSpec("count", mtl.ColumnType.INTEGER, input=False, may_be_empty=True),
    mtl.ColumnSpec("tags", mtl.ColumnType.TEXTS, input=False, may_be_empty=True),
    mtl.ColumnSpec("ids", mtl.ColumnType.INTEGERS, input=False, may_be_empty=True),
)


def typed_columns(data: bytes) -> None:
    """Columns of each type, of a table or of JSON lines; the first byte chooses which."""
    source: TSV | JSONL = TSV(TSVConfig(train_path=HERE))
    if data[:1] == b"\1":
        source = JSONL(JSONLConfig(train_path=HERE))
    frame = source.parse(data[1:], "rows", _TYPED).frame
    assert dict(frame.schema) == mtl.table_schema(_TYPED)
    assert not frame["text"].null_count() and frame["score"].is_finite().all()


def jsonl(data: bytes) -> None:
    """JSON lines; the first byte chooses whether bad ones are skipped."""
    on_bad_row: Any = "skip" if data[:1] == b"\1" else "error"
    source = JSONL(JSONLConfig(train_path=HERE, on_bad_row=on_bad_row, max_skipped_share=1.0))
    answerable(source.parse_inputs(data[1:], "rows", BOTH))
    filled(source.parse(data[1:], "rows", BOTH))


def text_lines(data: bytes) -> None:
    """Plain text; the first byte chooses whether bad lines are skipped."""
    on_bad_row: Any = "skip" if data[:1] == b"\1" else "error"
    config = TextLinesConfig(train_path=HERE, on_bad_row=on_bad_row, max_skipped_share=1.0)
    filled(TextLines(config).parse(data[1:], "rows", TEXT))


def filled(table: mtl.Table) -> None:
    """Check that a table of rows has no empty cell."""
    assert table.frame.null_count().sum_horizontal().sum() == 0
    assert table.frame["line"].is_sorted()


def answerable(table: mtl.Table) -> None:
    """Check that rows to predict and bad rows are apart."""
    assert table.others is not None and len(table.others) in (0, len(table.frame))
    assert not set(table.bad) & set(table.frame["line"])
    filled(table)


def predictions_input(data: bytes) -> None:
    """The rows that `mtl predict` reads; the first byte chooses the format."""
    inputs = (mtl.ColumnSpec("text"), mtl.ColumnSpec("other", may_be_empty=True))
    task: Any = SimpleNamespace(name="T", config=SimpleNamespace(input_columns=inputs))
    format = LINE_FORMATS[(data[0] if data else 0) % 3]
    for row in line_rows(task, data[1:].splitlines(keepends=True), "input", format):
        assert isinstance(row.values, dict)
        if row.problem is not None:
            raise mtl.DataError(row.problem)


# --- vocabularies ---------------------------------------------------------------------------------------


def vocabulary_file(data: bytes) -> None:
    """A vocabulary file; the first byte chooses the case."""
    path = FOLDER / "words.txt"
    path.write_bytes(data[1:])
    words = read_word_list(path, lowercase=data[:1] == b"\1", normalization="NFC").words
    WordFeat(WordFeatConfig(vocab_file=path)).load_state({"words": words.to_list()})


def saved_state(data: bytes) -> None:
    """Restore the states of featurizers and tasks from a model folder."""
    try:
        state = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(state, dict):
        return
    for load in (_words, _characters, saved_labels):
        try:
            load(state)
        except mtl.MtlError:
            continue


def _words(state: Config) -> None:
    featurizer = WordFeat(WordFeatConfig())
    featurizer.load_state(state)
    assert featurizer.state() == {
        "words": state["words"],
        "normalization": state.get("normalization", "none"),
    }


def _characters(state: Config) -> None:
    CharFeat(CharFeatConfig()).load_state(state)


def state_seeds() -> list[bytes]:
    """Return what is saved."""
    return [b'{"words": ["the", "a", "film"], "characters": ["t", "h", "e"], "labels": ["0", "1"]}']


TARGETS: dict[str, Target] = {
    "config": Target(config, config_seeds),
    "yaml_config": Target(yaml_config, lambda: format_seeds(Format.YAML)),
    "toml_config": Target(toml_config, lambda: format_seeds(Format.TOML)),
    "override": Target(override, override_seeds),
    "tsv": Target(tsv, lambda: [bytes([n]) + rows for n, (_, rows) in enumerate(_TSV)], prefix=1),
    "jsonl": Target(jsonl, lambda: [b"\0" + OBJECTS, b"\1" + OBJECTS], prefix=1),
    "typed_columns": Target(typed_columns, lambda: [b"\0" + TYPED_ROWS, b"\1" + TYPED_OBJECTS], prefix=1),
    "text_lines": Target(text_lines, lambda: [b"\0" + ROWS, b"\1" + ROWS], prefix=1),
    "predictions_input": Target(predictions_input, lambda: [b"\0" + OBJECTS, b"\1" + ROWS], prefix=1),
    "vocabulary_file": Target(vocabulary_file, lambda: [b"\0" + WORDS, b"\1" + WORDS], prefix=1),
    "saved_state": Target(saved_state, state_seeds),
}
