"""The configs that `mtl compare` derives: the same steps of a task, whatever else is trained."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl.config.load import load_config
from mtl.errors import UsageError
from mtl.plugins import Plugins
from mtl.runs.preparation import Prepared, make_trainer, prepare, torch_settings
from mtl.training.selection import tasks_in_phases
from mtl.training.timeline import BatchSpan
from mtl_compare.variants import Variant, make_variants

Config = dict[str, Any]
Prepare = Callable[[Any], Prepared]


@pytest.fixture(scope="session")
def prepared(plugins: Plugins) -> Prepare:
    """A config that is ready to train."""

    def make(config: Any) -> Prepared:
        loaded = load_config(json.loads(json.dumps(config)), plugins=plugins)
        with torch_settings(loaded.config):
            return prepare(loaded, plugins)

    return make


def variants(prepared: Prepared, left_out: Sequence[str] = ()) -> dict[str, Variant]:
    return {variant.name: variant for variant in make_variants(prepared, left_out)}


def parts(prepared: Prepared, task: str) -> list[list[BatchSpan]]:
    """What the optimizer steps of each phase that trains a task take of its data."""
    phases = [
        [
            part
            for steps in phase.timeline.walk()
            for step in steps
            for part in step.spans
            if part.task == task
        ]
        for phase in prepared.phases
    ]
    return [phase for phase in phases if phase]


def evaluations(prepared: Prepared) -> int:
    """Evaluations of a run, where its phase is one."""
    (phase,) = prepared.phases
    every, total = prepared.config.trainer.evaluate_every_steps, phase.timeline.total_steps
    return len(list(phase.timeline.walk())) if every is None else -(-total // every)


def with_third(config: Config) -> Config:
    """A second classifier, of larger batches."""
    task = copy.deepcopy(config["tasks"]["SST2"])
    task["DocClassificationTask"]["batch_size"] = 7
    return {**config, "tasks": {**config["tasks"], "Second": task}}


SCHEDULES = st.sampled_from(
    [
        {"RoundRobin": {}},
        {"RoundRobin": {"epoch": "all"}},
        {"RoundRobin": {"epoch": "first"}},
        {"RoundRobin": {"epoch": "task", "epoch_task": "LM"}},
        {"RoundRobin": {"epoch": "steps", "epoch_steps": 7}},
        {"Proportional": {"epoch": "all"}},
        {"Proportional": {}},
        {"Sequential": {"epoch": "all"}},
        {"Temperature": {"epoch": "steps", "epoch_steps": 9}},
        {"Weighted": {"weights": {"LM": 3.0}}},
        {"Shuffled": {"epoch": "all"}},
        {"Joint": {}},
    ]
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedule=SCHEDULES,
    trainer=st.fixed_dictionaries(
        {
            "epochs": st.integers(1, 4),
            "accumulate_batches": st.integers(1, 3),
            "max_steps": st.none() | st.integers(14, 30),
            "evaluate_every_steps": st.none() | st.integers(2, 9),
        }
    ),
    target=st.sampled_from(["SST2", "LM", None]),
)
def test_alone_a_task_takes_the_batches_that_it_takes_together(
    tiny_config: Config, prepared: Prepare, schedule: Config, trainer: Config, target: str | None
) -> None:
    joint = prepared({**tiny_config, "schedule": schedule, "trainer": trainer, "target_task": target})
    found = variants(joint)
    assert list(found) == ["together", "alone/SST2", "alone/LM"]
    for task in ("SST2", "LM"):
        variant = found[f"alone/{task}"]
        alone = prepared(variant.config)
        assert parts(alone, task) == parts(joint, task)
        assert variant.steps == {task: len(parts(joint, task)[0])} == {task: variant.total_steps}
        assert alone.phases[0].timeline.total_steps == variant.total_steps
        assert evaluations(alone) <= max(evaluations(joint), 1)
        assert found["together"].steps[task] == variant.total_steps


def test_the_evaluations_are_as_many_where_an_epoch_is_as_long(tiny: Config, prepared: Prepare) -> None:
    joint = prepared(tiny)
    counts = {name: evaluations(prepared(each.config)) for name, each in variants(joint).items()}
    assert counts == {"together": 2, "alone/SST2": 2, "alone/LM": 2}
    tiny["trainer"]["evaluate_every_steps"] = 4
    joint = prepared(tiny)
    counts = {name: evaluations(prepared(each.config)) for name, each in variants(joint).items()}
    assert counts == {"together": 6, "alone/SST2": 6, "alone/LM": 6}


def test_together_is_the_config_as_it_is(tiny: Config, prepared: Prepare) -> None:
    joint = prepared(tiny)
    again = prepared(variants(joint)["together"].config)
    assert again.config == joint.config


def test_what_another_task_says_of_a_shared_module_still_counts(tiny: Config, prepared: Prepare) -> None:
    joint = prepared(tiny)
    alone = prepared(variants(joint)["alone/LM"].config)
    task = alone.config.tasks["LM"].config
    assert task.features.featurizers["word_feat"].config.embed_dim == 4  # SST2 owns it
    assert task.representation.config.lstm_dim == 3


@pytest.mark.parametrize("schedule", ["RoundRobin", "Proportional", "Weighted", "Joint"])
def test_without_one_of_three_the_others_take_the_same_steps(
    tiny: Config, prepared: Prepare, schedule: str
) -> None:
    joint = prepared(with_third({**tiny, "schedule": schedule, "target_task": "SST2"}))
    found = variants(joint, ["LM", "SST2"])
    for gone in ("LM", "SST2"):
        variant = found[f"without/{gone}"]
        left = [task for task in joint.config.tasks if task != gone]
        rest = prepared(variant.config)
        steps = {task: sum(map(len, parts(rest, task))) for task in left}
        assert dict(variant.steps) == steps
        wanted = {task: sum(map(len, parts(joint, task))) for task in left}
        if schedule in ("RoundRobin", "Joint"):
            assert steps == wanted
        # A draw cannot be repeated without the other tasks; what differs is said.
        said = [note for note in variant.notes if "steps" in note]
        assert len(said) == len([task for task in left if steps[task] != wanted[task]])
        assert sum(steps.values()) == pytest.approx(sum(wanted.values()), rel=0.3)
    assert found["without/SST2"].config["target_task"] is None
    assert any("lacks the target task" in note for note in found["without/SST2"].notes)


def test_of_two_tasks_none_is_left_out_as_the_other_is_alone(tiny: Config, prepared: Prepare) -> None:
    found = variants(prepared(tiny), ["LM"])
    assert list(found) == ["together", "alone/SST2", "alone/LM"]
    assert any("is `alone`" in note for note in found["together"].notes)


def test_a_schedule_that_adapts_is_named(tiny: Config, prepared: Prepare) -> None:
    found = variants(prepared({**tiny, "schedule": {"Dynamic": {"goals": {"SST2": 0.9}}}}))
    assert any("those that it plans" in note for note in found["together"].notes)


def test_a_task_of_weight_0_is_not_compared(tiny: Config, prepared: Prepare) -> None:
    joint = prepared({**with_third(tiny), "task_weights": {"Second": 0, "LM": 0.5}})
    found = variants(joint)
    assert list(found) == ["together", "alone/SST2", "alone/LM"]
    assert found["alone/LM"].config["phases"][0]["tasks"] == ["LM"]


PHASES = [
    {"tasks": ["LM"], "steps": 6, "name": "pretrain"},
    {"epochs": 2, "freeze": ["SST2.representation.lstm"]},
    {"tasks": ["SST2"], "epochs": 1, "optimizer": {"SGD": {"lr": 0.5}}},
]


def test_alone_a_task_keeps_the_phases_that_train_it(tiny: Config, prepared: Prepare) -> None:
    tiny["trainer"] = {"parameter_groups": {"SST2.representation": {"lr_factor": 0.5}}}
    joint = prepared({**tiny, "phases": PHASES})
    found = variants(joint)
    for task, names in {"SST2": [None, None], "LM": ["pretrain", None]}.items():
        alone = prepared(found[f"alone/{task}"].config)
        make_trainer(alone)
        assert [phase.name for phase in alone.phases] == names
        assert [len(phase) for phase in parts(alone, task)] == [len(phase) for phase in parts(joint, task)]
        assert [list(phase.timeline.batching) for phase in alone.phases] == [[task], [task]]
    assert found["alone/SST2"].config["phases"][1]["optimizer"]["SGD"]["lr"] == 0.5


def test_alone_a_task_has_the_vocabulary_and_the_first_weights_that_it_has_together(
    tiny: Config, prepared: Prepare
) -> None:
    joint = prepared(tiny)
    alone = prepared(variants(joint)["alone/LM"].config)
    assert alone.tasks.state() == joint.tasks.state()
    theirs = dict(joint.model.named_parameters())
    assert all(torch.equal(p, theirs[name]) for name, p in alone.model.named_parameters())
    assert tasks_in_phases(alone.config) == ["LM"] and alone.phases[0].tasks == ["LM"]


def test_no_run_writes_where_another_one_writes(tiny: Config, prepared: Prepare) -> None:
    tiny["tasks"]["LM"]["LMTask"]["representation"]["save_path"] = "lstm.safetensors"
    found = variants(prepared(tiny))
    assert all('"save_path": "' not in json.dumps(dict(variant.config)) for variant in found.values())
    assert any("save_path" in note for note in found["together"].notes)


def test_held_out_rows_are_the_same_for_all_seeds(tiny: Config, prepared: Prepare) -> None:
    data = tiny["tasks"]["SST2"]["DocClassificationTask"]["data"]
    data |= {"eval_path": None, "eval_fraction": 0.2}
    found = variants(prepared({**tiny, "seed": 3}))
    for variant in found.values():
        stated = variant.config["tasks"]["SST2"]["DocClassificationTask"]["data"]["TSV"]
        assert stated["split_seed"] == 3
    assert "the held-out rows of SST2 are those of seed 3 in all runs" in found["together"].notes

    data["split_seed"] = 7
    together = variants(prepared({**tiny, "seed": 3}))["together"]
    assert together.config["tasks"]["SST2"]["DocClassificationTask"]["data"]["TSV"]["split_seed"] == 7
    assert together.notes == ()


def test_a_task_may_be_called_anything(tiny: Config, prepared: Prepare) -> None:
    tiny["tasks"]["a/b \\"] = tiny["tasks"].pop("LM")
    names = [variant.file_name for variant in variants(prepared(tiny)).values()]
    assert names == ["together", "alone-SST2", "alone-a%2Fb%20%5C"]


def test_what_cannot_be_compared(tiny: Config, single: Config, prepared: Prepare) -> None:
    with pytest.raises(
        UsageError, match=r"nothing to compare: `tasks` must have at least two .* has 1 \(SST2\)"
    ):
        variants(prepared(single))
    with pytest.raises(UsageError, match=r"nothing to compare"):
        variants(prepared({**tiny, "task_weights": {"LM": 0}}))
    with pytest.raises(
        UsageError, match="`--without` must be a task that is trained, but is `LMM`; did you mean"
    ):
        variants(prepared(tiny), ["LMM"])
    starved = {"RoundRobin": {"epoch": "steps", "epoch_steps": 1}}
    with pytest.raises(UsageError, match="LM takes no step"):
        variants(prepared({**tiny, "schedule": starved, "trainer": {"epochs": 1}}))


def test_alone_are_only_the_tasks_that_are_asked_for(tiny: Config, prepared: Prepare) -> None:
    assert [each.name for each in make_variants(prepared(tiny), [], ["LM"])] == ["together", "alone/LM"]


def test_alone_nothing_is_balanced(tiny: Config, prepared: Prepare) -> None:
    found = variants(prepared(tiny))
    assert found["alone/LM"].config["balancer"] == {"StaticWeights": {}}
    assert Counter(variant.notes for variant in found.values()) == {(): 3}
