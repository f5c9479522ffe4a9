"""Callbacks learn how a run goes on and ends, and may end it."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl import Interrupted, hookimpl
from mtl.errors import MtlError

Config = dict[str, Any]


class Killed(BaseException):
    """Stands for SIGKILL."""


class Recorder:
    """Notes how the run starts and ends."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def mtl_run_started(self, resumed_step: int) -> None:
        self.seen.append(("started", resumed_step))

    @hookimpl
    def mtl_run_ended(self, result: Config) -> None:
        self.seen.append(("ended", result["steps"]))

    @hookimpl
    def mtl_run_failed(self, error: Exception, step: int) -> None:
        self.seen.append(("failed", error, step))

    @hookimpl
    def mtl_run_interrupted(self, signal: int, step: int) -> None:
        self.seen.append(("interrupted", signal, step))


class At:
    """Does something after a step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            self.action()


def stop() -> None:
    raise mtl.StopRun("not promising")


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_interruption_hook_is_called_and_the_run_resumes(
    tiny: Config, tmp_path: Path, number: signal.Signals
) -> None:
    recorder = Recorder()
    with pytest.raises(Interrupted):
        interrupt = At(5, lambda: signal.raise_signal(number))
        mtl.train(tiny, output=tmp_path / "run", callbacks=[recorder, interrupt])
    steps = mtl.train(tiny, output=tmp_path / "run", callbacks=[recorder], resume=True).data["steps"]
    assert recorder.seen == [("started", 0), ("interrupted", number, 5), ("started", 5), ("ended", steps)]


def test_the_failure_hook_gets_the_cause(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MtlError("no such luck")

    recorder = Recorder()
    monkeypatch.setattr("mtl.training.evaluator.evaluate", fail)
    with pytest.raises(MtlError, match="no such luck") as raised:
        mtl.train(tiny, output=tmp_path / "run", callbacks=[recorder])
    [started, (kind, error, step)] = recorder.seen
    assert started == ("started", 0) and kind == "failed" and step > 0
    assert error is raised.value


def test_a_callback_ends_the_run_after_its_step(tiny: Config, tmp_path: Path) -> None:
    recorder = Recorder()
    result = mtl.train(tiny, output=tmp_path / "run", callbacks=[recorder, At(3, stop)]).data
    assert result["steps"] == 3 and result["stopped"] == "not promising"
    assert result["best"]["step"] == 3 and result["tasks"]["LM"]["test"]["loss"] is not None
    assert recorder.seen == [("started", 0), ("ended", 3)]
    assert json.loads((tmp_path / "run/result.json").read_text())["stopped"] == "not promising"
    assert mtl.load(tmp_path / "run").task_names == ["SST2", "LM"]


def test_a_callback_ends_the_run_from_an_evaluation(tiny: Config, tmp_path: Path) -> None:
    class Prunes:
        @hookimpl
        def mtl_evaluated(self, epoch: int) -> None:
            if epoch == 1:
                raise mtl.StopRun

    records = mtl.train(tiny, output=tmp_path / "run", callbacks=[Prunes()])
    assert records.data["stopped"] == "callback 0"
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["task"] for line in lines if line["kind"] == "eval"] == ["SST2", "LM"]


def test_a_callback_that_raises_is_disabled_by_name(
    tiny: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise KeyError("oh")

    with caplog.at_level(logging.WARNING, "mtl"):
        result = mtl.train(tiny, output=tmp_path / "run", callbacks=[At(2, fail)]).data
    said = [record.message for record in caplog.records]
    assert "callback 0 raised an exception in mtl_step_ended and was disabled: KeyError: 'oh'" in said
    assert result["stopped"] is None


class InterruptsEvaluation:
    """Sends Ctrl-C when so many batches of the evaluations of a split were evaluated."""

    def __init__(self, split: str, after: int) -> None:
        self.split, self.left = split, after
        self.seen: list[tuple[str, str, int, int]] = []

    @hookimpl
    def mtl_batch_evaluated(self, task: str, split: str, batch: int, batches: int) -> None:
        self.seen.append((task, split, batch, batches))
        self.left -= split == self.split
        if not self.left:
            signal.raise_signal(signal.SIGINT)


def test_evaluations_tell_how_far_they_are(tiny: Config, tmp_path: Path) -> None:
    tiny["trainer"]["epochs"] = 1
    recorder = InterruptsEvaluation("none", 1)
    mtl.train(tiny, output=tmp_path / "run", callbacks=[recorder])
    expected = [
        (task, split, batch, batches)
        for split, tasks in (("eval", {"SST2": 3, "LM": 2}), ("test", {"SST2": 2, "LM": 2}))
        for task, batches in tasks.items()
        for batch in range(batches + 1)
    ]
    assert recorder.seen == expected


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize(
    ("split", "after"), [("eval", 1), ("eval", 6), ("eval", 8), ("eval", 21), ("test", 2)]
)
def test_an_interrupted_evaluation_is_repeated_on_resume(
    split: str, after: int, average: float | None, tiny: Config, tmp_path: Path, differences: Any
) -> None:
    """It ends after the batch; the resumed run is the one that was not interrupted."""
    tiny["trainer"] |= {"evaluate_every_steps": 3, "average_decay": average, "early_stop_after": 4}
    mtl.train(tiny, output=tmp_path / "whole")
    interrupt = InterruptsEvaluation(split, after)
    with pytest.raises(Interrupted, match="its state is saved"):
        mtl.train(tiny, output=tmp_path / "resumed", callbacks=[interrupt])
    assert [each[1] for each in interrupt.seen].count(split) == after, "no batch more"
    mtl.train(tiny, output=tmp_path / "resumed", resume=True)
    assert [
        name for name in differences(tmp_path / "whole", tmp_path / "resumed") if "checkpoints" not in name
    ] == []
