"""What steers the training: schedules, learning rates, balancers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from mtl.config.fields import configclass, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ConfigT = TypeVar("ConfigT")


@configclass
class ScheduleConfig:
    """Which task's batch comes next, and what an epoch is."""

    epoch: Literal["auto", "first", "all", "task", "steps"] = option(
        "auto",
        "An epoch ends when the first dataset ends (`first`), when all have (`all`: each row once),"
        " with one task's dataset (`task`) or after `steps`; `auto` is the target task's, or `all`"
        " where there is none.",
    )
    epoch_task: str | None = option(None, "The task whose dataset an epoch is, with `task`.")
    epoch_steps: int | None = option(None, "Steps an epoch, with `steps`.", minimum=1)

    task_keys: ClassVar[tuple[str, ...]] = ()
    """Options whose keys are names of tasks; one that there is not is refused."""


class Schedule(ABC, Generic[ConfigT]):
    """An order of tasks. It holds no state: a run's place in it is (epoch, step)."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        """The tasks of one epoch's steps, step by step.

        `sizes` are steps a task: those left in its dataset where `cycle` is false (the iterator
        then gives each task exactly that often and ends), else those of its whole dataset (the
        iterator never ends; the epoch rule does that). `seed` differs between epochs.
        """


@configclass
class LRSchedulerConfig:
    """How the learning rate moves."""

    @property
    def by_metric(self) -> bool:
        """Whether it steps on the selection figure after an evaluation, instead of every step."""
        return False

    @property
    def uses_total_steps(self) -> bool:
        """Whether the rate of a step depends on the length of the run, so that a run that has begun
        cannot be made longer."""
        return True


class Balancer(ABC, Generic[ConfigT]):
    """Weighs the tasks' losses against each other."""

    def __init__(self, config: ConfigT, *, tasks: Mapping[str, float]) -> None:
        """`tasks` are the config's `task_weights`."""
        self.config = config
        self.tasks = tasks

    @abstractmethod
    def factor(self, task: str, loss: Tensor) -> Tensor | float:
        """What the gradient of a step of `task` is multiplied by; `loss` is its mean loss, detached."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What must survive a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what `state_dict` gave."""
