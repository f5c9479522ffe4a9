"""A run on the terminal: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtl.hookspecs import hookimpl
from mtl.render.cells import count, duration, number, rate, share, size
from mtl.render.live import LiveDisplay
from mtl.render.plan import plan_summary
from mtl.render.results import result_table
from mtl.render.terminal import errors, output

BEFORE_AN_ESTIMATE = 1.0
"""Seconds of steps before their speed says anything."""
WORTH_AN_ESTIMATE = 10.0
"""Seconds of a run whose length is said when it begins."""
SECONDS_BETWEEN_LINES = 10.0
"""Between two progress lines where there is no terminal; metrics.jsonl holds every record."""
COSINES, MODULES = 20, 3
"""The last comparisons of gradients that the display averages, and how many shared modules it has."""


class Console:
    """Shows a run: the plan before it, a live display or plain lines, and the closing table.

    Use it as a context manager, so that the live display ends with the run however that ends.
    """

    def __init__(self, *, quiet: bool = False, from_python: bool = False) -> None:
        self.quiet = quiet
        self.from_python = from_python
        self.errors = errors()
        # What a program prints on standard output is its own.
        self.output = self.errors if from_python else output()
        self.animated = self.errors.is_terminal and not self.errors.is_dumb_terminal and sys.stderr.isatty()
        self.folder = Path()
        self.completed = False
        self.plan: Mapping[str, Any] = {}
        self._live: LiveDisplay | None = None
        self._step = self._epoch = 0
        self._first: tuple[int, float] | None = None
        self._last_line = 0.0
        self._evaluating = ""
        self._estimated = False
        self._records: dict[str, Mapping[str, Any]] = {}
        self._evaluated: dict[str, Mapping[str, Any]] = {}
        self._cosines: dict[str, deque[float]] = {}
        self._selects = True
        self._patience: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    # --- run-time hooks ----------------------------------------------------------------------------

    @hookimpl
    def mtl_run_started(self, folder: str, config: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
        """Show what will be trained, and start the display."""
        self.folder, self.plan = _from_here(Path(folder)), plan
        self._selects = config.get("trainer", {}).get("keep_model") != "last"
        self._patience = config.get("trainer", {}).get("early_stop_after")
        if self.quiet:
            return
        self.errors.print(plan_summary(plan, self.folder))
        self.errors.print()
        self._last_line = time.monotonic()
        if self.animated:
            self._live = LiveDisplay(self.errors, self._display)
            self._live.start()

    @hookimpl
    def mtl_step_ended(self, step: int, epoch: int, task: str) -> None:
        """Record the position in the run for the next refresh of the display; say once how long it takes."""
        if self._first is None:
            self._first = step - 1, time.monotonic()
        self._step, self._epoch = step, epoch
        if not self._estimated and not self.quiet:
            self._say_estimate()

    def _say_estimate(self) -> None:
        """Say how long the run will take, as soon as some steps tell."""
        left = self._seconds_left()
        if left is not None:
            self._estimated = True
            if left > WORTH_AN_ESTIMATE:
                steps = count(self._total - self._step, "step")
                text = f"about {duration(left)} for {steps}, at the speed of the first ones"
                self.errors.print(Text(text, style="dim"), soft_wrap=True)

    @hookimpl
    def mtl_recorded(self, record: Mapping[str, Any]) -> None:
        """Record a task's loss and speed; without a terminal, print a line every few seconds."""
        if record["kind"] == "stopped" and not self.quiet:
            stop = _early_stop(record["task"], record["step"], record["evaluations_without_improvement"])
            self.errors.print(stop, soft_wrap=True)
        if record["kind"] == "gradients" and record["cosine"] is not None:
            self._cosines.setdefault(record["module"], deque(maxlen=COSINES)).append(record["cosine"])
        if record["kind"] != "train":
            return
        self._records[record["task"]] = record
        if self.quiet or self.animated or time.monotonic() - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = time.monotonic()
        self.errors.print(self._line(), soft_wrap=True)

    @hookimpl
    def mtl_batch_evaluated(self, task: str, split: str, batch: int, batches: int) -> None:
        """Note how far an evaluation is; without a terminal, a line every few seconds."""
        what = "testing" if split == "test" else "evaluating"
        place = f"{what} {task}: {batch:,} of {batches:,} batches"
        self._evaluating = place if batch < batches else ""
        if self.quiet or self.animated or time.monotonic() - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = time.monotonic()
        self.errors.print(place, soft_wrap=True)

    @hookimpl
    def mtl_evaluated(
        self,
        step: int,
        epoch: int,
        tasks: Mapping[str, Mapping[str, Any]],
        best: bool,
        selection: Mapping[str, Any],
    ) -> None:
        """Print one line per task, and whether this is the best evaluation so far."""
        self._evaluated = dict(tasks)
        if tasks and not self.quiet:
            self.errors.print(self._evaluation(step, epoch, tasks, best), soft_wrap=True)

    @hookimpl
    def mtl_run_ended(self, result: Mapping[str, Any]) -> None:
        """Print the results, the run folder and the commands to use it."""
        self._stop()
        self.completed = True
        if self.quiet:
            return
        metrics = {name: task["metric"] for name, task in self.plan["tasks"].items()}
        self.errors.print()
        self.output.print(result_table(result, metrics))
        self.output.print()
        if result.get("fast"):
            self.output.print(_fast(result), soft_wrap=True)
            return
        if result.get("stopped_early") and self._patience:
            self.output.print(_early_stop("run", result["steps"], self._patience), soft_wrap=True)
        self.output.print(_closing(result, self.folder, selects=self._selects), soft_wrap=True)
        self.output.file.flush()
        if not self.from_python:
            self.errors.print(_next_steps(result, self.folder), soft_wrap=True)

    # --- the display -------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def _total(self) -> int:
        return int(self.plan["schedule"]["steps"])

    def _left(self) -> str:
        left = self._seconds_left()
        return "" if left is None else f"{duration(left)} left"

    def _seconds_left(self) -> float | None:
        """Return the time left at the run's mean speed, evaluations included; None before it is known."""
        if self._first is None:
            return None
        first, since = self._first
        done, elapsed = self._step - first - 1, time.monotonic() - since
        if done < 2 * len(self.plan["tasks"]) or elapsed < BEFORE_AN_ESTIMATE:
            return None
        return (self._total - self._step) * elapsed / done

    def _place(self) -> str:
        return f"epoch {max(self._epoch, 1)} of {self.plan['schedule']['epochs']}"

    def _display(self) -> RenderableType:
        head = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(
            total=self._total, completed=self._step, width=24, complete_style="cyan", finished_style="cyan"
        )
        steps = f"{self._step:,} of {self._total:,} steps"
        now = self._evaluating or self._left()
        head.add_row(Text(self._place(), style="bold"), bar, steps, Text(now, style="dim"))
        gap = [Text()] if self._evaluated else []
        return Group(*gap, head, *map(self._task, self.plan["tasks"]), *self._gradients())

    def _gradients(self) -> Iterator[Text]:
        """Yield the mean cosine of the tasks' gradients, for each shared module."""
        for module, cosines in islice(self._cosines.items(), MODULES):
            mean = sum(cosines) / len(cosines)
            yield Text(f"  {module}: cosine of the tasks' gradients {mean:+.2f}", style="dim", no_wrap=True)

    def _task(self, name: str) -> Text:
        record, metric = self._records.get(name, {}), self.plan["tasks"][name]["metric"]
        line = Text.assemble(f"  {self._padded(name)}", style="bold", no_wrap=True, overflow="ellipsis")
        line.append(f"   loss {number(record.get('loss')):>6}", style="not bold")
        if name in self._evaluated:
            line.append(f"   {self._metric(metric, self._evaluated[name].get(metric))}", style="not bold")
        speed = f"   {rate(record.get('examples_per_second')):>7} examples/s"
        speed += f"   {rate(record.get('words_per_second')):>8} words/s"
        if record.get("pieces_per_second") is not None:
            speed += f"   {rate(record['pieces_per_second']):>8} pieces/s"
        if "share" in record:
            waits = f"{share(record['time']['data'])} of their time for data"
            speed += f"   {share(record['share'])} of the steps, {waits}"
        return line.append(speed, style="not bold dim")

    def _padded(self, name: str) -> str:
        return name.ljust(max(map(len, self.plan["tasks"])))

    def _metric(self, metric: str, value: Any) -> str:
        widest = max(len(task["metric"]) for task in self.plan["tasks"].values())
        return f"{metric.ljust(widest)} {number(value):>6}"

    def _line(self) -> str:
        done = f"step {self._step:,} of {self._total:,}, {self._place()}"
        left = self._left()
        tasks = "; ".join(
            f"{task} loss {number(record['loss'])}, {rate(record['examples_per_second'])} examples/s"
            for task, record in self._records.items()
        )
        return f"{done}{f', {left}' if left else ''}: {tasks}"

    def _evaluation(self, step: int, epoch: int, tasks: Mapping[str, Mapping[str, Any]], best: bool) -> Text:
        widest = f"epoch {self.plan['schedule']['epochs']}, step {self._total:,}"
        text = Text()
        for index, (name, metrics) in enumerate(tasks.items()):
            metric = self.plan["tasks"][name]["metric"]
            values = [
                f"loss {number(metrics.get('loss')):>6}",
                self._metric(metric, metrics.get(metric)),
            ]
            where = "" if index else f"epoch {epoch}, step {step:,}"
            text.append("\n" if index else "").append(where.ljust(len(widest)), style="dim")
            text.append(f"   {self._padded(name)}", style="bold").append(f"   {'   '.join(values)}")
            kept = "best so far" if self._selects else "kept"
            text.append(f"   {kept}" if best and not index else "", style="green")
        return text


