"""The settings of the core's own components. Free of torch."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from attrs import Factory

from mtl.components import LRSchedulerConfig, ScheduleConfig
from mtl.fields import configclass, option


@configclass
class AdamConfig:
    """Adam. The defaults are PyText's."""

    lr: float = option(1e-3, "Learning rate.", above=0)
    betas: list[float] = option(
        Factory(lambda: [0.9, 0.999]), "Decay rates of the two moments.", minimum=0, below=1
    )
    eps: float = option(1e-8, "Added to the denominator for numerical stability.", above=0)
    weight_decay: float = option(1e-5, "L2 penalty, added to the gradient.", minimum=0)

    def __attrs_post_init__(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"`betas` must be two numbers, but has {len(self.betas)}")


@configclass
class AdamWConfig(AdamConfig):
    """AdamW."""

    weight_decay: float = option(1e-2, "Decoupled weight decay.", minimum=0)


@configclass
class SGDConfig:
    """Stochastic gradient descent."""

    lr: float = option(0.1, "Learning rate.", above=0)
    momentum: float = option(0.0, "Momentum.", minimum=0, below=1)
    nesterov: bool = option(False, "Nesterov momentum.")
    weight_decay: float = option(0.0, "L2 penalty, added to the gradient.", minimum=0)

    def __attrs_post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs a `momentum` above 0")


@configclass
class WarmupConfig(LRSchedulerConfig):
    """The settings of schedulers that step after each optimizer step."""

    warmup_steps: int = option(0, "Steps of linear warm-up.", minimum=0)
    warmup_share: float | None = option(
        None, "Linear warm-up as a share of all steps, instead of `warmup_steps`.", minimum=0, maximum=1
    )

    def __attrs_post_init__(self) -> None:
        if self.warmup_steps and self.warmup_share is not None:
            raise ValueError("`warmup_share` and `warmup_steps` exclude each other")

    def warmup(self, total_steps: int) -> int:
        """Return the steps of warm-up."""
        return self.warmup_steps if self.warmup_share is None else round(self.warmup_share * total_steps)


@configclass
class ConstantConfig(WarmupConfig):
    """A constant rate after the warm-up."""

    @property
    def uses_total_steps(self) -> bool:
        return self.warmup_share is not None


@configclass
class LinearConfig(WarmupConfig):
    """Linear decay to `final_share` of the rate at the last step."""

    final_share: float = option(0.0, "Share of the rate at the last step.", minimum=0, maximum=1)


@configclass
class CosineConfig(WarmupConfig):
    """Cosine decay to `final_share` of the rate at the last step."""

    final_share: float = option(0.0, "Share of the rate at the last step.", minimum=0, maximum=1)


@configclass
class ReduceOnPlateauConfig(LRSchedulerConfig):
    """Reduces the rate when the value that selects the best model has stopped improving."""

    factor: float = option(0.5, "Factor of each reduction.", above=0, below=1)
    patience: int = option(2, "Evaluations without improvement before a reduction.", minimum=0)
    minimum_lr: float = option(0.0, "Lower bound of the rate.", minimum=0)

    @property
    def by_metric(self) -> bool:
        return True

    @property
    def uses_total_steps(self) -> bool:
        return False


@configclass
class RoundRobinConfig(ScheduleConfig):
    """Round robin."""


@configclass
class JointConfig(ScheduleConfig):
    """A batch of every task in each step: their gradients are added up, or combined by the balancer."""


@configclass
class ShuffledConfig(ScheduleConfig):
    """All steps of all tasks in one random order."""


@configclass
class ProportionalConfig(ScheduleConfig):
    """Random draws in proportion to the sizes of the datasets."""


@configclass
class TemperatureConfig(ScheduleConfig):
    """Random draws, smaller datasets more often than their size says."""

    temperature: float = option(
        2.0, "At 1 a task is drawn in proportion to its steps, the more evenly the higher it is.", minimum=1
    )
    cap: int | None = option(
        None, "Steps from which a dataset counts as no larger; no limit if absent.", minimum=1
    )


@configclass
class WeightedConfig(ScheduleConfig):
    """Random draws with weights of your own."""

    weights: dict[str, float] = option(
        Factory(dict), "How often each task is drawn, relative to the others; 1 for one not named.", above=0
    )

    task_keys: ClassVar[tuple[str, ...]] = ("weights",)


@configclass
class AnnealedConfig(ScheduleConfig):
    """Random draws that move from one distribution to another."""

    start: dict[str, float] = option(
        Factory(dict),
        "How often each task is drawn at first, relative to the others; 1 if absent.",
        minimum=0,
    )
    end: dict[str, float] = option(
        Factory(dict),
        "How often each task is drawn in the end, relative to the others; 1 if absent.",
        minimum=0,
    )
    steps: int | None = option(
        None,
        "Steps from `start` to `end`; the whole phase if absent, which goes from epoch to epoch where it"
        " has a number of epochs instead of steps.",
        minimum=1,
    )

    task_keys: ClassVar[tuple[str, ...]] = ("start", "end")

    @property
    def uses_total_steps(self) -> bool:
        return self.steps is None


@configclass
class StageConfig:
    """Weights from one step on."""

    from_step: int = option(help="The first step of the stage, counted from 0 in the phase.", minimum=0)
    weights: dict[str, float] = option(
        help="How often each task is drawn, relative to the others; 1 for one not named.", minimum=0
    )


@configclass
class StepwiseConfig(ScheduleConfig):
    """Random draws with other weights from given steps on."""

    stages: list[StageConfig] = option(help="The stages by their first steps.")

    task_keys: ClassVar[tuple[str, ...]] = ("stages.weights",)

    def __attrs_post_init__(self) -> None:
        first = [stage.from_step for stage in self.stages]
        if first[:1] != [0] or any(one >= other for one, other in pairwise(first)):
            raise ValueError(f"`stages` must begin at step 0 and rise, but begin at {first or 'none'}")


@configclass
class DynamicConfig(ScheduleConfig):
    """Random draws, the more often the further a task is from its goal on the evaluation data."""

    goals: dict[str, float] = option(
        help="The metric that each task should reach, such as what it reaches alone; one that is not"
        " named is drawn as often as the others on average.",
        above=0,
    )
    minimum_share: float = option(
        0.05, "No task is drawn much less often than this, so that none is forgotten.", above=0, maximum=1
    )

    task_keys: ClassVar[tuple[str, ...]] = ("goals",)


@configclass
class SequentialConfig(ScheduleConfig):
    """One task after the other, in the order of the config."""


@configclass
class StaticWeightsConfig:
    """The config's `task_weights`, as they are."""
