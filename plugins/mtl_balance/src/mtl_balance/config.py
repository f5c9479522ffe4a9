"""The settings of the balancers. Free of torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar, Literal

from mtl import configclass, option


@configclass
class UncertaintyConfig:
    """Scales each loss by exp(-s), where its log-variance s is learned."""

    lr: float = option(0.01, "Learning rate of the log-variances, by Adam.", above=0)


@configclass
class DynamicWeightAverageConfig:
    """Weights each loss by how fast it fell in the previous period."""

    period: int = option(
        100,
        "Steps per task over which its loss is averaged, to be compared with the next average.",
        minimum=1,
    )
    temperature: float = option(2.0, "Softmax temperature: the higher, the more even the weights.", above=0)


@configclass
class RandomLossWeightingConfig:
    """Random weights: the softmax of normal samples, times the number of tasks."""


@configclass
class GradNormConfig:
    """Weights that balance the norms of the gradients and the training rates of the tasks."""

    alpha: float = option(1.5, "How strongly tasks that learn more slowly are favored.", minimum=0)
    lr: float = option(0.025, "Learning rate of the weights, by Adam.", above=0)


@configclass
class PCGradConfig:
    """Projects each gradient onto the normal plane of each gradient that it conflicts with."""


@configclass
class GradVacConfig:
    """Rotates each pair of gradients until its cosine is at least the moving average."""

    beta: float = option(0.01, "Weight of a step's cosine in the moving average.", minimum=0, maximum=1)


@configclass
class MGDAConfig:
    """The convex combination of the gradients with the smallest norm."""


@configclass
class IMTLGConfig:
    """The direction whose projections onto all gradients are equal."""


@configclass
class NashMTLConfig:
    """The Nash bargaining solution."""


@configclass
class AlignedMTLConfig:
    """Rescales the principal components of the gradients to one scale."""

    scale: Literal["min", "median", "rmse"] = option(
        "min", "That scale: the smallest singular value, the median, or the root mean square."
    )


@configclass
class ConFIGConfig:
    """The direction that forms the same angle with all gradients."""


@configclass
class GradDropConfig:
    """Keeps the entries of one sign in each coordinate, sampled by how much the gradients agree on it."""

    leak: float = option(0.0, "Share of the dropped entries that is kept.", minimum=0, maximum=1)


@configclass
class SolverConfig:
    """Settings of a method whose solver is an optional dependency."""

    modules: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    def __attrs_post_init__(self) -> None:
        missing = [module for module in self.modules if find_spec(module) is None]
        if missing:
            raise ValueError(
                f"{type(self).__name__.removesuffix('Config')} needs {' and '.join(missing)};"
                f" run `pip install 'mtl-balance[{self.extra}]'`"
            )


@configclass
class CAGradConfig(SolverConfig):
    """The update within a ball around the mean gradient that is best for the worst-off task."""

    c: float = option(0.5, "Radius of the ball, as a share of the mean gradient's norm.", minimum=0, below=1)

    modules: ClassVar[tuple[str, ...]] = ("cvxpy", "clarabel")
    extra: ClassVar[str] = "cagrad"


@configclass
class UPGradConfig(SolverConfig):
    """Projects each gradient onto the cone of directions that conflict with no task."""

    modules: ClassVar[tuple[str, ...]] = ("qpsolvers", "quadprog")
    extra: ClassVar[str] = "upgrad"


@configclass
class DualProjConfig(UPGradConfig):
    """Projects the sum of the gradients onto the cone of directions that conflict with no task."""
