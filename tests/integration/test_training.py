"""Whole runs on a small corpus, through the public API."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mtl
from mtl.config.load import load_config
from mtl.errors import ConfigError, MtlError, UsageError
from mtl.plugins import Plugins
from mtl.runs.planning import describe, plan
from mtl.runs.preparation import Prepared, make_trainer, prepare

Config = dict[str, Any]
ReadMetrics = Callable[[Path], list[dict[str, Any]]]


def prepared(config: Config, plugins: Plugins) -> Prepared:
    return prepare(load_config(config, plugins=plugins), plugins)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model/weights.safetensors")


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_multitask_run_writes_its_folder_to_the_letter(
    config: Config, tmp_path: Path, read_metrics: ReadMetrics
) -> None:
    result = mtl.train(config, output=tmp_path / "run")
    data = json.loads((tmp_path / "run/result.json").read_text())
    assert data == result.data
    assert data["status"] == "completed"
    assert {"steps", "best", "tasks", "seconds", "peak_rss_bytes"} <= data.keys()
    assert data["best"].keys() == {"step", "epoch", "metric", "value"}
    assert {"total", "train", "data", "eval"} <= data["seconds"].keys()
    assert set(data["tasks"]) == {"SST2", "LM"}
    for task in data["tasks"].values():
        assert {
            "eval",
            "test",
            "rows_seen",
            "rows_total",
            "examples_per_second",
            "words_per_second",
        } <= task.keys()
    assert 0 <= data["tasks"]["SST2"]["eval"]["accuracy"] <= 1
    assert data["tasks"]["LM"]["eval"]["perplexity"] > 1
    assert {record["kind"] for record in read_metrics(tmp_path / "run")} == {
        "train",
        "eval",
        "test",
        "gradients",
    }
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json", "data.json", "metrics.jsonl", "result.json", "checkpoints", "model",
    }  # fmt: skip


def test_l6_each_task_has_its_own_curve_of_each_metric(
    config: Config, tmp_path: Path, read_metrics: ReadMetrics
) -> None:
    mtl.train(config, output=tmp_path / "run")
    records = read_metrics(tmp_path / "run")
    for kind in ("train", "eval"):
        keys = [(record["task"], record["step"]) for record in records if record["kind"] == kind]
        assert {task for task, _ in keys} == {"SST2", "LM"}
        assert len(keys) == len(set(keys))
    assert all(math.isfinite(record["loss"]) for record in records if record["kind"] != "gradients")


def test_l9_the_saved_model_gives_its_printed_best_metric_exactly(config: Config, tmp_path: Path) -> None:
    config["trainer"] |= {"epochs": 4, "optimizer": {"Adam": {"lr": 0.05}}}
    result = mtl.train(config, output=tmp_path / "run").data
    loaded = mtl.load(tmp_path / "run")
    data = config["tasks"]["SST2"]["DocClassificationTask"]["data"]
    metrics = loaded.test("SST2", Path(config["base_dir"]) / data["eval_path"])["SST2"]
    assert metrics == result["tasks"]["SST2"]["eval"]
    assert metrics["accuracy"] == result["best"]["value"]
    assert loaded.test() == {name: task["test"] for name, task in result["tasks"].items()}


def test_s1_two_runs_in_one_process_share_nothing(config: Config, tmp_path: Path) -> None:
    mtl.train(config, output=tmp_path / "first")
    mtl.train(config, output=tmp_path / "second")
    assert same(weights(tmp_path / "first"), weights(tmp_path / "second"))
    mtl.train(config, output=tmp_path / "third", seed=1)
    assert not same(weights(tmp_path / "first"), weights(tmp_path / "third"))


def test_a_run_leaves_the_callers_random_state_alone(single: Config, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    mtl.train(single, output=tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_s8_the_tutorials_sharing_is_one_storage_and_one_vocabulary(config: Config, plugins: Plugins) -> None:
    run = prepared(config, plugins)
    embeddings = [run.model.tasks[task].embedding for task in ("SST2", "LM")]
    assert embeddings[0] is embeddings[1]
    features = [run.tasks.tasks[task].features.featurizers["word_feat"] for task in ("SST2", "LM")]
    assert features[0] is features[1]
    keys = {module["key"] for module in describe(run)["modules"] if len(module["users"]) > 1}
    assert keys >= {"SHARED_EMBEDDING", "SHARED_LSTM"}


def test_s6_a_shared_parameter_is_stored_once_and_stays_tied_when_loaded(
    config: Config, tmp_path: Path, plugins: Plugins
) -> None:
    mtl.train(config, output=tmp_path / "run")
    trained = prepared(config, plugins).model
    stored = weights(tmp_path / "run")
    assert sum(tensor.numel() for tensor in stored.values()) == sum(p.numel() for p in trained.parameters())
    loaded = mtl.load(tmp_path / "run").model
    assert loaded.tasks["SST2"].embedding is loaded.tasks["LM"].embedding


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", {"SGD": {"momentum": 0.9, "weight_decay": 0.1}}])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_l1_what_a_step_does_not_use_does_not_move(
    config: Config, plugins: Plugins, optimizer: Any, accumulate: int
) -> None:
    config["trainer"] |= {"optimizer": optimizer, "accumulate_batches": accumulate, "max_clip_norm": 1.0}
    run = prepared(config, plugins)
    training = make_trainer(run)
    steps = next(training.phase.timeline.walk())
    own = {task: {name: p for name, p in model.named_parameters()} for task, model in run.model.tasks.items()}
    only_lm = [p for p in own["LM"].values() if all(p is not other for other in own["SST2"].values())]
    for step in steps[:2]:
        training.train_step(step)
    before = [p.detach().clone() for p in only_lm]
    shared_before = run.model.tasks["LM"].embedding.parts["word_feat"].weight.detach().clone()
    for step in [step for step in steps if step.task == "SST2"][1:4]:
        training.train_step(step)
    assert only_lm and all(torch.equal(p, old) for p, old in zip(only_lm, before, strict=True))
    assert not torch.equal(run.model.tasks["LM"].embedding.parts["word_feat"].weight, shared_before)


def test_l7_accumulated_batches_equal_the_big_batch(single: Config, plugins: Plugins) -> None:
    task = single["tasks"]["SST2"]["DocClassificationTask"]
    task["representation"]["BiLSTMDocAttention"] |= {"dropout": 0.0}
    task["representation"]["BiLSTMDocAttention"]["lstm"]["dropout"] = 0.0
    single["trainer"]["optimizer"] = {"SGD": {"lr": 1.0}}

    def after_one_step(batch_size: int, accumulate: int) -> list[torch.Tensor]:
        config = copy.deepcopy(single)
        config["tasks"]["SST2"]["DocClassificationTask"]["batch_size"] = batch_size
        config["trainer"]["accumulate_batches"] = accumulate
        training = make_trainer(prepared(config, plugins))
        training.train_step(next(training.phase.timeline.walk())[0])
        return [p.detach() for p in training.model.parameters()]

    for big, accumulated in zip(after_one_step(160, 1), after_one_step(30, 6), strict=True):
        torch.testing.assert_close(accumulated, big, rtol=1e-4, atol=1e-6)


def test_d1_rows_seen_are_reported(config: Config, tmp_path: Path) -> None:
    config["trainer"] = {"epochs": 1}
    config["tasks"]["SST2"]["DocClassificationTask"]["batch_size"] = 80
    tasks = mtl.train(config, output=tmp_path / "run").data["tasks"]
    assert tasks["SST2"]["rows_seen"] == tasks["SST2"]["rows_total"] == 160
    assert 20 < tasks["LM"]["rows_seen"] <= 40 < tasks["LM"]["rows_total"]


def test_d5_planned_steps_are_executed_steps(config: Config, tmp_path: Path) -> None:
    for number, schedule in enumerate(
        ["RoundRobin", {"Proportional": {"epoch": "all"}}, {"Sequential": {"epoch": "first"}}]
    ):
        config["schedule"] = schedule
        steps = plan(config)["schedule"]["steps"]
        assert mtl.train(config, output=tmp_path / str(number)).data["steps"] == steps


def test_d4_weight_zero_one_row_batches_and_empty_eval_sets_work(
    config: Config, corpus: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.tokens"
    empty.write_text("\n \n")
    config["tasks"]["LM"]["LMTask"]["data"]["eval_path"] = str(empty)
    config["tasks"]["SST2"]["DocClassificationTask"]["batch_size"] = 1
    config["task_weights"] = {"LM": 0}
    config["trainer"] = {"max_steps": 12}
    result = mtl.train(config, output=tmp_path / "run").data
    assert result["tasks"]["LM"]["eval"]["perplexity"] is None
    assert result["tasks"]["LM"]["rows_seen"] == 0 and result["tasks"]["LM"]["steps"] == 0
    assert result["tasks"]["SST2"]["steps"] == 12


def test_d9_an_early_stop_ends_the_run(config: Config, tmp_path: Path) -> None:
    config["trainer"] = {"epochs": 50, "early_stop_after": 2, "optimizer": {"SGD": {"lr": 1e-9}}}
    result = mtl.train(config, output=tmp_path / "run").data
    assert result["stopped_early"] and result["status"] == "completed"
    assert result["best"]["epoch"] == 1 and result["steps"] == 3 * result["best"]["step"]


def test_l2_without_a_target_the_selection_is_combined_and_printed(config: Config, tmp_path: Path) -> None:
    del config["target_task"]
    assert plan(config)["selection"] == "mean of SST2.accuracy, -log(LM.perplexity); higher is better"
    result = mtl.train(config, output=tmp_path / "run").data
    metrics = result["tasks"]["SST2"]["eval"], result["tasks"]["LM"]["eval"]
    expected = (metrics[0]["accuracy"] - math.log(metrics[1]["perplexity"])) / 2
    assert result["best"]["value"] == pytest.approx(expected)


def test_l3_a_rate_is_reduced_when_the_metric_stalls_and_only_then(
    config: Config, tmp_path: Path, read_metrics: ReadMetrics
) -> None:
    config["trainer"] = {
        "epochs": 5,
        "optimizer": {"SGD": {"lr": 1e-9}},
        "lr_scheduler": {"ReduceOnPlateau": {"patience": 0, "factor": 0.5}},
    }
    mtl.train(config, output=tmp_path / "stalled")
    rates = [record["lr"] for record in read_metrics(tmp_path / "stalled") if record["kind"] == "train"]
    assert rates[-1] < rates[0]
    config["target_task"] = "LM"
    config["trainer"]["optimizer"] = {"SGD": {"lr": 0.5}}
    mtl.train(config, output=tmp_path / "better")
    records = read_metrics(tmp_path / "better")
    perplexities = [r["perplexity"] for r in records if r["kind"] == "eval" and r["task"] == "LM"]
    assert perplexities == sorted(perplexities, reverse=True), "the run must improve for this test to tell"
    assert {record["lr"] for record in records if record["kind"] == "train"} == {0.5}


def test_s7_freeze_is_stated_by_the_owner_and_holds_for_all(config: Config, plugins: Plugins) -> None:
    config["tasks"]["SST2"]["DocClassificationTask"]["features"]["freeze"] = True
    run = prepared(config, plugins)
    assert not run.model.tasks["LM"].embedding.parts["word_feat"].weight.requires_grad
    config["tasks"]["LM"]["LMTask"]["features"]["freeze"] = False
    with pytest.raises(ConfigError, match="freeze"):
        load_config(config, plugins=plugins)


def test_a_module_starts_from_the_weights_that_another_run_saved(
    config: Config, tmp_path: Path, plugins: Plugins
) -> None:
    saved = tmp_path / "lstm.safetensors"
    lstm = config["tasks"]["SST2"]["DocClassificationTask"]["representation"]["BiLSTMDocAttention"]["lstm"]
    lstm["save_path"] = str(saved)
    mtl.train(config, output=tmp_path / "run")
    del lstm["save_path"]
    lstm["load_path"] = str(saved)
    model = prepared(config, plugins).model.tasks["LM"].representation
    stored = load_file(saved)
    assert all(torch.equal(stored[name], p) for name, p in model.named_parameters())
    lstm["lstm_dim"] = 5
    with pytest.raises(UsageError, match="do not fit"):
        prepared(config, plugins)


def test_the_last_model_is_kept_where_nothing_is_evaluated(single: Config, tmp_path: Path) -> None:
    del single["target_task"]
    for split in ("eval_path", "test_path"):
        del single["tasks"]["SST2"]["DocClassificationTask"]["data"][split]
    result = mtl.train(single, output=tmp_path / "run").data
    assert result["best"]["step"] == result["steps"] and result["best"]["value"] is None
    assert list(mtl.load(tmp_path / "run").predict("SST2", [{"text": "a fine film"}]))


def test_a_used_folder_is_refused_and_unchanged(single: Config, tmp_path: Path) -> None:
    mtl.train(single, output=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="resume=True"):
        mtl.train(single, output=tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_nonfinite_loss_names_task_step_and_rows(single: Config, tmp_path: Path) -> None:
    single["trainer"]["optimizer"] = {"SGD": {"lr": 1e30}}
    with pytest.raises(
        MtlError, match=r"the loss of SST2 is (nan|inf) at step \d+, on the rows .*train\.tsv: \d+"
    ):
        mtl.train(single, output=tmp_path / "run")


def test_the_global_settings_of_torch_are_given_back(single: Config, tmp_path: Path) -> None:
    single["trainer"]["num_threads"] = 2
    mtl.train(single, output=tmp_path / "run")
    assert torch.get_num_threads() == 1


def test_d4_a_target_of_weight_zero_selects_though_it_is_not_trained(config: Config, tmp_path: Path) -> None:
    config["task_weights"] = {"SST2": 0}
    config["trainer"] = {"epochs": 1}
    result = mtl.train(config, output=tmp_path / "run").data
    assert result["best"]["metric"] == "SST2.accuracy"
    assert result["tasks"]["LM"]["rows_seen"] == result["tasks"]["LM"]["rows_total"]
    config["schedule"] = {"RoundRobin": {"epoch": "task"}}
    with pytest.raises(ConfigError, match="which is not trained"):
        mtl.train(config, output=tmp_path / "again")


def test_bf16_trains_as_fp32_does_to_its_precision(config: Config, tmp_path: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        config["trainer"]["precision"] = precision
        tasks = mtl.train(config, output=tmp_path / precision).data["tasks"]
        losses.append([tasks[name]["eval"]["loss"] for name in ("SST2", "LM")])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_fp16_on_a_cpu_is_refused(config: Config, tmp_path: Path) -> None:
    config["trainer"]["precision"] = "fp16"
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        mtl.train(config, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # what torch's compiler warns of is its own business
def test_a_compiled_run_gives_the_same_losses(config: Config, tmp_path: Path) -> None:
    for task in ("SST2.DocClassificationTask.representation.BiLSTMDocAttention", "LM.LMTask.representation"):
        part = config["tasks"]
        for name in task.split("."):
            part = part[name]
        part["dropout"] = 0.0
    config["tasks"]["SST2"]["DocClassificationTask"]["representation"]["BiLSTMDocAttention"]["lstm"][
        "dropout"
    ] = 0.0
    losses = []
    for compiled in (False, True):
        config["trainer"] = {"max_steps": 6, "report_every_steps": 1, "compile": compiled}
        tasks = mtl.train(config, output=tmp_path / str(compiled)).data["tasks"]
        losses.append([tasks[name]["eval"]["loss"] for name in ("SST2", "LM")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_task_with_nothing_to_train_is_refused(config: Config, tmp_path: Path) -> None:
    task = config["tasks"]["LM"]["LMTask"]
    task["features"]["freeze"] = task["representation"]["freeze"] = True
    task["decoder"] = {"freeze": True}
    with pytest.raises(UsageError, match="LM: all its modules are frozen"):
        mtl.train(config, output=tmp_path / "run")
