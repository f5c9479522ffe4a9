"""The settings of the balancers. Free of torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar, Literal

from mtl import configclass, option


@configclass
class UncertaintyConfig:
    """Each loss times exp(-s), where s, its log-variance, is learned."""

    lr: float = option(0.01, "Learning rate of the log-variances, by Adam.", above=0)


@configclass
class DynamicWeightAverageConfig:
    """Weights by how fast the losses fell in the period before."""

    period: int = option(100, "Steps of a task whose losses are averaged and then compared.", minimum=1)
    temperature: float = option(2.0, "The higher, the more even the weights are.", above=0)


@configclass
class RandomLossWeightingConfig:
    """The softmax of normal draws, times the number of tasks."""


@configclass
class GradNormConfig:
    """Weights that even out the norms of the gradients, and the speeds at which the tasks learn."""

    alpha: float = option(1.5, "How much more a task gets that learns more slowly than others.", minimum=0)
    lr: float = option(0.025, "Learning rate of the weights, by Adam.", above=0)


@configclass
class PCGradConfig:
    """Projection of each gradient onto the normal plane of those that it conflicts with."""


@configclass
class GradVacConfig:
    """Each pair of gradients is turned to at least its usual cosine."""

    beta: float = option(
        0.01, "Share of a step's cosine in the moving average of cosines.", minimum=0, maximum=1
    )


@configclass
class MGDAConfig:
    """The shortest vector among the weighted means of the gradients."""


@configclass
class IMTLGConfig:
    """The direction whose projections onto all gradients are equal."""


@configclass
class NashMTLConfig:
    """The Nash bargaining solution."""


@configclass
class AlignedMTLConfig:
    """The principal components of the gradients, at the same scale."""

    scale: Literal["min", "median", "rmse"] = option(
        "min", "The scale: the smallest singular value, the median one, or the root of the mean square."
    )


@configclass
class ConFIGConfig:
    """The direction at the same angle to all gradients."""


@configclass
class GradDropConfig:
    """In each coordinate the entries of one sign, drawn by how much the gradients agree on it."""

    leak: float = option(0.0, "Share of what would be dropped that is kept.", minimum=0, maximum=1)


@configclass
class SolverConfig:
    """What needs a solver that is not always installed."""

    modules: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    def __attrs_post_init__(self) -> None:
        missing = [module for module in self.modules if find_spec(module) is None]
        if missing:
            raise ValueError(
                f"{type(self).__name__.removesuffix('Config')} needs {' and '.join(missing)}, not installed"
                f" here; `pip install 'mtl-balance[{self.extra}]'` does that"
            )


@configclass
class CAGradConfig(SolverConfig):
    """The update within a ball around the mean gradient that serves the worst-off task best."""

    c: float = option(0.5, "Radius of the ball, as a share of the mean gradient's norm.", minimum=0, below=1)

    modules: ClassVar[tuple[str, ...]] = ("cvxpy", "clarabel")
    extra: ClassVar[str] = "cagrad"


@configclass
class UPGradConfig(SolverConfig):
    """Each gradient is projected onto the cone of the directions that hurt no task."""

    modules: ClassVar[tuple[str, ...]] = ("qpsolvers", "quadprog")
    extra: ClassVar[str] = "upgrad"


@configclass
class DualProjConfig(UPGradConfig):
    """The sum of the gradients is projected onto the cone of the directions that hurt no task."""
