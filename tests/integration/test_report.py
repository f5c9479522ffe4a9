"""`mtl report` of a real run: what its model tells, and the page in a browser."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import ROOT, run_all

import mtl
from mtl.data.load import load_rows
from mtl_report import model, records, write_report
from mtl_report import page as page_module
from mtl_report import run as run_module
from mtl_report.model import Module, sharing, worst_rows

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DARK, LIGHT = 0, 1


@pytest.fixture(scope="module")
def run(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of two tasks that share embedding and LSTM."""
    folder = tmp_path_factory.mktemp("report") / "run"
    mtl.train(tiny_config, output=folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_report(run).read_text()


def words(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def test_every_section_is_there(page: str, run: Path) -> None:
    for section in ("results", "curves", "schedule", "sharing", "confusions", "rows", "config"):
        assert f'<section id="{section}">' in page and f'href="#{section}"' in page
    result = json.loads((run / "result.json").read_text())
    assert f"best SST2.accuracy {result['best']['value']:.4f}" in words(page)
    assert "perplexity on evaluation data, lower is better" in page
    assert "cannot be shown" not in page and "cannot be scored" not in page
    assert len(page) < 200_000


def test_the_sharing_tree_counts_each_parameter_once(run: Path) -> None:
    loaded = mtl.load(run)
    found = sharing(loaded)
    assert found.total == sum(p.numel() for p in loaded.model.parameters())
    assert {module.key: list(module.tasks) for module in found.shared} == {
        "WORDS": ["SST2", "LM"],
        "LSTM": ["SST2", "LM"],
    }
    assert found.total == sum(found.own.values()) + sum(module.parameters for module in found.shared)
    labels = [(module.label, module.depth, list(module.others)) for module in found.trees["SST2"]]
    assert labels == [
        ("features", 0, ["LM"]),
        ("word_feat", 1, []),
        ("representation", 0, []),
        ("lstm", 1, ["LM"]),
        ("pooling", 1, []),
        ("decoder", 0, []),
    ]
    assert all(isinstance(module, Module) for tree in found.trees.values() for module in tree)


@pytest.mark.parametrize("task", ["SST2", "LM"])
def test_the_rows_of_the_highest_loss_are_those_that_the_model_scores_worst(task: str, run: Path) -> None:
    loaded = mtl.load(run)
    path = loaded.task(task).config.data.config.paths("eval")[0]
    rows = load_rows(loaded.task(task), [path])
    with torch.inference_mode():
        losses = [loaded.model.tasks[task](rows.batch(np.array([row]))).loss for row in range(len(rows))]
    expected = sorted((float(loss.total / loss.weight) for loss in losses), reverse=True)
    found = worst_rows(loaded, task)
    assert [row.loss for row in found.worst] == pytest.approx(expected[: len(found.worst)])
    assert found.scored == found.rows == len(rows)
    lines = path.read_text().splitlines()
    for row in found.worst:
        assert row.columns["text"] == lines[row.line - 1].split("\t")[0]
    if task == "SST2":
        assert [row.gold for row in found.worst] == [
            lines[row.line - 1].split("\t")[1] for row in found.worst
        ]
        by_label = [row.loss for row in found.worst if row.gold_probability is not None]
        assert by_label == pytest.approx(
            [-np.log(row.gold_probability) for row in found.worst if row.gold_probability is not None]
        )
        assert len(by_label) == len(found.worst)


def test_rows_that_are_no_lines_are_shown_by_their_words(
    tiny: dict[str, Any], tmp_path: Path, run: Path
) -> None:
    tiny["tasks"]["LM"]["LMTask"] |= {"rows": "stream", "max_tokens": 7}
    mtl.train(tiny, output=tmp_path / "stream")
    found = worst_rows(mtl.load(tmp_path / "stream"), "LM")
    counts = {len(row.columns["text"].split()) for row in found.worst}
    assert found.worst and max(counts) <= 8


def test_missing_data_is_reported(tiny: dict[str, Any], tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(tiny_corpus, corpus)
    tiny["base_dir"] = str(corpus)
    mtl.train(tiny, output=tmp_path / "run")
    (corpus / "eval.tsv").unlink()
    page = words(write_report(tmp_path / "run").read_text())
    assert f"The rows cannot be shown: {corpus}/eval.tsv does not exist" in page
    assert "LM all 9 rows scored" in page


def test_a_strangers_files_run_nothing(run: Path, tmp_path: Path) -> None:
    """Not where they take the place of the weights, and not as a template."""

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "model/weights.safetensors").write_bytes(pickle.dumps(Trap()))
    (folder / "model/more.pkl").write_bytes(pickle.dumps(Trap()))
    config = json.loads((folder / "config.json").read_text())
    config["target_task"] = "{{ ''.__class__ }}{% include '/etc/hostname' %}"
    (folder / "config.json").write_text(json.dumps(config))
    page = write_report(folder).read_text()
    assert not (tmp_path / "sprung").exists()
    assert "is not what was written" in words(page)
    assert "{{ ''.__class__ }}{% include '/etc/hostname' %}" in words(page)


# --- in a browser ------------------------------------------------------------------------------------


def browse(*arguments: str) -> str:
    """What headless Chromium says while it does as told, without a network."""
    assert CHROMIUM
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stderr


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)[..., :3]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1200, 420])
def test_the_page_is_drawn_light_and_dark_without_a_complaint(
    width: int, page: str, run: Path, tmp_path: Path
) -> None:
    shown = {}
    for name, scheme in (("light", LIGHT), ("dark", DARK)):
        target = tmp_path / f"{name}.png"
        said = browse(
            f"--blink-settings=preferredColorScheme={scheme}",
            "--enable-logging=stderr",
            f"--window-size={width},1600",
            f"--screenshot={target}",
            (run / "report.html").as_uri(),
        )
        assert "CONSOLE" not in said
        shown[name] = pixels(target)
    light, dark = shown["light"], shown["dark"]
    assert light.shape[:2] == (1600, width)
    assert light.mean() > 0.85 and dark.mean() < 0.25
    for picture in shown.values():
        colors = {tuple(pixel) for pixel in picture[::4, ::4].reshape(-1, 3).round(2).tolist()}
        assert len(colors) > 30  # text, cards and the colors of the curves


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_is_printed_on_a4(page: str, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.pdf"
    browse("--no-pdf-header-footer", f"--print-to-pdf={target}", (run / "report.html").as_uri())
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", target.read_bytes())
    assert 2 <= len(boxes) <= 12
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}


