"""The pages for those who come from another program: the configs there are valid here, and train."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, write_files

import mtl
from mtl.config.load import load_config
from mtl.config.migrate import migrated
from mtl.config.source import Format, read
from mtl.plugins import Plugins

PAGES = sorted(path.stem for path in (ROOT / "docs").glob("from-*.md"))
CONLLU = "1\tfilms\tfilm\tNOUN\t_\t_\t0\troot\t_\t_\n2\tlast\tlast\tVERB\t_\t_\t1\tacl\t_\t_\n\n"


@pytest.fixture
def folder(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A folder with a file of each format that the pages name."""
    for name in ("train", "eval", "test"):
        for ending in ("tsv", "txt"):
            shutil.copy(tiny_corpus / f"{name}.{ending}", tmp_path)
        rows = [line.split("\t") for line in (tmp_path / f"{name}.tsv").read_text().splitlines()[1:]]
        objects = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(objects))
        (tmp_path / f"{name}.conllu").write_text(CONLLU * 8)
    (tmp_path / "words.txt").write_text("the\nfilm\nwas\n")
    (tmp_path / "models/minilm").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_config_of_a_page_is_valid_and_trains(page: str, folder: Path, plugins: Plugins) -> None:
    write_files(f"docs/{page}.md", folder)
    path = folder / "config.yaml"
    if "models/minilm" in path.read_text():
        _write_model(folder / "models/minilm")  # which reads 64 pieces
        path.write_text(path.read_text().replace("max_length: 128", "max_length: 64"))
    if page == "from-pytext":  # whose columns are label and text by default
        for name in ("train", "eval", "test"):
            rows = [line.split("\t") for line in (folder / f"{name}.tsv").read_text().splitlines()[1:]]
            (folder / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for text, label in rows))
    loaded = load_config(path, plugins=plugins)
    assert not loaded.warnings
    result = mtl.train(path, output=folder / "run", fast=True)
    assert result.data["tasks"].keys() == loaded.config.tasks.keys()


def test_the_config_of_pytext_is_converted_to_what_the_page_says(folder: Path, plugins: Plugins) -> None:
    write_files("docs/from-pytext.md", folder)
    result = migrated(folder / "pytext.json", plugins=plugins, format=Format.YAML)
    shown: dict[str, Any] = read(folder / "config.yaml").value
    assert result.text == (folder / "config.yaml").read_text()
    assert shown["target_task"] == "SST2"


def _write_model(folder: Path) -> None:
    """Write a small random BERT, as the tests of mtl-transformers do."""
    pytest.importorskip("mtl_transformers")
    spec = importlib.util.spec_from_file_location(
        "models", ROOT / "tests/plugins/mtl_transformers/conftest.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_model(folder, "bert")
