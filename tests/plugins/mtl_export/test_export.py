"""`mtl export`: one task of a run elsewhere, equal to the original."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mtl
from mtl.errors import MtlError, UsageError
from mtl.runs import encode_inputs
from mtl_export.checking import Difference, require_equal, sample_of
from mtl_export.exported import Export, export
from mtl_export.folder import steps_of
from mtl_export.replacements import MeanBag

WORDS = ["bright", "dull", "film", "plot", "Scene", "story", "music", "pace"]
FEATURES = {
    "word_feat": {"embed_dim": 4},
    "char_feat": {"embed_dim": 3, "kernel_num": 3},
    "ngram_feat": {"embed_dim": 4, "buckets": 50},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    chance = random.Random(0)

    def text() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, 9)))

    (folder / "a.tsv").write_text("text\tlabel\n" + "".join(f"{text()}\t{n % 2}\n" for n in range(40)))
    pairs = "".join(f"{text()}\t{text()}\t{n % 3}\n" for n in range(40))
    (folder / "p.tsv").write_text("text1\ttext2\tlabel\n" + pairs)
    rows = (
        zip(WORDS[: n % 7 + 1], ["B-X", "O", "B-Y", "I-Y", "O", "O", "B-X"], strict=False) for n in range(30)
    )
    (folder / "t.conll").write_text("".join("".join(f"{w} {t}\n" for w, t in row) + "\n" for row in rows))

    def task(kind: str, file: str, **more: Any) -> dict[str, Any]:
        data: dict[str, Any] = {"train_path": file, "eval_path": file}
        if file.endswith("conll"):
            data = {"CoNLL": {**data, "columns": {"words": 0, "tags": 1}}}
        return {kind: {"batch_size": 8, "data": data, "features": FEATURES, **more}}

    lstm = {"BiLSTMDocAttention": {"lstm": {"lstm_dim": 3, "num_layers": 2}}}
    poolings = {"poolings": ["MaxPool", "MeanPool", "LastStep"]}
    encoder = {"Transformer": {"model_dim": 8, "num_heads": 2, "feedforward_dim": 8, "num_layers": 1}}
    transformer = {"PooledRepresentation": {"encoder": encoder, "pooling": {"ConcatPool": poolings}}}
    config = {
        "base_dir": str(folder),
        "tasks": {
            "LSTM": task("DocClassificationTask", "a.tsv", representation=lstm),
            "CNN": task("PairClassificationTask", "p.tsv", representation={"DocNN": {"kernel_num": 3}}),
            "Transformer": task("DocClassificationTask", "a.tsv", representation=transformer),
            "Tags": task("TaggingTask", "t.conll", crf=True, representation={"BiLSTM": {"lstm_dim": 3}}),
        },
        "trainer": {"epochs": 1, "num_threads": 1},
        "device": "cpu",
    }
    mtl.train(config, output=folder / "run")
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "format"),
    [("LSTM", "torch"), ("CNN", "torch"), ("Tags", "torch"), ("LSTM", "onnx"), ("Transformer", "onnx")],
)
def test_predicts_what_the_run_predicts(run: Path, tmp_path: Path, task: str, format: str) -> None:
    exported = export(run, tmp_path / "model", task=task, format=format)
    assert exported.difference.rows > 500
    assert exported.difference.other_labels == 0 and exported.difference.largest <= 1e-5
    assert "evaluation" not in exported.source and [path.name for path in tmp_path.iterdir()] == ["model"]
    if format == "onnx":
        opened = onnxruntime.InferenceSession(tmp_path / "model")
        assert {each.shape[0] for each in opened.get_inputs()} == {"batch"}
        said = opened.get_modelmeta().custom_metadata_map
        assert json.loads(said["task"]) == task and str(Path.cwd()) not in (
            tmp_path / "model"
        ).read_bytes().decode("latin")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["CNN", "Tags"])
def test_a_folder_predicts_without_torch_and_mtl(run: Path, tmp_path: Path, task: str) -> None:
    export(run, tmp_path / "folder", task=task)
    (tmp_path / "none").mkdir()
    for name in ("torch", "mtl", "polars"):
        (tmp_path / "none" / f"{name}.py").write_text("raise ImportError('must not be imported')")
    lines = {
        "CNN": "Bright film\tdull  plot\nonly one\n\tplot\n",
        "Tags": '{"words": ["Bright", "film"], "id": 7}\n{"words": []}\n',
    }[task]
    done = subprocess.run(
        [sys.executable, "folder/predict.py"],
        input=lines.encode(),
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "none")},
        capture_output=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [
        *mtl.load(run, task=task, device="cpu").predict_lines(task, lines.encode().splitlines(keepends=True))
    ]
    assert [sorted(each) for each in answers] == [sorted(each) for each in expected]
    labels = [each.get("label", each.get("tags")) for each in answers]
    assert labels == [each.get("label", each.get("tags")) for each in expected]
    assert len((tmp_path / "folder/predict.py").read_text().splitlines()) < 100
    card = (tmp_path / "folder/README.md").read_text()
    assert task in card and str(run.parent) not in card


def predictor(run: Path, task: str, folder: Path) -> tuple[Any, ModuleType, dict[str, Any]]:
    loaded = mtl.load(run, device="cpu")
    steps = steps_of(Export(loaded, task, sample_of(loaded, task), run, "fp32"))
    (folder / "steps.json").write_text(json.dumps(steps))
    source = Path(importlib.util.find_spec("mtl_export").origin).parent / "templates/predict.py"  # type: ignore
    (folder / "predict.py").write_text(source.read_text())
    spec = importlib.util.spec_from_file_location("exported_predict", folder / "predict.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return loaded, module, steps


ODD = st.sampled_from([*WORDS, "__PAD__", "<unk>", "İstanbul", "ΣΟΦΟΣ", "ﬁlm", "é", "日本語", "x" * 40])
WORD = ODD | st.text(min_size=1, max_size=6)


@pytest.fixture(scope="module")
def made(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ModuleType, dict[str, Any]]:
    return predictor(run, "LSTM", tmp_path_factory.mktemp("predictor"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(
        st.lists(ODD | st.text(min_size=1, max_size=6), min_size=1, max_size=5), min_size=1, max_size=4
    )
)
def test_steps_give_the_numbers_that_mtl_reads(made: Any, texts: list[list[str]]) -> None:
    loaded, module, steps = made
    joined = [" ".join(words) for words in texts]
    joined = [text for text in joined if module.WORD.findall(text) and "\t" not in text]
    if not joined:
        return
    rows = encode_inputs(loaded, "LSTM", [{"text": text} for text in joined])
    batch = rows.batch(np.arange(len(joined)))
    words = [[module.WORD.findall(text)] for text in joined]
    for each in steps["inputs"]:
        name = each["name"]
        wanted = batch.tensors.get(name, next(iter(batch.lengths.values())))
        assert (module.tensor(words, each) == wanted.numpy()).all(), name


def test_refuses_what_it_cannot_do(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be torch, onnx or folder"):
        export(run, tmp_path / "x", task="LSTM", format="pickle")
    with pytest.raises(UsageError, match="must be one of LSTM, CNN"):
        export(run, tmp_path / "x")
    with pytest.raises(UsageError, match="must be fp32"):
        export(run, tmp_path / "x", task="LSTM", format="torch", precision="int8")
    (tmp_path / "there").write_text("kept")
    with pytest.raises(UsageError, match="is there already"):
        export(run, tmp_path / "there", task="LSTM", format="onnx")
    assert (tmp_path / "there").read_text() == "kept"


def test_a_difference_is_found() -> None:
    same, other, far = Difference(), Difference(), Difference()
    answer = {"label": "1", "probabilities": {"0": 0.25, "1": 0.75}}
    same.add([answer], [{"label": "1", "probabilities": {"0": 0.25000001, "1": 0.75}}])
    require_equal(same, "it")
    other.add([answer], [{**answer, "label": "0"}])
    far.add([answer], [{"label": "1", "probabilities": {"0": 0.2501, "1": 0.75}}])
    for difference in (other, far):
        with pytest.raises(MtlError, match="nothing was written"):
            require_equal(difference, "it")


def test_mean_bag_equals_the_embedding_bag() -> None:
    torch.manual_seed(0)
    bag = torch.nn.EmbeddingBag(9, 3, mode="mean", padding_idx=0)
    items = torch.tensor([[1, 2, 0], [0, 0, 0], [3, 3, 4]])
    torch.testing.assert_close(MeanBag(bag)(items), bag(items))
