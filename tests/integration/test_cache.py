"""Cached rows are the rows, and everything that they are made from makes other ones."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import mtl
from mtl.config.load import load_config
from mtl.data import cache
from mtl.data.cache import LoadedData, fingerprint, load_cached
from mtl.data.columns import Ragged, Rows
from mtl.data.load import make_tasks
from mtl.plugins import Plugins

Config = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, which keeps whatever was read."""
    monkeypatch.setenv("MTL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH_SECONDS", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def own_corpus(config: Config, corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus to change."""
    config["base_dir"] = str(shutil.copytree(corpus, tmp_path / "corpus"))
    return tmp_path / "corpus"


def read(config: Config, plugins: Plugins) -> tuple[LoadedData, dict[str, Any]]:
    loaded = load_config(config, plugins=plugins)
    tasks = make_tasks(loaded.config)
    return load_cached(loaded.config, tasks, plugins), tasks.state()


def contents(loaded: LoadedData) -> dict[str, Any]:
    def of(rows: Rows) -> Any:
        shared = {
            name: id(column.offsets) for name, column in rows.columns.items() if isinstance(column, Ragged)
        }
        paddings = {
            name: column.padding for name, column in rows.columns.items() if isinstance(column, Ragged)
        }
        alike = [[a, b] for a in shared for b in shared if shared[a] == shared[b]]
        return (
            rows.digest(),
            list(rows.columns),
            paddings,
            alike,
            rows.path,
            rows.skipped,
            tuple(rows.skipped_first),
        )

    return {
        name: (
            {split: rows and of(rows) for split, rows in data.splits.items()},
            data.statistics,
            data.splits["eval"] is data.splits["test"],
        )
        for name, data in loaded.tasks.items()
    }


@pytest.fixture(params=["words", "characters", "sampled", "skipped"])
def variant(request: pytest.FixtureRequest, config: Config, own_corpus: Path) -> Config:
    """Configs whose data have more to them."""
    sst, language = config["tasks"]["SST2"]["DocClassificationTask"], config["tasks"]["LM"]["LMTask"]
    if request.param == "characters":
        sst["features"]["char_feat"] = {"embed_dim": 4, "kernel_num": 3}
    if request.param == "sampled":
        language |= {"softmax": "sampled", "samples": 20}
    if request.param == "skipped":
        sst["data"]["on_bad_row"] = "skip"
        with (own_corpus / "SST-2/train.tsv").open("a") as file:
            file.write("no label\n")
    return config


def test_the_second_time_is_the_first_but_for_the_reading(
    variant: Config, plugins: Plugins, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, state = read(variant, plugins)
    monkeypatch.setattr(cache, "load_data", lambda *_: pytest.fail("the text was read again"))
    second, again = read(variant, plugins)
    assert contents(second) == contents(first)
    assert second.notices == first.notices and again == state
    assert len(list(folder.iterdir())) == 1


def test_a_run_from_the_cache_is_the_run(variant: Config, folder: Path, tmp_path: Path) -> None:
    runs = [mtl.train(variant, output=tmp_path / name) for name in ("read", "cached")]
    weights = [(run.folder / "model/weights.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] and runs[0].data["best"] == runs[1].data["best"]
    assert len(list(folder.iterdir())) == 1


CHANGES: dict[str, Callable[[Config], Any]] = {
    "a setting of the features": lambda c: c["tasks"]["SST2"]["DocClassificationTask"]["features"][
        "word_feat"
    ].update(min_count=2),
    "a setting of the data": lambda c: c["tasks"]["SST2"]["DocClassificationTask"]["data"].update(
        on_bad_row="skip"
    ),
    "a setting of a task": lambda c: c["tasks"]["LM"]["LMTask"].update(max_tokens=9),
    "a task fewer": lambda c: c["tasks"].pop("LM"),
    "a byte of a file": lambda c: Path(c["base_dir"], "SST-2/dev.tsv").write_text(
        "fine film\t1\nbad film\t0\n"
    ),
}
SAME: dict[str, Callable[[Config], Any]] = {
    "the batches": lambda c: c["tasks"]["LM"]["LMTask"].update(batch_size=3, eval_batch_size=4),
    "the training": lambda c: c["trainer"].update(epochs=9, optimizer="AdamW"),
    "the seed": lambda c: c.update(seed=8),
    "the time of a file": lambda c: os.utime(Path(c["base_dir"], "SST-2/dev.tsv"), (1, 1)),
}


@pytest.mark.parametrize("what", [*CHANGES, *SAME])
def test_what_rows_are_made_from_makes_the_fingerprint(
    what: str, config: Config, own_corpus: Path, plugins: Plugins
) -> None:
    def of(config: Config) -> str:
        return fingerprint(load_config(copy.deepcopy(config), plugins=plugins).config, plugins)

    before = of(config)
    (CHANGES | SAME)[what](config)
    assert (of(config) == before) is (what in SAME)


def test_code_and_versions_make_the_fingerprint(
    config: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "edited_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = cache._code("edited_package")
    assert before == cache._code("edited_package")
    (package / "task.py").write_text("split = str.split\n")
    assert cache._code("edited_package") != before

    run = load_config(config, plugins=plugins).config
    kept = fingerprint(run, plugins)
    monkeypatch.setattr(cache, "_version", lambda _: "0.0.0")
    assert fingerprint(run, plugins) != kept
    assert "mtl-text" in set(cache._with_required(["pytext-plugins-sst"]))


def test_weights_to_start_from_are_no_data(config: Config, plugins: Plugins, tmp_path: Path) -> None:
    run = load_config(config, plugins=plugins).config
    component = run.tasks["SST2"].config.representation
    with_weights = attrs.evolve(component.config, load_path=tmp_path / "weights")
    (tmp_path / "weights").write_bytes(b"weights")
    found = list(cache._input_files(attrs.evolve(component, config=with_weights)))
    assert found == []


@pytest.mark.parametrize(
    "damaged", ["meta.json", "0-train/layout.json", "0-train/values.0", "0-train/offsets.0", "0-train/lines"]
)
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_damaged_entry_is_made_anew(
    damaged: str,
    content: bytes | None,
    config: Config,
    plugins: Plugins,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, _ = read(config, plugins)
    (entry,) = folder.iterdir()
    (entry / damaged).unlink()
    if content is not None:
        (entry / damaged).write_bytes(content)
    second, _ = read(config, plugins)
    assert contents(second) == contents(first)
    third, _ = read(config, plugins)
    assert contents(third) == contents(first)
    assert caplog.text.count("reading the data again") == (content is not None)


def test_a_cache_that_cannot_be_written_is_a_warning(
    config: Config,
    plugins: Plugins,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MTL_CACHE_DIR", str(tmp_path / "file/below"))
    monkeypatch.setattr(cache, "WORTH_SECONDS", 0.0)
    assert read(config, plugins)[0].tasks
    assert "cannot be written" in caplog.text


def test_an_empty_name_switches_it_off(config: Config, plugins: Plugins, folder: Path) -> None:
    os.environ["MTL_CACHE_DIR"] = ""
    assert read(config, plugins)[0].tasks and not folder.exists()


def test_what_is_read_in_no_time_is_not_kept(
    config: Config, plugins: Plugins, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WORTH_SECONDS", 1e9)
    read(config, plugins)
    assert not folder.exists()


def test_the_oldest_entries_are_forgotten(
    config: Config, plugins: Plugins, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "KEPT_ENTRIES", 2)
    names = []
    for age, max_tokens in enumerate((5, 6, 7)):
        config["tasks"]["LM"]["LMTask"]["max_tokens"] = max_tokens
        names.append(fingerprint(load_config(config, plugins=plugins).config, plugins))
        read(config, plugins)
        if (folder / names[-1]).exists():
            os.utime(folder / names[-1], (age, age))
    assert {entry.name for entry in folder.iterdir()} <= set(names)
    assert len(list(folder.iterdir())) == 2 and names[0] not in {entry.name for entry in folder.iterdir()}


SCRIPT = """
import json, sys
from mtl.config.load import load_config
from mtl.data import cache
from mtl.data.load import make_tasks
from mtl.plugins import discover
cache.WORTH_SECONDS = 0.0
plugins = discover()
for _ in range(5):
    config = load_config(json.loads(sys.argv[1]), plugins=plugins).config
    loaded = cache.load_cached(config, make_tasks(config), plugins)
    digests = [rows.digest() for data in loaded.tasks.values() for rows in data.splits.values() if rows]
    cache.shutil.rmtree(cache.cache_folder() / cache.fingerprint(config, plugins), ignore_errors=True)
    print(json.dumps(digests))
"""


def test_processes_that_make_and_remove_one_entry_at_once_all_get_their_rows(
    config: Config, folder: Path
) -> None:
    import json

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MTL_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"},
        )
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert len({line for out, _ in outputs for line in out.splitlines()}) == 1


def test_rows_are_mapped_and_not_read(config: Config, plugins: Plugins, folder: Path) -> None:
    read(config, plugins)
    mapped, _ = read(config, plugins)
    column = next(iter(mapped.tasks["SST2"].train.columns.values()))
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux tells what is mapped")
    assert "0-train/values.0" in maps.read_text()
    assert torch.equal(column.values, column.values.clone())
