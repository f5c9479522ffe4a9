"""Phases, steps of several tasks, and what each task can have to itself."""

from __future__ import annotations

import copy
import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mtl
import mtl.runs.planning
from mtl import Interrupted, hookimpl
from mtl.config.load import load_config
from mtl.errors import ConfigError, UsageError
from mtl.plugins import Plugins
from mtl.runs.preparation import make_trainer, prepare
from mtl.training.trainer import Trainer

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]
Tensors = dict[str, torch.Tensor]

SGD = {"SGD": {"lr": 0.5}}


@pytest.fixture
def plain(tiny: Config) -> Config:
    """The tiny config without dropout and with an optimizer whose steps can be followed by hand."""
    representation = tiny["tasks"]["SST2"]["DocClassificationTask"]["representation"]["BiLSTMDocAttention"]
    representation["dropout"] = representation["lstm"]["dropout"] = 0.0
    tiny["trainer"] = {"optimizer": SGD, "report_every_steps": 1, "compare_gradients_every": None}
    return tiny


def task(config: Config, name: str) -> Config:
    [settings] = config["tasks"][name].values()
    return dict_of(settings)


def dict_of(settings: Any) -> Config:
    assert isinstance(settings, dict)
    return settings


def training(config: Config, plugins: Plugins) -> Trainer:
    return make_trainer(prepare(load_config(copy.deepcopy(config), plugins=plugins), plugins))


def trained(config: Config, plugins: Plugins, steps: int | None = None) -> Trainer:
    """The run of a config after its first steps, in memory."""
    run = training(config, plugins)
    for step in [step for epoch in run.phase.timeline.walk() for step in epoch][:steps]:
        run.train_step(step.without(run.state.stopped))
    return run


def weights(run: Trainer) -> Tensors:
    return {name: p.detach().clone() for name, p in run.model.named_parameters()}


def lines(folder: Path, kind: str) -> list[Config]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["kind"] == kind]


def assert_close(ours: Tensors, theirs: Tensors) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-7, msg=name)


# --- phases ------------------------------------------------------------------------------------------


def test_a_phase_is_a_run_that_starts_from_the_weights_of_the_one_before(
    plain: Config, plugins: Plugins, tmp_path: Path
) -> None:
    modules = {"WORDS": "words.safetensors", "LSTM": "lstm.safetensors"}
    shared = {
        "SST2": ("features", "representation.BiLSTMDocAttention.lstm"),
        "LM": ("features", "representation"),
    }

    def alone(name: str, key: str) -> Config:
        config = copy.deepcopy(plain)
        config["target_task"], config["task_weights"] = name, dict.fromkeys({"SST2", "LM"} - {name}, 0)
        for path, file in zip(shared[name], modules.values(), strict=True):
            place = task(config, name)
            for part in path.split("."):
                place = place[part]
            place[key] = str(tmp_path / file)
        return config

    plain["phases"] = [
        {"tasks": ["LM"], "epochs": 2, "optimizer": {"Adam": {"lr": 0.01}}},
        {"tasks": ["SST2"], "epochs": 3, "lr_scheduler": "Linear"},
    ]
    mtl.train(plain, output=tmp_path / "phases")
    del plain["phases"]
    first = alone("LM", "save_path") | {"schedule": {"RoundRobin": {"epoch": "task"}}}
    first["trainer"] |= {"epochs": 2, "optimizer": {"Adam": {"lr": 0.01}}, "keep_model": "last"}
    mtl.train(first, output=tmp_path / "first")
    second = alone("SST2", "load_path")
    second["trainer"] |= {"epochs": 3, "lr_scheduler": "Linear"}
    mtl.train(second, output=tmp_path / "second")
    ours, theirs = (load_file(tmp_path / run / "model/weights.safetensors") for run in ("phases", "second"))
    own = [name for name in theirs if not name.startswith("task-LM.scorer")]
    assert_close({name: ours[name] for name in own}, {name: theirs[name] for name in own})
    steps = [
        [line["step"] for line in lines(tmp_path / "phases", "train") if line["phase"] == n] for n in (0, 1)
    ]
    assert steps[0] == list(range(1, 11)) and steps[1] == list(range(11, 29))
    assert [line["task"] for line in lines(tmp_path / "phases", "eval")] == ["LM"] * 2 + ["SST2"] * 3
    # A task that was not scored when the model was chosen is scored with it in the end.
    result = json.loads((tmp_path / "phases/result.json").read_text())
    data = Path(plain["base_dir"], "eval.txt")
    assert result["tasks"]["LM"]["eval"] == mtl.load(tmp_path / "phases").test("LM", data)["LM"]


