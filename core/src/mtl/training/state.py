"""The counters of a run: all of them survive a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from attrs import asdict, define, field, fields
from torch import Tensor

from mtl.components import Loss
from mtl.data.columns import Batch
from mtl.training.timeline import BatchSpan

STAGES = ("data", "forward", "backward", "optimizer")
TIMED = (*STAGES, "eval")
COUNTED = ("rows", "words", "pieces")


def rates(counts: Mapping[str, float], seconds: float) -> dict[str, float | None]:
    """Return examples, words and pieces per second; None if no time has passed, or if there are no pieces."""

    def rate(name: str) -> float | None:
        return counts[name] / seconds if seconds and (counts[name] or name != "pieces") else None

    return {
        "examples_per_second": rate("rows"),
        "words_per_second": rate("words"),
        "pieces_per_second": rate("pieces"),
    }


@define
class StepSums:
    """Sums over the batches of one task in a step; `total` and `weight` are those of their losses."""

    total: Tensor | float = 0.0
    weight: Tensor | float = 0.0
    rows: int = 0
    words: int = 0
    pieces: int = 0
    batches: int = 0
    seconds: float = 0.0

    def add(self, loss: Loss, batch: Batch) -> None:
        """Add a batch."""
        self.total = self.total + loss.total.detach()
        self.weight = self.weight + loss.weight
        self.rows += len(batch)
        self.words += batch.words
        self.pieces += batch.pieces
        self.batches += 1


@define
class TaskProgress:
    """One task so far. Losses are summed on the device since the last report.

    `pass_index` and `batch` are its position in its data. `scores` are the values of its metric in this
    phase, each with its step; `best` is the best of them, `stopped_at` the step of its early stopping.
    `time` holds the seconds since the last report, by stage.
    """

    steps: int = 0
    batches: int = 0
    rows: int = 0
    words: int = 0
    pieces: int = 0
    seconds: float = 0.0
    skipped: int = 0
    pass_index: int = 0
    batch: int = 0
    rows_in_pass: int = 0
    best: float | None = None
    stale_evaluations: int = 0
    stopped_at: int | None = None
    scores: list[list[float]] = field(factory=list)
    time: dict[str, float] = field(factory=lambda: dict.fromkeys(TIMED, 0.0))
    reported: dict[str, float] = field(factory=lambda: dict.fromkeys(("steps", *COUNTED, "seconds"), 0))
    loss_total: Tensor = field(factory=lambda: torch.zeros((), dtype=torch.float64))
    loss_weight: Tensor = field(factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, sums: StepSums, span: BatchSpan, *, usable: bool, pass_ended: bool) -> None:
        """Count a step and advance in the data; the loss of a skipped step is left out."""
        self.steps += 1
        self.batches += sums.batches
        self.rows += sums.rows
        self.rows_in_pass += sums.rows
        self.words += sums.words
        self.pieces += sums.pieces
        self.seconds += sums.seconds
        if usable:
            self.loss_total += sums.total
            self.loss_weight += sums.weight
        else:
            self.skipped += 1
        self.batch = span.stop
        if pass_ended:
            self.pass_index, self.batch, self.rows_in_pass = span.pass_index + 1, 0, 0

    def scored(self, step: int, value: float | None, *, better: bool) -> None:
        """Record the task's metric after an evaluation, None if it is undefined."""
        if value is not None:
            self.scores.append([step, value])
        self.best = value if better else self.best
        self.stale_evaluations = 0 if better else self.stale_evaluations + 1

    def begin_phase(self) -> None:
        """Forget the metrics of the phase before."""
        self.best, self.stale_evaluations, self.stopped_at, self.scores = None, 0, None, []

    def distinct_rows(self, total: int) -> int:
        """Return the number of different rows seen: all of them after the first pass."""
        return total if self.pass_index else self.rows_in_pass

    @property
    def steps_since_report(self) -> int:
        """Steps since the last report."""
        return self.steps - int(self.reported["steps"])

    def report(self) -> dict[str, Any]:
        """Return the mean loss (None if every step was skipped), speed and time of each stage since the last
        report, and reset them."""
        now = {name: getattr(self, name) for name in ("steps", *COUNTED, "seconds")}
        since = {name: count - self.reported[name] for name, count in now.items()}
        loss = (self.loss_total / self.loss_weight).item() if self.loss_weight.item() else None
        self.loss_total.zero_()
        self.loss_weight.zero_()
        self.reported = now
        return {"loss": loss, **rates(since, since["seconds"]), "time": self._shares_of_time()}

    def _shares_of_time(self) -> dict[str, float]:
        spent, self.time = self.time, dict.fromkeys(TIMED, 0.0)
        total = sum(spent.values()) or 1.0
        return {name: round(seconds / total, 4) for name, seconds in spent.items()}


@define
class Evaluation:
    """One evaluation: `value` selects the best model, `metrics` are by task."""

    step: int
    epoch: int
    value: float | None
    metrics: dict[str, dict[str, Any]]


@define
class PhaseStart:
    """The start of a phase: its index, the steps and epochs before it, and the tasks' positions
    (passes, batches) in their data."""

    index: int = 0
    step: int = 0
    epoch: int = 0
    places: dict[str, list[int]] = field(factory=dict)