def _early_stop(what: str, step: int, stale: int) -> str:
    """Return why a task or the run ended before its last step."""
    return f"{what}: early stopping at step {step:,} (no improvement in {count(stale, 'evaluation')})"


def _fast(result: Mapping[str, Any]) -> Text:
    seconds = duration(result["seconds"]["total"])
    ran = "training, evaluation, checkpoints and test ran"
    return Text(f"{ran}, {count(result['steps'], 'step')} in {seconds}; nothing is kept of a fast run")


def _closing(result: Mapping[str, Any], folder: Path, *, selects: bool) -> Text:
    best, seconds = result.get("best"), result["seconds"]
    text = Text()
    if best:
        scored = best["value"] is not None
        text.append("best" if selects and scored else "kept")
        text.append(f" at step {best['step']:,}, epoch {best['epoch']}")
        text.append(f": {best['metric']} {number(best['value'])}\n" if scored else "\n")
    parts = ", ".join(f"{duration(seconds[name])} {name}" for name in ("train", "eval") if name in seconds)
    status = result["status"]
    text.append(f"{status}: {count(result['steps'], 'step')} in {duration(seconds['total'])}")
    text.append(f" ({parts}); {size(result['peak_rss_bytes'])} peak memory\n", style="dim")
    phases = [name for name in ("data", "forward", "backward", "optimizer") if seconds.get(name)]
    spent = sum(seconds[name] for name in phases)
    shares = ", ".join(f"{name} {share(seconds[name] / spent)}" for name in phases)
    if shares:
        text.append(f"time in steps: {shares}\n", style="dim")
    return text.append(f"run folder: {folder}")


def _next_steps(result: Mapping[str, Any], folder: Path) -> Text:
    task = next(iter(result["tasks"]))
    commands = (f"mtl test {folder}", f"mtl predict {folder} --task {task} FILE")
    return Text("\n").append("\n".join(f"  {command}" for command in commands), style="dim")


def _from_here(folder: Path) -> Path:
    """Return the folder relative to the working directory if it is below that."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
