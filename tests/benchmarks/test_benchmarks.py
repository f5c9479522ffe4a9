"""What is compared is the same work, every script runs, and the document says what the records say."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import gradients
import growth
import memory
import pools
import pretrained
import pytest
import record
import start
import steps
import table
import torch
import tutorial
from attrs import evolve
from by_hand import ByHand, PlainModel
from record import exponent
from steps import SMOKE, Batches, Repeat, batches_of, plain_models, ratio, ratio_of_turns, rows_of, shuffled
from straightforward import Straightforward
from texts import LINE_WORDS, line_lengths, read_texts, sentence_lengths, write_texts
from torch import Tensor, nn
from workloads import SIZES, WORKLOADS, Json, Size, all_steps, config, copies, encoder_of, make, vocabulary

from mtl.data import batching
from mtl.data.batching import seed_generators
from mtl.training.trainer import Trainer

TRANSFORMER = {"model_dim": 8, "num_layers": 2, "num_heads": 2, "feedforward_dim": 16}
TINY = {
    "small": SMOKE,
    "medium": evolve(
        SMOKE,
        encoder={"BiLSTM": {"lstm_dim": 4, "num_layers": 2}},
        causal={"BiLSTM": {"lstm_dim": 4, "num_layers": 2, "bidirectional": False}},
    ),
    "transformer": evolve(
        SMOKE, encoder={"Transformer": TRANSFORMER}, causal={"Transformer": {**TRANSFORMER, "causal": True}}
    ),
}
"""The sizes that are measured, with narrow layers."""

each_workload = pytest.mark.parametrize("workload", WORKLOADS)
each_size = pytest.mark.parametrize("size", TINY.values(), ids=TINY)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    write_texts(folder, None, sentences=60, lines=8, words=60)
    return folder


def test_the_tiny_sizes_are_those_that_are_measured() -> None:
    def shape(size: Size) -> list[tuple[str, list[str]]]:
        encoders = [encoder for encoder in (size.encoder, size.causal) if encoder is not None]
        return [(name, sorted(given)) for encoder in encoders for name, given in encoder.items()]

    assert {name: shape(size) for name, size in TINY.items()} == {
        name: shape(size) for name, size in SIZES.items()
    }


@each_workload
@each_size
def test_the_best_loop_by_hand_takes_mtls_steps_bit_for_bit(size: Size, workload: str, texts: Path) -> None:
    take_the_same_steps(config(size, workload, texts))


def test_the_best_loop_by_hand_does_so_in_bf16(texts: Path) -> None:
    take_the_same_steps(config(SMOKE, "multitask", texts, precision="bf16"), bfloat16=True)


def take_the_same_steps(settings: Json, *, bfloat16: bool = False) -> None:
    """Train mtl's loop and the one by hand, and compare losses and weights to the bit."""
    ours, other = make(settings), make(settings)
    order = all_steps(ours)
    by_hand = ByHand(other, order, bfloat16=bfloat16)
    ours.model.train()
    other.model.train()
    losses: list[tuple[float, float]] = []
    for number, step in enumerate(order[:6]):
        ours.train_step(step)
        # mtl draws anew in each step; a loop by hand does not, which is the only difference.
        seed_generators(0, "step", number)
        losses.append((last_loss(ours, step.task), by_hand.step().item()))
    assert [mine for mine, _ in losses] == [theirs for _, theirs in losses]
    assert len(set(losses)) == 6
    for mine, theirs in zip(ours.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def last_loss(training: Trainer, task: str) -> float:
    """The mean loss since the last call."""
    loss = training.state.tasks[task].report()["loss"]
    assert loss is not None
    return torch.tensor(loss).float().item()


@each_workload
@each_size
def test_the_straightforward_loop_does_the_same_mathematics(size: Size, workload: str, texts: Path) -> None:
    training = make(config(size, workload, texts))
    training.model.eval()
    order = all_steps(training)[:4]
    models = plain_models(training, encoder_of(size, workload))
    loop = Straightforward(models, read_texts(texts), vocabulary(training), [])
    for task, model in models.items():
        take_weights(model.eval(), training.model.tasks[task])
    for step in order:
        rows = rows_of(training, step)
        batch = training.data[step.task].train.batch(rows)
        ids, lengths, *labels = loop.batch(step.task, rows.tolist())
        assert torch.equal(ids, batch["text.word_feat.ids"])
        loss = training.model.tasks[step.task](batch).loss
        expected = loss.total / loss.weight
        torch.testing.assert_close(models[step.task](ids, lengths, *labels), expected)
        torch.testing.assert_close(PlainModel(models[step.task])(batch).loss.total, expected)


def test_the_straightforward_loop_meets_the_same_rows_in_batches_as_large(texts: Path) -> None:
    training = make(config(SMOKE, "multitask", texts))
    sorted_batches = batches_of(training, all_steps(training)[:40])
    mixed = shuffled(sorted_batches)
    assert [(task, len(rows)) for task, rows in mixed] == [(task, len(rows)) for task, rows in sorted_batches]

    def rows_of_task(batches: Batches, task: str) -> list[int]:
        return sorted(row for named, rows in batches if named == task for row in rows.tolist())

    for task in ("SST2", "LM"):
        assert rows_of_task(mixed, task) == rows_of_task(sorted_batches, task)
    lengths = training.data["SST2"].train.lengths

    def padding(batches: Batches) -> int:
        return sum(
            int((lengths[rows].max() - lengths[rows]).sum()) for task, rows in batches if task == "SST2"
        )

    assert padding(mixed) > 2 * padding(sorted_batches)


def take_weights(plain: nn.Module, model: nn.Module) -> None:
    """Give a model in plain torch the weights of mtl's."""
    theirs = dict(plain.named_parameters())
    others: list[Tensor] = []
    with torch.no_grad():
        for name, weight in model.named_parameters():
            found = re.search(r"(forward|backward)_layers\.(\d+)\.(\w+)_l0$", name)
            if found is None:
                others.append(weight)
                continue
            reverse = "_reverse" if found[1] == "backward" else ""
            theirs.pop(f"encoder.lstm.{found[3]}_l{found[2]}{reverse}").copy_(weight)
        for mine, other in zip(theirs.values(), others, strict=True):
            mine.copy_(other)


def test_generated_texts_are_as_long_as_asked_for(tmp_path: Path) -> None:
    write_texts(tmp_path, None, sentences=30, lines=5, words=100)
    texts = read_texts(tmp_path)
    assert [len(text.split()) for text in texts["SST2"]] == sentence_lengths(30).tolist()
    assert [len(text.split()) for text in texts["LM"]] == line_lengths(5).tolist()


def test_real_texts_are_cut_to_paragraphs(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "texts"
    write_texts(data, None, sentences=9, lines=3, words=100)
    with (data / "wikitext-2/wiki.train.tokens").open("a") as file:
        file.write(" = Heading = \n \n" + "word " * LINE_WORDS.stop + "\n" + "last " * LINE_WORDS.start)
    write_texts(folder, data, sentences=4, lines=100, words=0)
    sentences, lines = read_texts(folder).values()
    assert sentences == read_texts(data)["SST2"][:4]
    assert [len(line.split()) for line in lines] == [*line_lengths(3), LINE_WORDS.start]


@pytest.mark.parametrize(("shared", "encoders"), [(True, 1), (False, 3)])
def test_copies_of_a_task_share_their_modules_or_do_not(shared: bool, encoders: int, texts: Path) -> None:
    model = make(copies(config(SMOKE, "sst2", texts), 3, shared=shared)).model
    assert len(model.tasks) == 3
    assert sum("forward_layers.0.weight_hh" in name for name, _ in model.named_parameters()) == encoders


def test_turns_over_the_same_batches_are_compared_one_by_one() -> None:
    def repeat(*turns: float) -> Repeat:
        return Repeat(turns, steps=len(turns), examples=1, tokens=1)

    ours, theirs = [repeat(2, 6, 500), repeat(3, 1, 3)], [repeat(1, 2, 5), repeat(1, 1, 1)]
    assert ratio_of_turns(ours, theirs) == {"median": 3, "lowest": 3, "highest": 3}
    assert ratio(ours, theirs)["highest"] == 508 / 8


def test_the_exponent_is_that_of_the_upper_half() -> None:
    assert exponent([(1, 5.0), (2, 5.0), (4, 3 * 4.0**2), (8, 3 * 8.0**2)]) == pytest.approx(2)
    assert exponent([(1000, 7.0), (2000, 7.0)]) == pytest.approx(0)


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[ModuleType], Json]]:
    """Runs a script with `--smoke`, in this process, and gives its record."""
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "MTL_CACHE_DIR"):
        monkeypatch.setenv(name, "1")  # and so what the scripts set is taken back

    def run(script: ModuleType) -> Json:
        name = Path(str(script.__file__)).name
        output = tmp_path / "record.json"
        monkeypatch.setattr(sys, "argv", [name, "--smoke", "--output", str(output)])
        script.main()
        record: Json = json.loads(output.read_text())
        assert record["command"] == f"python benchmarks/{name} --smoke"
        return record

    threads = torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


