"""Rules for tasks: short runs that are saved, loaded, killed, resumed and shared."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mtl.components import ColumnType, FeaturesConfig, ModuleConfig
from mtl.config.dumping import json_form
from mtl.errors import ComponentError, MtlError
from mtl.fields import Component
from mtl.hookspecs import hookimpl
from mtl.runs import LoadedRun, load, train
from mtl.runs.folder import WEIGHTS, RunFolder
from mtl.testing.checks import Failed, equal_json, rule
from mtl.testing.tasks import OTHER, ROWS, TASK, TaskBench, input_names
from mtl.training.checkpoint import TENSORS
from mtl.weights import load_module

ODD_TEXTS = ("", " ", "Überraschung 🎬 …", "word " * 300, "\t", "\x00")


class Killed(BaseException):
    """Stands for SIGKILL."""


class KillAfter:
    """A callback that simulates the death of the process after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        """Raise `Killed` after the step."""
        if step == self.step:
            raise Killed


@rule("the saved model must be the one that was evaluated")
def trains_and_loads(bench: TaskBench) -> None:
    """Two batches train, and the loaded model has the metrics that the run reported."""
    data = json_form(bench.component, bench.folder)[bench.name]["data"]
    [(source, settings)] = data.items()
    tested = {**settings, "eval_path": settings["train_path"], "test_path": settings["train_path"]}
    with TemporaryDirectory() as folder:
        config = bench.run_config({"max_steps": 2}, **{TASK: {**bench.settings, "data": {source: tested}}})
        result = train(config, output=Path(folder, "run"), plugins=bench.plugins).data
        metrics = load(Path(folder, "run"), device="cpu", plugins=bench.plugins).test(TASK)[TASK]
    said = result["tasks"][TASK]["test"]
    wrong = [name for name in said if not equal_json(said[name], metrics.get(name))]
    if wrong:
        raise Failed(f"`{wrong[0]}` of the loaded model is {metrics.get(wrong[0])}, but was {said[wrong[0]]}")


@rule("users join predictions to their rows by position")
def answers_every_row(bench: TaskBench) -> None:
    """A loaded model predicts each row, without targets, in order."""
    inputs = bench.table().frame.select(input_names(bench.task)).head(ROWS).to_dicts()
    with TemporaryDirectory() as folder:
        bench.train(Path(folder, "run"))
        run = load(Path(folder, "run"), device="cpu", plugins=bench.plugins)
        answers = list(run.predict(TASK, inputs))
        turned = list(run.predict(TASK, inputs[::-1]))[::-1]
        if len(answers) != len(inputs) or not all(answers):
            raise Failed(f"{len(inputs)} rows have {sum(map(bool, answers))} answers")
        if not equal_json(json.loads(json.dumps(answers)), json.loads(json.dumps(turned))):
            raise Failed("the answers change when the rows come in another order")
        texts = [c.name for c in bench.task.config.input_columns if c.type is ColumnType.TEXT]
        for text in ODD_TEXTS if texts else ():
            row = {**inputs[0], **dict.fromkeys(texts, text)}
            try:
                list(run.predict(TASK, [row]))
            except ComponentError as error:
                cause = error.__cause__
                raise Failed(
                    f"the text {text[:20]!r} raises {type(cause).__name__}, not an error for users: {cause}"
                ) from error
            except MtlError:
                continue


@rule("labels restored in another order would invert predictions while metrics stay the same")
def answers_as_trained(bench: TaskBench) -> None:
    """With the same weights, a loaded task predicts the same as the fitted one."""
    inputs = bench.table().frame.select(input_names(bench.task)).head(ROWS).to_dicts()
    prepared = bench.prepare()
    with TemporaryDirectory() as folder:
        path = Path(folder, "run")
        bench.train(path)
        load_module(prepared.model, RunFolder(path).model / WEIGHTS)
        fitted = LoadedRun(prepared.config, prepared.tasks, prepared.model.eval(), prepared.device)
        said, loaded = (
            json.loads(json.dumps(list(run.predict(TASK, inputs))))
            for run in (fitted, load(path, device="cpu", plugins=bench.plugins))
        )
    for row, before, after in zip(inputs, said, loaded, strict=True):
        if not equal_json(before, after):
            raise Failed(
                f"{row} is answered {after} by the loaded task, and {before} by the one that was fitted"
            )


@rule("a run must be reproducible bit for bit")
def trains_alike(bench: TaskBench) -> None:
    """Two runs with the same seed end with the same weights."""
    with TemporaryDirectory() as folder:
        runs = [Path(folder, name) for name in ("one", "two")]
        for run in runs:
            bench.train(run, trainer={"max_steps": 4})
        weights = [(RunFolder(run).model / WEIGHTS).read_bytes() for run in runs]
    if weights[0] != weights[1]:
        raise Failed("two runs with one config and seed end with different weights")


@rule("resuming must not change the result")
def resumes_exactly(bench: TaskBench) -> None:
    """A run that is killed and resumed ends with the weights of an uninterrupted one, bit for bit."""
    trainer = {"max_steps": 5, "checkpoint_every_steps": 2, "evaluate_every_steps": 5}
    with TemporaryDirectory() as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        bench.train(whole, trainer=trainer)
        try:
            bench.train(broken, trainer=trainer, callbacks=[KillAfter(3)])
        except Killed:
            bench.train(broken, trainer=trainer, resume=True)
        tensors = [(RunFolder(run).saved_checkpoints()[0] / TENSORS).read_bytes() for run in (whole, broken)]
    if tensors[0] != tensors[1]:
        raise Failed("a run resumed after step 2 differs from one that was not interrupted")


@rule("`shared_module_key` would share nothing")
def shares_its_modules(bench: TaskBench) -> None:
    """With a second task and the same keys, embedding and slots are one module, and both tasks train."""
    settings, keys = _with_shared_keys(bench)
    prepared = bench.prepare(**{TASK: settings, OTHER: settings})
    owned = [{id(each) for each in model.parameters()} for model in prepared.model.tasks.values()]
    # Keys within a shared module are met once, when the first task builds it.
    shared = {built.config.shared_module_key: built for built in prepared.model.built}
    for key in keys:
        if key not in shared:
            raise Failed(f"the {key} is not built by `build`")
        if len(shared[key].users) < 2:
            raise Failed(f"the {key} of a second task is not the first one's")
        if any(id(each) not in ids for each in shared[key].module.parameters() for ids in owned):
            raise Failed(f"the {key} is shared, but a task's model does not use it as it is")
    with TemporaryDirectory() as folder:
        config = bench.run_config({"max_steps": 4}, **{TASK: settings, OTHER: settings})
        result = train(config, output=Path(folder, "run"), plugins=bench.plugins).data
    idle = [name for name, facts in result["tasks"].items() if not facts["steps"]]
    if idle:
        raise Failed(f"{' and '.join(idle)} did not train")


def _with_shared_keys(bench: TaskBench) -> tuple[dict[str, Any], list[str]]:
    """Return the task's settings in full, with a key for its features and each of its modules; and these
    keys."""
    settings: dict[str, Any] = json_form(bench.component, bench.folder)[bench.name]
    keys = []
    for name in settings:
        value = getattr(bench.config, name)
        if isinstance(value, FeaturesConfig):
            settings[name]["shared_module_key"] = name
        elif isinstance(value, Component) and isinstance(value.config, ModuleConfig):
            settings[name][value.name]["shared_module_key"] = name
        else:
            continue
        keys.append(name)
    return settings, keys


RULES = (
    trains_and_loads,
    answers_every_row,
    answers_as_trained,
    trains_alike,
    resumes_exactly,
    shares_its_modules,
)
