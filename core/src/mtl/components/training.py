"""Schedules, learning-rate schedulers and balancers."""

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
    """Options whose keys are task names, `list.option` for one in a list; unknown names are config errors."""

    @property
    def epoch_kind(self) -> str:
        """`epoch`, or what `epoch_task` or `epoch_steps` imply."""
        if self.epoch != "auto":
            return self.epoch
        return "steps" if self.epoch_steps is not None else "task" if self.epoch_task is not None else "auto"

    @property
    def uses_total_steps(self) -> bool:
        """Whether the order of an epoch depends on the length of the run, so that a started run cannot be
        extended."""
        return False


@frozen(kw_only=True)
class Epoch:
    """The epoch that a schedule orders.

    `sizes` are steps per task: those left in its dataset if `cycle` is false, else those of the whole
    dataset. `seed` differs between epochs. `index` counts the epochs of the phase from 0 and `first_step`
    its steps before this epoch; `epochs` and `steps` are their totals, None if that does not end the phase.
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
    """The order of the tasks' steps. Stateless: the order is a function of `Epoch`."""

    adapts: ClassVar[bool] = False
    """Whether the order depends on the position in the run or on the scores. If so, `order` is called for
    each epoch; if not, an endless order continues from one epoch of counted steps to the next."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def order(self, epoch: Epoch) -> Iterator[str | tuple[str, ...]]:
        """Return the task of each step of an epoch, or the tasks of each joint step.

        If `epoch.cycle` is false, the iterator yields each task exactly as often as `epoch.sizes` says, and
        ends. If it is true, the iterator is endless, and the epoch rule ends the epoch.
        """


@configclass
class LRSchedulerConfig:
    """A learning-rate scheduler."""

    @property
    def by_metric(self) -> bool:
        """Whether it is stepped after each evaluation, with the value that selects the best model."""
        return False

    @property
    def uses_total_steps(self) -> bool:
        """Whether the rate of a step depends on the length of the run, so that a started run cannot be
        extended."""
        return True


class Balancer(ABC, Generic[ConfigT]):
    """A method that weights the tasks' losses or combines their gradients."""

    combines: ClassVar[bool] = False
    """Whether `combine` merges the tasks' gradients, which requires joint steps."""

    def __init__(self, config: ConfigT, *, tasks: Mapping[str, float]) -> None:
        """`tasks` are the config's `task_weights`."""
        self.config = config
        self.tasks = tasks

    @abstractmethod
    def factor(self, task: str, loss: Tensor) -> Tensor | float:
        """Return the factor for the gradient of `task` in this step; `loss` is its mean loss, detached."""

    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        """Return one gradient, `[shared]`, for the parameters that several tasks of a step use.

        `gradients` are those of the tasks, `[tasks, shared]` in float32, one row per task in the order of
        `losses`, each multiplied by its factor. Called in joint steps if `combines` is true.
        """
        return gradients.sum(0)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors to save in a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore `state_dict()`."""