def test_what_a_phase_freezes_keeps_its_bits_and_moves_in_the_next(
    plain: Config, plugins: Plugins, tmp_path: Path
) -> None:
    frozen = {"tasks": ["SST2"], "epochs": 1, "freeze": ["LSTM", "SST2.features"]}
    for name, phases in (
        ("one", [{"epochs": 1}]),
        ("two", [{"epochs": 1}, frozen]),
        ("three", [{"epochs": 1}, frozen, {"epochs": 1}]),
    ):
        mtl.train({**plain, "phases": phases, "trainer": {"keep_model": "last"}}, output=tmp_path / name)
    one, two, three = (load_file(tmp_path / n / "model/weights.safetensors") for n in ("one", "two", "three"))
    held = [name for name in one if ".lstm." in name or "embedding" in name]
    assert len(held) >= 9
    assert all(torch.equal(one[name], two[name]) and not torch.equal(two[name], three[name]) for name in held)
    moved = [name for name in one if name.startswith("task-SST2.") and name not in held]
    assert moved and not any(torch.equal(one[name], two[name]) for name in moved)


def test_averages_and_the_best_model_begin_anew_with_a_phase(plain: Config, tmp_path: Path) -> None:
    plain["trainer"] |= {"average_decay": 0.9, "early_stop_after": 1}
    plain["phases"] = [
        {"name": "hopeless", "tasks": ["SST2"], "epochs": 9, "optimizer": {"SGD": {"lr": 1e-9}}},
        {"tasks": ["SST2"], "epochs": 2, "optimizer": {"SGD": {"lr": 1e-9}}},
    ]
    result = mtl.train(plain, output=tmp_path / "run").data
    # The metrics of an epoch that changes nothing are no better: the first phase ends after its second
    # epoch, the second one keeps its own first epoch.
    assert [line["phase"] for line in lines(tmp_path / "run", "eval")] == [0, 0, 1, 1]
    assert result["best"]["step"] == 18 and result["steps"] == 24


def test_a_dataset_continues_in_the_next_phase(plain: Config, plugins: Plugins) -> None:
    plain["phases"] = [{"steps": 7}, {"steps": 6}]
    prepared = prepare(load_config(plain, plugins=plugins), plugins)
    planned = mtl.runs.planning.describe(prepared)["schedule"]["phases"]
    assert [phase["steps"] for phase in planned] == [7, 6]


class Seen:
    """What a callback is told of the plan and the evaluations."""

    def __init__(self) -> None:
        self.plan: Config = {}
        self.metrics: list[str] = []

    @hookimpl
    def mtl_run_started(self, plan: Config) -> None:
        self.plan = plan

    @hookimpl
    def mtl_evaluated(self, selection: Config) -> None:
        self.metrics.append(selection["metric"])


def test_callbacks_get_the_selecting_metric_of_each_phase(plain: Config, tmp_path: Path) -> None:
    plain["phases"] = [{"tasks": ["LM"], "epochs": 1}, {"epochs": 2}]
    seen = Seen()
    mtl.train(plain, output=tmp_path / "run", callbacks=[seen])
    assert seen.metrics == ["LM.perplexity", "SST2.accuracy", "SST2.accuracy"]


def test_what_the_first_phase_freezes_counts_as_trainable(plain: Config, tmp_path: Path) -> None:
    plain["phases"] = [{"epochs": 1, "freeze": ["LSTM"]}, {"epochs": 1}]
    seen = Seen()
    mtl.train(plain, output=tmp_path / "run", callbacks=[seen])
    assert seen.plan == mtl.runs.plan(plain)
    assert seen.plan["parameters"]["trainable"] == seen.plan["parameters"]["total"]


