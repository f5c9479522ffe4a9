"""Datasets in the Hugging Face ecosystem's formats: folders, splits, labels, and what is refused."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import mtl
from mtl import ColumnSpec, ColumnType, DataError, FolderOrName, PluginError
from mtl_tasks import hf_dataset
from mtl_tasks.data_config import HFDatasetConfig
from mtl_tasks.hf_dataset import HFDataset

datasets = pytest.importorskip("datasets")

BOTH = (ColumnSpec("text"), ColumnSpec("label", input=False))
ROWS = [{"text": f"a film {n}", "label": n % 2, "answers": {"text": ["x"] * (n % 3)}} for n in range(12)]


def source(folder: Path, **settings: Any) -> HFDataset:
    return HFDataset(HFDatasetConfig(dataset=FolderOrName(folder), **settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "corpus"
    made.mkdir()
    for split, rows in (("train", ROWS), ("test", ROWS[:5])):
        (made / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The rows as `save_to_disk` writes them, with labels that have names."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = [{"text": row["text"], "label": row["label"]} for row in ROWS]
    train = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": train, "dev": train.select(range(4))}).save_to_disk(
        str(tmp_path / "saved")
    )
    return tmp_path / "saved"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_folder_of_files_is_read_in_pieces(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    columns = (*BOTH, ColumnSpec("answers", ColumnType.TEXTS, input=False, may_be_empty=True))
    made = source(folder, streaming=streaming, columns={"answers": "answers.text"})
    with mock.patch.object(hf_dataset, "ROWS", 5):
        pieces = list(made.pieces(Path("train"), columns))
    assert [len(piece.frame) for piece in pieces] == [5, 5, 2]
    table = made.read(Path("train"), columns)
    assert table.frame["line"].to_list() == list(range(1, 13))
    assert table.frame.rows()[2] == (3, "a film 2", "0", ["x", "x"])
    assert table.path == f"{folder}[train]"
    assert len(made.read(Path("test"), columns).frame) == 5


def test_labels_have_their_names(saved: Path) -> None:
    assert source(saved).read(Path("dev"), BOTH).frame["label"].to_list() == ["bad", "good", "bad", "good"]
    [inputs] = source(saved).inputs(Path("dev"), BOTH)
    assert inputs.others is not None and inputs.others["label"].to_list()[:2] == ["bad", "good"]


def test_a_run_trains_on_splits(saved: Path, tmp_path: Path) -> None:
    data = {"HFDataset": {"dataset": str(saved), "eval_path": "dev"}}
    task = {"data": data, "features": {"word_feat": {"embed_dim": 2}}, "representation": {"DocNN": {}}}
    config = {"tasks": {"T": {"DocClassificationTask": task}}, "trainer": {"max_steps": 1}, "device": "cpu"}
    result = mtl.train(config, output=tmp_path / "run").data
    assert result["tasks"]["T"]["eval"]["accuracy"] is not None


def refusal(made: HFDataset, split: str = "train", columns: Any = BOTH) -> str:
    with pytest.raises(DataError) as caught:
        made.read(Path(split), columns)
    return str(caught.value)


def test_unreadable_content_is_reported(folder: Path, tmp_path: Path) -> None:
    assert "a split must be one of `train`, `test`" in refusal(source(folder), "dev")
    assert "`words` must be there" in refusal(
        source(folder), columns=(ColumnSpec("words", ColumnType.TEXTS),)
    )
    assert "`text` must be a list of strings" in refusal(
        source(folder), columns=(ColumnSpec("text", ColumnType.TEXTS),)
    )
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}[train]: cannot be read" in refusal(source(tmp_path / "empty"))


def test_t4_code_and_pickles_in_a_folder_are_not_run(tmp_path: Path) -> None:
    made = tmp_path / "corpus"
    made.mkdir()
    (made / "corpus.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "scripts are no longer supported" in refusal(source(made))
    (made / "corpus.py").rename(made / "other.py")
    with tarfile.open(made / "train.tar", "w") as archive:  # whose reader would load pickles
        archive.add(made / "other.py", "0.pyd")
    assert "must be a dataset of arrow, csv, json, parquet, text files, but is one of web" in refusal(
        source(made)
    )
    assert not (tmp_path / "ran").exists()


def test_without_network_the_alternative_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'glue' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    said = refusal(source(Path("glue"), subset="sst2"))
    assert said.startswith("glue[train]: cannot be read: ConnectionError")
    assert "without network, give a folder" in said


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PluginError, match=r"pip install 'mtl-tasks\[datasets\]'"):
        source(Path("glue")).read(Path("train"), BOTH)
