"""Corpora in pieces: the same run to the bit, and memory that does not grow with the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mtl
import mtl_text.lines
from mtl.config.load import load_config
from mtl.data import cache
from mtl.data.cache import load_cached
from mtl.data.columns import Dense, Ragged, Rows
from mtl.data.load import TaskData, Tasks, load_data, make_tasks
from mtl.data.pieces import PREFIX, Scratch
from mtl.data.stored import read_rows, write_rows
from mtl.errors import ComponentError, DataError
from mtl.plugins import Plugins
from pytext_plugins_sst.task import DocClassificationTask

Config = dict[str, Any]


@pytest.fixture(params=[300, 4_000])
def block(request: pytest.FixtureRequest) -> int:
    """Bytes of a block: the files of the corpus are many, or a few."""
    return int(request.param)


def load(
    config: Config, plugins: Plugins, folder: Path
) -> tuple[dict[str, TaskData], Tasks, tuple[str, ...]]:
    """The rows, read without the cache."""
    loaded = load_config(config, plugins=plugins).config
    tasks = make_tasks(loaded)
    with Scratch(folder) as scratch:
        data = load_data(loaded, tasks, scratch)
    return data, tasks, cache.notices(tasks)


def said(data: dict[str, TaskData]) -> dict[str, Any]:
    """All that there is to rows but where they are."""
    return {
        f"{task}.{split}": rows
        and (
            rows.digest(),
            rows.path,
            rows.skipped,
            list(rows.skipped_first),
            {name: getattr(column, "padding", None) for name, column in rows.columns.items()},
            each.statistics[split],
        )
        for task, each in data.items()
        for split, rows in each.splits.items()
    }


@pytest.fixture(params=["words", "characters", "sampled", "truncated", "skipped"])
def variant(request: pytest.FixtureRequest, config: Config, tmp_path: Path) -> Config:
    """Configs whose data have more to them."""
    sst, language = config["tasks"]["SST2"]["DocClassificationTask"], config["tasks"]["LM"]["LMTask"]
    if request.param == "characters":
        sst["features"]["char_feat"] = {"embed_dim": 4, "kernel_num": 3, "max_word_length": 5}
    if request.param == "sampled":
        language |= {"softmax": "sampled", "samples": 20}
    if request.param == "truncated":
        language |= {"max_tokens": 5, "long_lines": "truncate"}
    if request.param == "skipped":
        text = Path(config["base_dir"], "SST-2/train.tsv").read_text()
        damaged = "".join(
            f"{line}\nno label\n" if number % 9 == 3 else f"{line}\n"
            for number, line in enumerate(text.splitlines())
        )
        (tmp_path / "train.tsv").write_text(damaged)
        sst["data"] |= {"train_path": str(tmp_path / "train.tsv"), "on_bad_row": "skip"}
        sst["data"]["max_skipped_share"] = 0.2
    return config


def test_rows_in_pieces_are_the_rows(
    variant: Config, plugins: Plugins, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, learned, notices = load(variant, plugins, tmp_path)
    assert not list(tmp_path.glob("*scratch*")) and whole["LM"].train.folder is None
    monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", block)
    parted, learnt_in_pieces, notices_in_pieces = load(variant, plugins, tmp_path)
    assert parted["LM"].train.folder is not None
    assert not list(tmp_path.glob("*scratch*")), "what is mapped has no name any more"
    assert said(parted) == said(whole)
    assert learnt_in_pieces.state() == learned.state()
    assert notices_in_pieces == notices


def test_several_files_are_the_rows_of_one(config: Config, plugins: Plugins, tmp_path: Path) -> None:
    data = config["tasks"]["LM"]["LMTask"]["data"]
    lines = Path(config["base_dir"], data["train_path"]).read_text().splitlines(keepends=True)
    for number, start in enumerate(range(0, len(lines), len(lines) // 3 + 1)):
        part = lines[start : start + len(lines) // 3 + 1]
        (tmp_path / f"part{number}.txt").write_text("".join(part))
    whole, learned, _ = load(config, plugins, tmp_path)
    data["train_path"] = str(tmp_path / "part*.txt")
    parted, learnt_in_files, _ = load(config, plugins, tmp_path)
    assert learnt_in_files.state() == learned.state()
    rows, rows_in_files = whole["LM"].train, parted["LM"].train
    assert rows_in_files.path == f"{tmp_path}/part0.txt and 2 more"
    assert sorted(rows.lines)[0] == rows_in_files.lines[0] and len(rows) == len(rows_in_files)
    for name, column in rows.columns.items():
        assert torch.equal(column.values, rows_in_files.columns[name].values), name


WORDS = st.lists(st.sampled_from(["a", "A", "film", "é中🎬", "<unk>"]), min_size=1, max_size=6).map(" ".join)
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", " \n"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reviews=st.lists(st.tuples(WORDS, st.sampled_from("01234"), ENDS), min_size=1, max_size=12),
    lines=st.lists(st.tuples(WORDS, ENDS), min_size=1, max_size=12),
    header=st.sampled_from(["", "\ufeff", "sentence\tlabel\n"]),
    size=st.integers(1, 120),
)
def test_any_corpus_in_pieces_of_any_size_is_the_corpus(
    reviews: list[tuple[str, str, str]],
    lines: list[tuple[str, str]],
    header: str,
    size: int,
    config: Config,
    plugins: Plugins,
    tmp_path: Path,
) -> None:
    rows = "".join(f"{text}\t{label}{end}" for text, label, end in reviews)
    (tmp_path / "train.tsv").write_bytes((header + rows).encode())
    (tmp_path / "train.txt").write_bytes("".join(map("".join, lines)).encode())
    sst, language = config["tasks"]["SST2"]["DocClassificationTask"], config["tasks"]["LM"]["LMTask"]
    sst["data"] = {"train_path": str(tmp_path / "train.tsv")}
    language["data"] = {"train_path": str(tmp_path / "train.txt")}

    def told(block: int) -> Any:
        with mock.patch.object(mtl_text.lines, "BLOCK_BYTES", block):
            try:
                data, tasks, notices = load(config, plugins, tmp_path)
            except DataError as error:
                return str(error)
        return said(data), tasks.state(), notices

    assert told(size) == told(2**20)


def test_a_stream_in_pieces_predicts_the_same_words(
    config: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config["tasks"]["LM"]["LMTask"] |= {"rows": "stream", "max_tokens": 7}

    def predicted() -> tuple[int, list[str]]:
        data, tasks, _ = load(config, plugins, tmp_path)
        tokens = tasks.tasks["LM"].features.featurizers["word_feat"].vocabulary.tokens  # type: ignore[attr-defined]
        ids = data["LM"].train.columns["text.word_feat.ids"]
        assert isinstance(ids, Ragged)
        is_first = torch.zeros(len(ids.values), dtype=torch.bool)
        is_first[ids.offsets[:-1]] = True
        return len(ids), [tokens[word] for word in ids.values[~is_first].tolist()]

    count, words = predicted()
    monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", 1_000)
    count_in_pieces, words_in_pieces = predicted()
    assert words_in_pieces == words and count < count_in_pieces < 1.2 * count


def test_a_run_in_pieces_is_the_run(
    config: Config,
    block: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config["trainer"]["max_steps"] = 6
    whole = mtl.train(config, output=tmp_path / "whole")
    monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", block)
    monkeypatch.setattr(cache, "WORTH_SECONDS", 0.0)
    monkeypatch.setenv("MTL_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("read", "cached"):
        run = mtl.train(config, output=tmp_path / name)
        weights = [(each.folder / "model/weights.safetensors").read_bytes() for each in (run, whole)]
        assert weights[0] == weights[1] and run.data["best"] == whole.data["best"]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    tested = mtl.load(tmp_path / "whole").test("LM")["LM"]
    assert tested == whole.data["tasks"]["LM"]["test"]


def test_rows_in_pieces_move_into_the_cache(
    config: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = load(config, plugins, tmp_path)
    monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", 1_000)
    monkeypatch.setattr(cache, "WORTH_SECONDS", 0.0)
    folder = tmp_path / "cache"
    monkeypatch.setenv("MTL_CACHE_DIR", str(folder))
    run = load_config(config, plugins=plugins).config
    first = load_cached(run, make_tasks(run), plugins)
    (entry,) = folder.iterdir()
    assert (entry / "1-train/values.0").stat().st_size == first.tasks["LM"].train.columns[
        "text.word_feat.ids"
    ].values.nbytes
    monkeypatch.setattr(cache, "load_data", lambda *_: pytest.fail("the text was read again"))
    second = load_cached(run, make_tasks(run), plugins)
    assert said(dict(first.tasks)) == said(dict(second.tasks)) == said(whole)


def test_without_a_cache_to_write_to_pieces_are_temporary_files(
    config: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = load(config, plugins, tmp_path)
    monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", 1_000)
    (tmp_path / "file").write_text("")
    parted, _, _ = load(config, plugins, tmp_path / "file/below")
    assert said(parted) == said(whole)


def test_what_killed_processes_left_is_swept(
    config: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WORTH_SECONDS", 0.0)
    monkeypatch.setenv("MTL_CACHE_DIR", str(tmp_path))
    for name, age in (("old", 2), ("new", 0)):
        (tmp_path / f"{PREFIX}{name}").mkdir()
        os.utime(tmp_path / f"{PREFIX}{name}", (0, 0) if age else None)
    run = load_config(config, plugins=plugins).config
    load_cached(run, make_tasks(run), plugins)
    assert [path.name for path in tmp_path.glob(".*")] == [f"{PREFIX}new"]


def test_bad_rows_of_all_pieces_are_one_error(
    config: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\n" + "a film\t1\nno tab\n" * 20)
    config["tasks"]["SST2"]["DocClassificationTask"]["data"]["train_path"] = str(tmp_path / "train.tsv")
    messages = []
    for size in (2**20, 50):
        monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", size)
        with pytest.raises(DataError) as caught:
            load(config, plugins, tmp_path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "20 of 41 lines are bad" in messages[0]


def test_a_column_that_differs_between_pieces_is_the_tasks_fault(
    single: Config, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mtl_text.lines, "BLOCK_BYTES", 1_000)

    def encode(self: DocClassificationTask, frame: pl.DataFrame) -> dict[str, Dense]:
        dtype = torch.int64 if frame["line"][0] < 10 else torch.float32
        return {"label": Dense(torch.zeros(len(frame), dtype=dtype))}

    monkeypatch.setattr(DocClassificationTask, "encode", encode)
    with pytest.raises(
        ComponentError, match=r"DocClassificationTask .* columns of all pieces of a file must be"
    ):
        load(single, plugins, tmp_path)


@pytest.mark.parametrize("offsets", [[], [0, 2], [1, 3], [0, 4]])
def test_a_ragged_column_is_all_of_its_values(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="must go from 0 to the number of `values`, 3"):
        Ragged(torch.zeros(3), torch.tensor(offsets, dtype=torch.int64))


def test_columns_of_any_kind_are_stored(tmp_path: Path) -> None:
    def rows(*lengths: int) -> Rows:
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        items = int(offsets[-1])
        shared = Ragged(torch.arange(items, dtype=torch.int32), offsets, padding=7)
        columns = {
            "a/b": shared,
            "chars": Ragged(torch.arange(items * 3, dtype=torch.int16).view(-1, 3), offsets),
            "own": Ragged(torch.rand(items) > 0.5, offsets.clone()),
            "dense": Dense(torch.rand(len(lengths), 2, dtype=torch.float64)),
            "half": Dense(torch.rand(len(lengths)).bfloat16()),
        }
        return Rows(columns, torch.arange(len(lengths)).numpy(), "rows.txt", 3, ("line 4: odd",))

    pieces = [rows(2, 0, 3), rows(0), rows(4, 1)]
    write_rows(pieces, tmp_path / "rows")
    stored = read_rows(tmp_path / "rows")
    assert (stored.path, stored.skipped, stored.skipped_first) == ("rows.txt", 3, ("line 4: odd",))
    assert list(stored.columns) == list(pieces[0].columns) and stored.folder == tmp_path / "rows"
    for name, column in stored.columns.items():
        assert torch.equal(column.values, torch.cat([piece.columns[name].values for piece in pieces])), name
        if isinstance(column, Ragged):
            assert column.lengths.tolist() == [2, 0, 3, 0, 4, 1]
    assert stored.columns["a/b"].offsets is stored.columns["chars"].offsets  # type: ignore[union-attr]
    assert stored.columns["own"].offsets is not stored.columns["chars"].offsets  # type: ignore[union-attr]
    write_rows([rows(0, 0)], tmp_path / "empty")
    assert read_rows(tmp_path / "empty").columns["chars"].values.shape == (0, 3)


PEAK = """
import json, re, sys, threading
import mtl, mtl_text.lines