# --- the document ------------------------------------------------------------------------------------


def test_the_commands_of_the_document_work(run: Path, page: str, tmp_path: Path) -> None:
    first = tmp_path / "runs/first"
    shutil.copytree(run, first)
    (first / "report.html").unlink()
    printed = run_all("docs/report.md", tmp_path)
    assert printed.splitlines() == [str(first / "report.html"), "first.html"]
    assert (first / "report.html").read_text() == page.replace("run · mtl", "first · mtl").replace(
        "<h1>run<", "<h1>first<"
    )
    assert "made with --no-data" in (tmp_path / "first.html").read_text()


def test_the_document_names_every_section() -> None:
    document = (ROOT / "docs/report.md").read_text()
    templates = Path(page_module.__file__).parent / "templates"
    for name in ("run", "compare"):
        for heading in re.findall("<h2>(.*?)</h2>", (templates / f"{name}.html").read_text()):
            assert f"| {heading} |" in document
    assert f"more than {run_module.LABELS_IN_A_MATRIX} labels" in document
    assert f"more than {records.MOST_POINTS} points" in document
    assert f"first {run_module.TASKS_WITH_PLOTS} tasks" in document
    assert f"first {run_module.TASKS_WITH_ROWS}." in document
    assert f"{model.MOST_ROWS:,} rows evenly spread" in document