@pytest.mark.parametrize("through", ["plan", "train"])
def test_a_phase_that_has_nothing_to_train_is_refused_before_the_first_step(
    through: str, plain: Config, tmp_path: Path
) -> None:
    plain["phases"] = [
        {"tasks": ["LM"], "epochs": 1},
        {"name": "idle", "tasks": ["SST2"], "epochs": 1, "freeze": ["SST2"]},
    ]
    with pytest.raises(UsageError, match="SST2: all its modules are frozen in phase idle"):
        mtl.runs.plan(plain) if through == "plan" else mtl.train(plain, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("patience", "steps"), [(None, 2), (1, 3)])
def test_a_phases_rate_follows_the_steps_that_it_has_from_where_it_begins(
    patience: int | None, steps: int, plain: Config, tmp_path: Path
) -> None:
    task(plain, "SST2")["early_stop_after"] = patience
    plain["trainer"] |= {"evaluate_every_steps": 3, "optimizer": {"SGD": {"lr": 1e-9}}}
    plain["phases"] = [
        {"steps": 8},
        {
            "tasks": ["SST2"],
            "epochs": 1,
            "schedule": {"RoundRobin": {"epoch": "all"}},
            "lr_scheduler": "Linear",
        },
    ]
    mtl.train(plain, output=tmp_path / "run")
    rates = [line["lr"] for line in lines(tmp_path / "run", "train") if line["phase"] == 1]
    # A line comes after the scheduler's step: it has the rate of the step to come.
    assert len(rates) == steps and rates[steps - 2] == 0 and all(rates[: steps - 2])


def test_a_task_in_no_phase_is_named(plain: Config) -> None:
    plain["phases"] = [{"tasks": ["SST2"], "epochs": 1}]
    assert "LM: in no phase, so it is not trained" in mtl.runs.plan(plain)["notices"]


def test_what_follows_evaluations_says_that_there_are_none(plain: Config) -> None:
    for name in plain["tasks"]:
        task(plain, name)["data"].pop("eval_path")
    task(plain, "LM")["early_stop_after"] = 2
    plain["trainer"] |= {"early_stop_after": 2, "lr_scheduler": "ReduceOnPlateau"}
    notices = mtl.runs.plan(plain)["notices"]
    assert "LM: no evaluation data, so `early_stop_after` never ends its training" in notices
    assert "no evaluation data, so `trainer.early_stop_after` never ends the training" in notices
    assert "no evaluation data, so ReduceOnPlateau never lowers the rate" in notices


STAGE = {"from_step": 0, "weights": {"LN": 1}}
LATE = {"from_step": 3, "weights": {}}
PROBLEMS: list[tuple[Config, str]] = [
    ({"phases": [{"tasks": ["LN"], "epochs": 1}]}, r"phases\[0\].tasks\[0\].*there is none called `LN`"),
    ({"phases": [{"tasks": ["LM"]}]}, r"phases\[0\]: a phase needs `epochs` or `steps`"),
    (
        {"phases": [{"epochs": 1}], "trainer": {"epochs": 3}},
        "trainer.epochs: `epochs` counts without `phases`",
    ),
    ({"phases": [{"epochs": 1, "freeze": ["LTSM"]}]}, r"freeze\[0\].*none is called `LTSM` .*LSTM"),
    (
        {"phases": [{"tasks": ["LM"], "epochs": 1}], "schedule": {"RoundRobin": {"epoch": "task"}}},
        r"phases\[0\]: an epoch is the length of `SST2`, which this phase does not train",
    ),
    (
        {"phases": [{"tasks": ["LM"], "epochs": 1}], "task_weights": {"LM": 0}},
        "`tasks` must name a task with a weight above 0",
    ),
    ({"trainer": {"parameter_groups": {"SST2.lstn": {}}}}, r"parameter_groups.*none is called `SST2.lstn`"),
    (
        {"schedule": {"Stepwise": {"stages": [STAGE]}}},
        r"stages\[0\].weights.LN: `weights` must name a task",
    ),
    (
        {"schedule": {"Stepwise": {"stages": [{"from_step": 3, "weights": {}}]}}},
        "must begin at step 0 and rise",
    ),
    ({"schedule": {"Dynamic": {"goals": {"LN": 1}}}}, "`goals` must name a task"),
]