def anonymous():
    with open("/proc/self/status") as file:
        return int(re.search(r"RssAnon:\\s+(\\d+)", file.read())[1]) // 1024

mtl_text.lines.BLOCK_BYTES = 2**19
peak = 0
done = threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous())

callback = threading.Thread(target=watch)
callback.start()
mtl.train(json.loads(sys.argv[1]), output=sys.argv[2])
done.set()
callback.join()
print(peak)
"""
LINE = " ".join(f"word{number}" for number in range(150))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what is anonymous")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    peaks = []
    for lines in (4_000, 32_000):
        path = tmp_path / f"{lines}.txt"
        with path.open("w") as file:
            file.writelines(f"{LINE} number{line % 1000}\n" for line in range(lines))
        task = {
            "batch_size": 2,
            "data": {"train_path": str(path)},
            "features": {"word_feat": {"embed_dim": 4}},
            "representation": {"BiLSTM": {"lstm_dim": 4}},
        }
        config = {"tasks": {"LM": {"LMTask": task}}, "trainer": {"max_steps": 3}, "device": "cpu"}
        process = subprocess.run(
            [sys.executable, "-c", PEAK, json.dumps(config), str(tmp_path / f"run-{lines}")],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        )
        peaks.append(int(process.stdout))
    # The words of 28,000 lines more are 17 MB as numbers, 35 MB as text and some hundreds as lists.
    assert peaks[1] < peaks[0] + 10, peaks