Smoke = Callable[[ModuleType], Json]


def test_steps_runs(smoke: Smoke) -> None:
    results = smoke(steps)["results"]
    assert results["small"].keys() == WORKLOADS.keys()
    assert set(results["small"]["lm"]["loops"]) == set(table.LOOPS)
    assert set(table.RATIOS) < set(results["small"]["lm"])
    assert results["tasks"]["many_to_one"]["median"] > 0


def test_gradients_runs(smoke: Smoke) -> None:
    assert 0 < smoke(gradients)["results"]["share_of_the_time"]["median"] < 1


def test_memory_runs(smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "measured_apart", lambda script, **settings: memory.measure(**settings))
    assert smoke(memory)["results"]["peak_bytes"].keys() == {"mtl", "by hand", "straightforward"}


def test_memory_is_that_of_a_process_of_its_own(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = {"folder": str(texts), "device": "cpu", "rows": 2, "words": 60, "steps": 1}
    peak = record.measured_apart(Path(memory.__file__), loop="straightforward", **settings)
    assert 100e6 < peak < 2e9


@pytest.fixture(scope="session")
def encoder() -> str:
    """A folder with MiniLM."""
    if find_spec(pretrained.PACKAGE) is None:
        pytest.skip("MiniLM is not installed")
    return pretrained.minilm()


def test_the_loop_by_hand_takes_mtls_steps_with_a_pretrained_encoder(encoder: str, texts: Path) -> None:
    settings = pretrained.config(encoder, texts)
    settings["tasks"]["SST2"]["DocClassificationTask"]["features"]["pretrained_feat"]["dropout"] = 0.0
    settings["tasks"]["SST2"]["DocClassificationTask"]["batch_size"] = 8
    training = make(settings)
    order = all_steps(training)[:2]
    by_hand = pretrained.ByHand(encoder, training, order, read_texts(texts)["SST2"])
    for module in by_hand.encoder.modules():
        module.train(False)
    theirs = training.model.tasks["SST2"].decoder
    by_hand.head.load_state_dict(dict(zip(("weight", "bias"), theirs.parameters(), strict=True)))
    training.model.eval()
    for step in order:
        training.train_step(step)
        assert by_hand.step() == pytest.approx(last_loss(training, "SST2"), abs=1e-4)


def test_pretrained_runs(encoder: str, smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pretrained, "measured_apart", lambda script, **settings: pretrained.measure(**settings)
    )
    results = smoke(pretrained)["results"]
    assert results["training"]["examples_per_second"].keys() == {"mtl", "by hand", "Trainer"}
    assert results["prediction"]["best_pipeline"] in results["prediction"]["rows_per_second"]


@pytest.mark.parametrize("axis", growth.POINTS)
def test_growth_runs(axis: str, smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "SIZES", {"small": SMOKE})
    monkeypatch.setattr(growth, "POINTS", {axis: {"smoke": [64, 128] if axis == "rows" else [8, 16]}})
    monkeypatch.setattr(growth, "SENTENCES_IN_ALL", 256)
    monkeypatch.setattr(growth, "measured_apart", lambda script, **point: growth.measure(**point))
    line = smoke(growth)["results"][axis]
    assert len(line["points"]) == 2
    for metrics in (line["exponents"], *line["points"].values()):
        assert metrics.keys() == table.MEASURES.keys()


def test_start_runs(smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(script: Path, *, way: str, settings: Json) -> float:
        return start.WAYS[way](settings)

    monkeypatch.setattr(start, "measured_apart", apart)
    monkeypatch.setattr(start, "seconds_of_torch", lambda: 0.0)
    results = smoke(start)["results"]
    assert results["seconds_to_first_step"].keys() == {"import_torch", "cold", "warm"}
    assert all(metric["median"] > 0 for metric in results["seconds_to_load"].values())


def test_tutorial_runs(smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tutorial, "PYTEXT", {"multitask_sst_lm": {}})
    run = smoke(tutorial)["results"]["multitask_sst_lm"]
    assert run["steps"] > 1
    assert run["examples_per_second"].keys() == {"SST2", "LM"}


def test_pools_runs(smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    met: dict[int, int] = {}

    def apart(script: Path, *, pool: int, **settings: Any) -> float:
        found = pools.accuracy(pool=pool, **settings)
        met[pool] = batching.POOL_BATCHES
        return found

    monkeypatch.setattr(batching, "POOL_BATCHES", batching.POOL_BATCHES)
    monkeypatch.setattr(pools, "measured_apart", apart)
    monkeypatch.setattr(pools.os, "cpu_count", lambda: 1)
    results = smoke(pools)["results"]
    assert met == {pool: pool for pool in pools.POOLS.values()}
    assert results.keys() == pools.POOLS.keys()
    assert all(0 <= accuracy <= 100 for found in results.values() for accuracy in found["accuracy"])


def test_without_a_gpu_the_scripts_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as ended:
        record.prepare("cuda", 1)
    assert ended.value.code == 0
    assert capsys.readouterr().err == "skipped: torch sees no GPU on this machine\n"


def test_the_tables_in_the_document_are_what_the_records_say() -> None:
    document = table.DOCUMENT.read_text()
    assert table.filled(document, table.read(table.RESULTS)) == document
    assert set(re.findall(r"<!-- table: (\w+) -->", document)) == table.TABLES.keys()


def test_a_target_is_met_or_not_or_not_measured() -> None:
    target = table.Target("what", 2, lambda records: records["a"]["results"], at_most=False, unit=" s")
    assert target.row({"a": {"results": {"x": 3.0, "y": 2.0}}}) == ["what", "≥ 2 s", "x 3 s, y 2 s", "yes"]
    assert target.row({"a": {"results": {"x": 3.0, "y": 1.0}}})[-1] == "no"
    assert target.row({}) == ["what", "≥ 2 s", "not measured", ""]