@pytest.mark.parametrize(("change", "message"), PROBLEMS)
def test_invalid_phases_and_schedules_are_refused_before_reading_data(
    change: Config, message: str, tiny: Config, plugins: Plugins
) -> None:
    tiny.pop("trainer")
    with pytest.raises(ConfigError, match=message):
        load_config({**tiny, **change}, plugins=plugins)


def test_a_module_is_found_by_its_key_and_by_names_on_the_way(plain: Config, plugins: Plugins) -> None:
    def frozen(*names: str) -> set[str]:
        plain["phases"] = [{"epochs": 1, "freeze": list(names)}]
        run = training(plain, plugins)
        return {name for name, p in run.model.named_parameters() if not p.requires_grad}

    lstm = frozen("LSTM")
    assert lstm == frozen("SST2.lstm") == frozen("LM.representation")
    assert lstm == frozen("tasks.SST2.DocClassificationTask.representation.BiLSTMDocAttention.lstm")
    assert lstm < frozen("SST2.representation") < frozen("SST2.representation", "WORDS")
    assert frozen("LM.decoder").isdisjoint(frozen("SST2.decoder"))


# --- steps of several tasks --------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_joint_step_goes_along_the_weighted_sum_of_the_tasks_gradients(
    accumulate: int, plain: Config, plugins: Plugins
) -> None:
    plain |= {"schedule": "Joint", "task_weights": {"SST2": 2.0, "LM": 0.25}}
    plain["trainer"] |= {"epochs": 1, "accumulate_batches": accumulate}
    run = training(plain, plugins)
    [step] = next(run.phase.timeline.walk())[:1]
    assert [part.task for part in step.spans] == ["LM", "SST2"]
    before = weights(run)
    run.model.train()
    total = torch.zeros(())
    for part in step.spans:
        sums, weight = torch.zeros(()), 0.0
        batching = run.phase.timeline.batching[part.task]
        for rows in batching.batches(part.pass_index)[part.start : part.stop]:
            loss = run.model.tasks[part.task](run.data[part.task].train.batch(rows)).loss
            sums, weight = sums + loss.total, weight + float(loss.weight)
        total = total + plain["task_weights"][part.task] * sums / weight
    parameters = dict(run.model.named_parameters())
    gradients = torch.autograd.grad(total, list(parameters.values()))
    expected = {name: before[name] - 0.5 * g for name, g in zip(parameters, gradients, strict=True)}
    run.train_step(step)
    assert_close(weights(run), expected)
    assert all(progress.steps == 1 for progress in run.state.tasks.values())


def test_a_task_that_has_ended_is_left_out_of_joint_steps(plain: Config, plugins: Plugins) -> None:
    plain["schedule"] = {"Joint": {"epoch": "all"}}
    plain["trainer"]["epochs"] = 1
    [steps] = training(plain, plugins).phase.timeline.walk()
    assert Counter(step.task for step in steps) == {"SST2, LM": 5, "SST2": 1}


# --- what each task can have to itself ---------------------------------------------------------------


def alone(config: Config) -> Config:
    """The classifier alone, over the same data."""
    return {**config, "tasks": {"SST2": copy.deepcopy(config["tasks"]["SST2"])}}


def test_a_tasks_rate_is_that_of_its_steps(plain: Config, plugins: Plugins) -> None:
    config = alone(plain)
    task(config, "SST2")["lr_factor"] = 0.2
    half = trained(config, plugins, 3)
    task(config, "SST2")["lr_factor"] = 1.0
    config["trainer"]["optimizer"] = {"SGD": {"lr": 0.1}}
    assert_close(weights(half), weights(trained(config, plugins, 3)))
    assert half.active.optimizer.param_groups[0]["lr"] == 0.5


def test_a_rate_of_its_own_steps_is_refused_where_steps_are_joint(plain: Config, plugins: Plugins) -> None:
    plain["schedule"] = "Joint"
    task(plain, "LM")["lr_factor"] = 0.5
    with pytest.raises(UsageError, match=r"tasks.LM.LMTask.lr_factor is the rate of the task's own steps"):
        training(plain, plugins)


def test_a_rate_of_its_own_steps_is_free_to_a_task_without_joint_ones(
    plain: Config, plugins: Plugins
) -> None:
    plain["tasks"]["LM2"] = copy.deepcopy(plain["tasks"]["LM"])
    task(plain, "LM2")["lr_factor"] = 0.5
    plain["phases"] = [
        {"tasks": ["LM2"], "epochs": 1},
        {"tasks": ["SST2", "LM"], "epochs": 1, "schedule": "Joint"},
    ]
    assert training(plain, plugins).phases[1].timeline.total_steps