@define
class TrainingState:
    """The state of a run between two steps.

    Steps are counted as planned, including the skipped steps of tasks that stopped early. `best` is the
    evaluation of the saved model, `best_value` the best value so far of the metric that selects it,
    `stopping_value` that of the metric that early stopping follows. If `evaluation_interrupted`, the last
    step is still to be evaluated.
    """

    tasks: dict[str, TaskProgress]
    step: int = 0
    epoch: int = 0
    phase: PhaseStart = field(factory=PhaseStart)
    evaluations: int = 0
    best: Evaluation | None = None
    best_value: float | None = None
    stopping_value: float | None = None
    evaluations_without_improvement: int = 0
    stopped_early: bool = False
    evaluation_interrupted: bool = False
    seconds: dict[str, float] = field(factory=lambda: dict.fromkeys((*TIMED, "total"), 0.0))

    @classmethod
    def fresh(cls, tasks: Iterable[str], device: torch.device) -> Self:
        """Return the state before the first step."""
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return cls({name: TaskProgress(loss_total=zero.clone(), loss_weight=zero.clone()) for name in tasks})

    @property
    def stopped(self) -> list[str]:
        """The tasks that stopped early."""
        return [task for task, progress in self.tasks.items() if progress.stopped_at is not None]

    def begin_phase(self, index: int) -> None:
        """Reset what is counted per phase: the best model and the patience."""
        places = {task: [progress.pass_index, progress.batch] for task, progress in self.tasks.items()}
        self.phase = PhaseStart(index, self.step, self.epoch, places)
        self.best, self.best_value, self.stopping_value = None, None, None
        self.evaluations, self.evaluations_without_improvement = 0, 0
        self.stopped_early = False
        for progress in self.tasks.values():
            progress.begin_phase()

    def record(self, kind: str, task: str, values: Mapping[str, Any], *, phases: int) -> dict[str, Any]:
        """Return a line for the metrics, with its phase if there are several."""
        phase = {"phase": self.phase.index} if phases > 1 else {}
        return {"kind": kind, "step": self.step, "epoch": self.epoch, **phase, "task": task, **values}

    def tensors(self) -> dict[str, Tensor]:
        """Return the loss sums since the last report."""
        return {
            f"{task}.{name}": getattr(progress, f"loss_{name}")
            for task, progress in self.tasks.items()
            for name in ("total", "weight")
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tensors."""
        return asdict(self, filter=lambda attribute, value: not isinstance(value, Tensor))

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Restore `to_json()` and `tensors()`. Raises `ValueError` for anything else."""
        known = {attribute.name for attribute in fields(TaskProgress)}
        if state["tasks"].keys() != self.tasks.keys() or tensors.keys() != self.tensors().keys():
            raise ValueError(f"it has the tasks {', '.join(state['tasks'])}")
        for task, progress in self.tasks.items():
            for name, value in state["tasks"][task].items():
                if name not in known or not _may_be(name, value, getattr(progress, name)):
                    raise ValueError(f"{name} of {task} cannot be {value!r:.40}")
                setattr(progress, name, value)
            progress.loss_total.copy_(tensors[f"{task}.total"])
            progress.loss_weight.copy_(tensors[f"{task}.weight"])
        self.step, self.epoch = int(state["step"]), int(state["epoch"])
        start = PhaseStart(**state["phase"])
        if start.index < 0 or not 0 <= start.step <= self.step:
            raise ValueError(f"phase {start.index} cannot begin at step {start.step} of {self.step}")
        places = {
            task: [int(start.places[task][0]), int(start.places[task][1])]
            for task in (self.tasks if start.places else ())
        }
        self.phase = PhaseStart(int(start.index), int(start.step), int(start.epoch), places)
        self.evaluations = int(state["evaluations"])
        self.best = Evaluation(**state["best"]) if state["best"] else None
        for task, metrics in self.best.metrics.items() if self.best else ():
            if not isinstance(metrics, dict):
                raise ValueError(f"metrics of {task} cannot be {metrics!r:.40}")
        self.best_value, self.stopping_value = (
            None if state[name] is None else float(state[name]) for name in ("best_value", "stopping_value")
        )
        self.evaluations_without_improvement = int(state["evaluations_without_improvement"])
        self.stopped_early = bool(state["stopped_early"])
        self.evaluation_interrupted = bool(state.get("evaluation_interrupted", False))
        self.seconds = {stage: float(state["seconds"][stage]) for stage in self.seconds}


def _may_be(name: str, value: Any, before: Any) -> bool:
    """Return whether a field of `TaskProgress` can be `value`; it was `before`."""
    if name in ("best", "stopped_at"):
        return value is None or type(value) in (int, float)
    if name == "scores":
        return isinstance(value, list) and all(
            isinstance(pair, list) and [type(each) for each in pair] in ([int, int], [int, float])
            for pair in value
        )
    if name in ("time", "reported"):
        return (
            isinstance(value, dict)
            and value.keys() == before.keys()
            and all(type(each) in (int, float) for each in value.values())
        )
    return isinstance(value, type(before))
