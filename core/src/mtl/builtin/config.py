"""The settings of the core's own components. Free of torch."""

from __future__ import annotations

from typing import ClassVar

from attrs import Factory

from mtl.components import LRSchedulerConfig, ScheduleConfig
from mtl.config.fields import configclass, option


@configclass
class AdamConfig:
    """Adam. The defaults are PyText's."""

    lr: float = option(1e-3, "Learning rate.", above=0)
    betas: list[float] = option(
        Factory(lambda: [0.9, 0.999]), "Decay of the two moments.", minimum=0, below=1
    )
    eps: float = option(1e-8, "Keeps the division away from zero.", above=0)
    weight_decay: float = option(1e-5, "L2 penalty, part of the gradient.", minimum=0)

    def __attrs_post_init__(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"`betas` must be two numbers, but has {len(self.betas)}")


@configclass
class AdamWConfig(AdamConfig):
    """AdamW."""

    weight_decay: float = option(1e-2, "Decay of the weights, apart from the gradient.", minimum=0)


@configclass
class SGDConfig:
    """Stochastic gradient descent."""

    lr: float = option(0.1, "Learning rate.", above=0)
    momentum: float = option(0.0, "Share of the last step in the next one.", minimum=0, below=1)
    nesterov: bool = option(False, "Nesterov's momentum.")
    weight_decay: float = option(0.0, "L2 penalty, part of the gradient.", minimum=0)

    def __attrs_post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs a `momentum` above 0")


@configclass
class WarmupConfig(LRSchedulerConfig):
    """What the schedulers that move every step have in common."""

    warmup_steps: int = option(0, "Steps in which the rate rises from 0 in a straight line.", minimum=0)


@configclass
class ConstantConfig(WarmupConfig):
    """A constant rate."""

    @property
    def uses_total_steps(self) -> bool:
        return False


@configclass
class LinearConfig(WarmupConfig):
    """A straight line down to `final_share` of the rate at the last step."""

    final_share: float = option(0.0, "Share of the rate at the last step.", minimum=0, maximum=1)


@configclass
class CosineConfig(WarmupConfig):
    """Half a cosine down to `final_share` of the rate at the last step."""

    final_share: float = option(0.0, "Share of the rate at the last step.", minimum=0, maximum=1)


@configclass
class ReduceOnPlateauConfig(LRSchedulerConfig):
    """Reduces the rate when the selection figure has not become better for a while."""

    factor: float = option(0.5, "What the rate is multiplied by.", above=0, below=1)
    patience: int = option(2, "Evaluations without improvement that are let pass.", minimum=0)
    minimum_lr: float = option(0.0, "The rate never falls below this.", minimum=0)

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
class SequentialConfig(ScheduleConfig):
    """One task after the other, in the order of the config."""


@configclass
class StaticWeightsConfig:
    """The config's `task_weights`, as they are."""