def test_the_norm_and_the_batches_of_a_task_are_the_trainers_where_it_is_alone(
    plain: Config, plugins: Plugins
) -> None:
    ours, theirs = alone(plain), alone(copy.deepcopy(plain))
    task(ours, "SST2").update({"max_clip_norm": 0.01, "accumulate_batches": 3})
    theirs["trainer"] |= {"max_clip_norm": 0.01, "accumulate_batches": 3}
    unclipped = alone(copy.deepcopy(plain))
    unclipped["trainer"]["accumulate_batches"] = 3
    runs = [trained(config, plugins, 2) for config in (ours, theirs, unclipped)]
    assert_close(weights(runs[0]), weights(runs[1]))
    assert any(
        not torch.equal(p, q)
        for p, q in zip(weights(runs[0]).values(), weights(runs[2]).values(), strict=True)
    )


def test_parameter_groups_move_at_their_own_rates(plain: Config, plugins: Plugins) -> None:
    def moved(groups: Config) -> Tensors:
        plain["trainer"] |= {
            "parameter_groups": groups,
            "optimizer": {"SGD": {"lr": 0.5, "weight_decay": 0.1}},
        }
        start, end = training(plain, plugins), trained(plain, plugins, 1)
        return {name: p - weights(start)[name] for name, p in weights(end).items()}

    whole = moved({})
    groups = moved({"SST2.representation": {"lr_factor": 0.5}, "LSTM": {"lr_factor": 0.1}})
    for name, change in whole.items():
        factor = (
            0.1 if ".lstm." in name else 0.5 if "SST2.representation" in name or ".pooling" in name else 1.0
        )
        torch.testing.assert_close(groups[name], factor * change, rtol=1e-3, atol=1e-7, msg=name)
    undecayed = moved({"SST2": {"weight_decay": 0.0}, "LM": {"weight_decay": 0.0}})
    assert any(not torch.allclose(undecayed[name], change) for name, change in whole.items())


def test_patterns_of_parameter_names_give_groups(plain: Config, plugins: Plugins) -> None:
    plain["trainer"] |= {
        "parameter_groups": {"LSTM": {"lr_factor": 0.1}, "*bias*": {"weight_decay": 0}},
        "optimizer": {"AdamW": {"lr": 1.0, "weight_decay": 0.5}},
    }
    run = training(plain, plugins)
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    seen = set()
    for group in run.active.optimizer.param_groups:
        for name in (names[parameter] for parameter in group["params"]):
            assert group["weight_decay"] == (0 if "bias" in name else 0.5), name
            assert group["lr"] == pytest.approx(0.1 if ".lstm." in name else 1.0), name
            seen.add((group["weight_decay"], round(group["lr"], 3)))
    assert seen == {(0, 0.1), (0, 1.0), (0.5, 0.1), (0.5, 1.0)}


def test_a_pattern_that_matches_no_parameter_is_refused(plain: Config, plugins: Plugins) -> None:
    plain["trainer"] |= {"parameter_groups": {"*.biass": {"weight_decay": 0}}}
    with pytest.raises(UsageError, match=r"no parameter matches `\*.biass`; their names are task-"):
        training(plain, plugins)


def test_an_optimizer_without_weight_decay_cannot_be_given_one(plain: Config, plugins: Plugins) -> None:
    plain["trainer"] |= {"parameter_groups": {"LSTM": {"weight_decay": 0.1}}}
    run = training(plain, plugins)
    assert [group["weight_decay"] for group in run.active.optimizer.param_groups] == [0.0, 0.1]


def test_a_task_is_scored_as_often_as_it_says_and_at_the_end(plain: Config, tmp_path: Path) -> None:
    task(plain, "LM")["evaluate_every"] = 3
    plain["trainer"]["epochs"] = 5
    mtl.train(plain, output=tmp_path / "run")
    epochs = {
        name: [r["epoch"] for r in lines(tmp_path / "run", "eval") if r["task"] == name]
        for name in plain["tasks"]
    }
    assert epochs == {"SST2": [1, 2, 3, 4, 5], "LM": [3, 5]}


