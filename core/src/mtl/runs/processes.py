"""Several processes for one run: how they are started, join, and follow the one that writes the folder."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from signal import SIGTERM
from typing import Any

import torch
import torch.distributed as dist
from attrs import define
from torch import Tensor

from mtl.components import Split
from mtl.runs.observer import SignalReceiver
from mtl.training.observer import Observer
from mtl.training.processes import Processes
from mtl.training.state import Evaluation

logger = logging.getLogger("mtl")


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun or `launch` started with this one; alone if it was started by itself.

    A process group that the caller has made is used as it is.
    """
    if dist.is_initialized():
        yield _processes()
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
        yield Processes()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield _processes()
    finally:
        dist.destroy_process_group()


def _processes() -> Processes:
    return Processes(dist.get_rank(), dist.get_world_size())


@define(eq=False)
class AgreeingObserver:
    """An observer whose answers are those of all processes, which leave the loop after the same step.

    They agree after each step; a signal within an evaluation counts after the next one.
    """

    observer: Observer
    processes: Processes
    stop: bool = False
    end: bool = False

    def step_ended(self, step: int, epoch: int, task: str) -> None:
        """Report the step, and agree."""
        self.observer.step_ended(step, epoch, task)
        self.stop, self.end = self.processes.any(
            self.observer.stop_requested(), self.observer.end_requested()
        )

    def record(self, record: Mapping[str, Any]) -> None:
        """Report the record."""
        self.observer.record(record)

    def evaluating(self, task: str, split: Split, batch: int, batches: int) -> None:
        """Report the progress."""
        self.observer.evaluating(task, split, batch, batches)

    def evaluated(self, evaluation: Evaluation, metric: str, *, kept: bool, best: bool) -> None:
        """Report the evaluation."""
        self.observer.evaluated(evaluation, metric, kept=kept, best=best)

    def checkpoint_due(self, step: int, epoch_ended: bool) -> bool:
        """Ask the observer: only the leading process writes checkpoints."""
        return self.observer.checkpoint_due(step, epoch_ended)

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write the checkpoint."""
        self.observer.save_checkpoint(step, tensors, state)

    def stop_requested(self) -> bool:
        """Return whether a process was asked to stop."""
        return self.stop

    def end_requested(self) -> bool:
        """Return whether a process was asked to end the run."""
        return self.end


@define(eq=False)
class Follower(SignalReceiver):
    """The observer of a process that writes nothing."""

    def step_ended(self, step: int, epoch: int, task: str) -> None:
        """Do nothing."""

    def record(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def evaluating(self, task: str, split: Split, batch: int, batches: int) -> None:
        """Do nothing."""

    def evaluated(self, evaluation: Evaluation, metric: str, *, kept: bool, best: bool) -> None:
        """Do nothing."""

    def checkpoint_due(self, step: int, epoch_ended: bool) -> bool:
        """Return that none is."""
        return False

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Do nothing: the state is that of the leading process."""

    def end_requested(self) -> bool:
        """Return that it was not."""
        return False


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run `python -m mtl` with `arguments` in `count` processes of this machine, and return the exit status.

    They are started by torch's elastic launcher, as by torchrun: if one of them ends, the others are ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // count, 1)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="mtl",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "mtl", *arguments)
    except SignalException as error:
        return 128 + error.sigval
    except ChildFailedError as error:
        statuses = {rank: failure.exitcode for rank, failure in error.failures.items()}
        # The launcher ends the others by SIGTERM.
        killed = {rank: -status for rank, status in statuses.items() if status < 0 and status != -SIGTERM}
        for rank, number in sorted(killed.items()):
            logger.error(
                "process %d of %d was ended by signal %d; `--resume` continues from the newest checkpoint",
                *(rank, count, number),
            )
        if killed:
            return 1
        return max((status for status in statuses.values() if status > 0), default=1)
    return 0
