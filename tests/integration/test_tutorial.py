"""The tutorial's two configs, as they are, on the files as downloaded and as the tutorial prepares them.

On the generated sample always; on the real data where `MTL_DATA_DIR` (or the workspace's own copy) has it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.plugins import Plugins

ROOT = Path(__file__).parents[2]
CONFIGS = ("sst2", "multitask_sst_lm")
REAL = Path(os.environ.get("MTL_DATA_DIR", ROOT.parent / "shared/data"))

ReadMetrics = Callable[[Path], list[dict[str, Any]]]


def tutorial_vocabulary(rows: list[str]) -> str:
    """What the tutorial's shell pipeline writes: all words, sorted, the labels with their tabs."""
    words = Counter(word for row in rows for word in row.split(" "))
    return "".join(f"{word}\n" for word in sorted(words) if word)


def prepare_as_the_tutorial_does(raw: Path, folder: Path) -> Path:
    """No headers and no empty lines, and the vocabulary with its stray lines."""
    for name in ("train", "dev"):
        rows = (raw / f"SST-2/{name}.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[1:]
        (folder / "SST-2").mkdir(parents=True, exist_ok=True)
        (folder / f"SST-2/{name}.tsv").write_text("".join(rows), encoding="utf-8")
        if name == "train":
            vocabulary = tutorial_vocabulary([row.rstrip("\n") for row in rows])
            (folder / "SST-2/sst_vocab.txt").write_text(vocabulary, encoding="utf-8")
    for name in ("train", "valid", "test"):
        lines = (raw / f"wikitext-2/wiki.{name}.tokens").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "wikitext-2").mkdir(parents=True, exist_ok=True)
        kept = "".join(line for line in lines if line.strip())
        (folder / f"wikitext-2/wiki.{name}.tokens").write_text(kept, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def raw(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated sample as it would be downloaded, with the tutorial's vocabulary file."""
    folder = tmp_path_factory.mktemp("raw")
    prepared = prepare_as_the_tutorial_does(corpus, folder / "prepared")
    for path in corpus.rglob("*.*"):
        target = folder / path.relative_to(corpus)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (folder / "SST-2/sst_vocab.txt").write_bytes((prepared / "SST-2/sst_vocab.txt").read_bytes())
    return folder


def run(name: str, data: Path, output: Path, *overrides: str) -> dict[str, Any]:
    settings = ["trainer.max_steps=8", "trainer.report_every_steps=1", *overrides]
    return dict(
        mtl.train(ROOT / f"configs/{name}.json", output=output, base_dir=data, overrides=settings).data
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_c9_the_tutorials_configs_run_on_raw_and_on_prepared_files_alike(
    name: str, raw: Path, tmp_path: Path, read_metrics: ReadMetrics
) -> None:
    first = (raw / "prepared/SST-2/sst_vocab.txt").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("\t") for line in first), "the stray lines of the tutorial's command"
    run(name, raw, tmp_path / "raw")
    run(name, raw / "prepared", tmp_path / "prepared")
    assert read_metrics(tmp_path / "raw") == read_metrics(tmp_path / "prepared")


def test_the_shipped_configs_are_the_tutorials(plugins: Plugins) -> None:
    shared = ROOT.parent / "shared/tutorial"
    if not shared.is_dir():
        pytest.skip("the tutorial's own configs are not beside this checkout")
    for name in CONFIGS:
        ours = json.loads((ROOT / f"configs/{name}.json").read_text())
        assert ours == json.loads((shared / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "SST-2/train.tsv").is_file(), reason="no real data: set MTL_DATA_DIR")
def test_the_tutorial_runs_on_the_real_data_raw_and_prepared(
    tmp_path: Path, read_metrics: ReadMetrics
) -> None:
    prepared = prepare_as_the_tutorial_does(REAL, tmp_path / "data")
    (prepared / "SST-2/sst_vocab.txt").write_bytes((REAL / "SST-2/sst_vocab.txt").read_bytes())
    # Evaluation on the small files only: eight steps are about the data, not the model.
    small = ["tasks.LM.LMTask.data.eval_path=SST-2/dev.tsv", "tasks.LM.LMTask.data.test_path=null"]
    run("multitask_sst_lm", REAL, tmp_path / "raw", *small)
    run("multitask_sst_lm", prepared, tmp_path / "prepared", *small)
    raw_lines, prepared_lines = (
        [record for record in read_metrics(tmp_path / kind) if record["kind"] == "train"]
        for kind in ("raw", "prepared")
    )
    assert raw_lines == prepared_lines and len(raw_lines) == 8
