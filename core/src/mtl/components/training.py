"""What steers the training: schedules, learning rates, balancers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from attrs import field, frozen

from mtl.fields import configclass, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ConfigT = TypeVar("ConfigT")


@configclass
class ScheduleConfig:
    """The order of the tasks' batches, and what an epoch is."""

    epoch: Literal["auto", "first", "all", "task", "steps"] = option(
        "auto",
        "An epoch ends when the first dataset ends (`first`), when all have (`all`: each row once),"
        " with one task's dataset (`task`) or after `steps`; `auto` is what `epoch_task` or `epoch_steps`"
        " imply, else the target task's dataset, or `all` if there is none.",
    )
    epoch_task: str | None = option(None, "Task whose dataset defines the epoch; implies `task`.")
    epoch_steps: int | None = option(None, "Steps per epoch; implies `steps`.", minimum=1)

    task_keys: ClassVar[tuple[str, ...]] = ()
    """Options whose keys are names of tasks, `list.option` for one in a list: a name that there is not is
    refused."""

    @property
    def epoch_kind(self) -> str:
        """`epoch`, or what `epoch_task` or `epoch_steps` imply."""
        if self.epoch != "auto":
            return self.epoch
        return "steps" if self.epoch_steps is not None else "task" if self.epoch_task is not None else "auto"

    @property
    def uses_total_steps(self) -> bool:
        """Whether the order of an epoch depends on the length of the run, so that a run that has begun
        cannot be made longer."""
        return False


@frozen(kw_only=True)
class Epoch:
    """The epoch that a schedule orders.

    `sizes` are steps a task: those left in its dataset where `cycle` is false, else those of its whole
    dataset. `seed` differs between epochs. `index` counts the epochs of the phase from 0, of `epochs`,
    and `first_step` its steps before this one, of `steps`; None where that does not end it.
    `scores` are the values of the tasks' metrics, one per evaluation before this epoch, and
    `higher_is_better` their directions.
    """

    sizes: Mapping[str, int]
    cycle: bool
    seed: int
    index: int = 0
    epochs: int | None = None
    first_step: int = 0
    steps: int | None = None
    scores: Mapping[str, Sequence[float]] = field(factory=dict)
    higher_is_better: Mapping[str, bool] = field(factory=dict)


class Schedule(ABC, Generic[ConfigT]):
    """An order of tasks. It holds no state: an order follows from what `Epoch` says."""

    adapts: ClassVar[bool] = False
    """Whether the order depends on the place in the run or on the scores. It is then asked for in each
    epoch; else an endless order goes on from one epoch of counted steps to the next."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def order(self, epoch: Epoch) -> Iterator[str | tuple[str, ...]]:
        """The task of each step of an epoch, or the tasks of a step that takes a batch of each.

        Where `epoch.cycle` is false the iterator gives each task exactly as often as its size says,
        and ends; else it never ends: the epoch rule does that.
        """


@configclass
class LRSchedulerConfig:
    """A learning-rate scheduler."""

    @property
    def by_metric(self) -> bool:
        """Whether it steps on the value that selects the best model, after each evaluation."""
        return False

    @property
    def uses_total_steps(self) -> bool:
        """Whether the rate of a step depends on the length of the run, so that a run that has begun
        cannot be made longer."""
        return True


class Balancer(ABC, Generic[ConfigT]):
    """Weighs the tasks' losses or gradients against each other."""

    combines: ClassVar[bool] = False
    """Whether `combine` merges the tasks' gradients, which needs steps that hold several tasks."""

    def __init__(self, config: ConfigT, *, tasks: Mapping[str, float]) -> None:
        """`tasks` are the config's `task_weights`."""
        self.config = config
        self.tasks = tasks

    @abstractmethod
    def factor(self, task: str, loss: Tensor) -> Tensor | float:
        """What the gradient of a step of `task` is multiplied by; `loss` is its mean loss, detached."""

    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        """One gradient, `[shared]`, for the parameters that several tasks of a step reach.

        `gradients` are theirs, `[tasks, shared]` in float32, a row a task in the order of `losses`, each
        multiplied by its factor. It is called in steps of several tasks where `combines` is true.
        """
        return gradients.sum(0)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What must survive a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what `state_dict` gave."""