def test_a_task_that_gets_no_better_leaves_the_schedule_and_the_others_stay(
    plain: Config, plugins: Plugins, tmp_path: Path
) -> None:
    task(plain, "LM").update({"early_stop_after": 1, "lr_factor": 1e-9})
    plain["trainer"]["epochs"] = 6
    plain["task_weights"] = {"LM": 1e-9}
    folder = tmp_path / "run"
    result = mtl.train(plain, output=folder).data
    [stopped] = lines(folder, "stopped")
    assert stopped["task"] == "LM" and stopped["step"] < result["steps"] == 72
    assert [result["tasks"][name]["stopped_at"] for name in ("LM", "SST2")] == [stopped["step"], None]
    steps = {
        name: [r["step"] for r in lines(folder, "train") if r["task"] == name] for name in plain["tasks"]
    }
    assert max(steps["LM"]) <= stopped["step"] and max(steps["SST2"]) == 72
    assert result["tasks"]["SST2"]["steps"] == 36
    planned = [s for epoch in training(plain, plugins).phase.timeline.walk() for s in epoch]
    assert steps["SST2"] == [n for n, s in enumerate(planned, start=1) if s.task == "SST2"]


def test_a_run_whose_tasks_have_all_left_ends(plain: Config, tmp_path: Path) -> None:
    for name in plain["tasks"]:
        task(plain, name)["early_stop_after"] = 1
    plain["trainer"] |= {"epochs": 50, "optimizer": {"SGD": {"lr": 1e-9}}}
    result = mtl.train(plain, output=tmp_path / "run").data
    assert result["stopped_early"] and result["steps"] < 60


def test_the_last_model_is_kept_where_that_is_asked_for(plain: Config, tmp_path: Path) -> None:
    plain["trainer"] |= {"epochs": 6, "keep_model": "last", "optimizer": {"SGD": {"lr": 3.0}}}
    result = mtl.train(plain, output=tmp_path / "run").data
    best = max(line["accuracy"] for line in lines(tmp_path / "run", "eval") if line["task"] == "SST2")
    assert result["best"]["step"] == result["steps"] == 72
    checkpoint = load_file(next((tmp_path / "run/checkpoints").glob("step-*")) / "tensors.safetensors")
    model = load_file(tmp_path / "run/model/weights.safetensors")
    assert all(torch.equal(tensor, checkpoint[f"model.{name}"]) for name, tensor in model.items())
    assert result["tasks"]["SST2"]["eval"]["accuracy"] <= best


# --- gradients compared ------------------------------------------------------------------------------


def test_the_cosine_of_two_tasks_gradients_is_that_of_a_bare_loop(plain: Config, plugins: Plugins) -> None:
    plain["schedule"] = "Joint"
    plain["trainer"]["compare_gradients_every"] = 1
    run = training(plain, plugins)
    step = next(run.phase.timeline.walk())[0]
    run.model.train()
    lstm = list(run.model.tasks["LM"].representation.parameters())
    gradients = []
    for part in reversed(step.spans):
        rows = run.phase.timeline.batching[part.task].batches(0)[0]
        loss = run.model.tasks[part.task](run.data[part.task].train.batch(rows)).loss
        flat = torch.autograd.grad(loss.total / loss.weight, lstm)
        gradients.append(torch.cat([gradient.flatten() for gradient in flat]))
    run.train_step(step)
    [metrics] = [each for each in run.active.compared if each["module"] == "LSTM"]
    assert (metrics["task"], metrics["other"]) == ("SST2", "LM")
    assert metrics["cosine"] == pytest.approx(float(torch.cosine_similarity(*gradients, dim=0)), abs=1e-5)
    assert metrics["norm"] == pytest.approx(float(gradients[0].norm()), rel=1e-4)


def test_a_scale_is_asked_for_only_where_a_gradient_is_kept(plain: Config, plugins: Plugins) -> None:
    plain["trainer"]["compare_gradients_every"] = 6
    comparison = training(plain, plugins).active.comparison
    assert comparison is not None
    asked: list[int] = []
    for step in range(12):
        comparison.note(("SST2", "LM")[step % 2], step, [], lambda step=step: asked.append(step) or 1.0)
    assert asked == [0, 1, 6, 7]


def test_comparing_gradients_every_n_steps_changes_nothing(plain: Config, tmp_path: Path) -> None:
    plain["trainer"] |= {"epochs": 2}
    mtl.train(plain, output=tmp_path / "without")
    plain["trainer"]["compare_gradients_every"] = 6
    mtl.train(plain, output=tmp_path / "with")
    assert lines(tmp_path / "without", "gradients") == []
    compared = lines(tmp_path / "with", "gradients")
    assert [line["step"] for line in compared if line["module"] == "LSTM"] == [2, 8, 14, 20]
    assert all(-1 <= line["cosine"] <= 1 and line["norm"] > 0 for line in compared)
    ours, theirs = (load_file(tmp_path / name / "model/weights.safetensors") for name in ("with", "without"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_comparison_has_time_for_a_round_of_all_tasks(plain: Config, plugins: Plugins) -> None:
    plain["trainer"]["compare_gradients_every"] = 1
    run = training(plain, plugins)
    compared = []
    for step in next(run.phase.timeline.walk())[:6]:
        run.train_step(step)
        compared.append(len(run.active.compared))
    assert compared == [0, 2] * 3


def test_a_task_that_has_left_the_schedule_is_not_waited_for(plain: Config, plugins: Plugins) -> None:
    plain["tasks"]["LM2"] = copy.deepcopy(plain["tasks"]["LM"])
    plain["trainer"]["compare_gradients_every"] = 1
    run = training(plain, plugins)
    run.state.tasks["LM2"].stopped_at = 0
    compared = []
    for step in next(run.phase.timeline.walk())[:3]:
        run.train_step(step.without(run.state.stopped))
        compared += run.active.compared
    assert {(each["task"], each["other"], each["module"]) for each in compared} == {
        ("SST2", "LM", "WORDS"),
        ("SST2", "LM", "LSTM"),
    }


def test_gradients_that_wait_must_be_of_all_that_their_task_shares(plain: Config, plugins: Plugins) -> None:
    plain["trainer"]["compare_gradients_every"] = 1
    run = training(plain, plugins)
    run.train_step(next(run.phase.timeline.walk())[0])
    comparison = run.active.comparison
    assert comparison is not None
    tensors = comparison.tensors()
    comparison.restore(tensors)
    assert comparison.tensors().keys() == tensors.keys() and len(tensors) == 2
    with pytest.raises(ValueError, match="gradients of LM must be of WORDS, LSTM"):
        comparison.restore(dict([tensors.popitem()]))


# --- going on ----------------------------------------------------------------------------------------


class InterruptAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


def test_l4_a_run_in_phases_resumed_after_any_step_equals_uninterrupted(
    tiny: Config, tmp_path: Path, differences: Differences
) -> None:
    task(tiny, "LM").update({"early_stop_after": 1, "evaluate_every": 2})
    tiny["trainer"] = {
        "average_decay": 0.8,
        "evaluate_every_steps": 3,
        "report_every_steps": 2,
        "compare_gradients_every": 3,
        "early_stop_after": 6,
        "keep_checkpoints": 1,  # not the interruption's, which the whole run lacks
    }
    tiny["phases"] = [
        {"tasks": ["LM"], "steps": 3, "lr_scheduler": "Cosine"},
        {
            "steps": 14,
            "schedule": {"Dynamic": {"goals": {"SST2": 0.9, "LM": 3.0}, "epoch": "steps", "epoch_steps": 4}},
            "freeze": ["WORDS"],
        },
        {"epochs": 1, "schedule": {"Joint": {"epoch": "all"}}, "optimizer": {"SGD": {"momentum": 0.5}}},
    ]
    steps = mtl.train(tiny, output=tmp_path / "whole").data["steps"]
    assert steps == 20
    assert len({line["phase"] for line in lines(tmp_path / "whole", "eval")}) == 3
    assert lines(tmp_path / "whole", "gradients")
    for step in range(1, steps + 1):
        folder = tmp_path / f"after-{step}"
        try:
            mtl.train(tiny, output=folder, callbacks=[InterruptAfter(step)])
        except Interrupted:
            mtl.train(tiny, output=folder, resume=True)
        assert differences(folder, tmp_path / "whole") == []
