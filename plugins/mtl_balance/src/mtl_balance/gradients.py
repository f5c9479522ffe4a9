"""Gradient methods: one gradient for the parameters that several tasks share, on top of TorchJD.

A method sees only the gradients of shared parameters, each multiplied by the task's `task_weights`;
task-specific parameters keep their own gradient. Results are scaled so that tasks with equal gradients get
their sum, so the same learning rate fits all methods.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torchjd import aggregation
from torchjd.linalg import QuadprogProjector

from mtl import Balancer
from mtl_balance.config import (
    AlignedMTLConfig,
    CAGradConfig,
    ConFIGConfig,
    DualProjConfig,
    GradDropConfig,
    GradVacConfig,
    IMTLGConfig,
    MGDAConfig,
    NashMTLConfig,
    PCGradConfig,
    UPGradConfig,
)

ConfigT = TypeVar("ConfigT")

COLUMNS = 1 << 16
"""Columns of gradients that are multiplied at a time: they fit a processor's cache in float64."""
NEGLIGIBLE = 1e-30
"""Share of all squared norms below which a gradient counts as zero: in float64 it would be noise."""
REGULARIZATION = 1e-8
"""Added to the diagonal of the Gramian of unit gradients, so that it has an inverse."""


def gramian_of(gradients: Tensor) -> Tensor:
    """Return the products of all pairs of rows of `[tasks, shared]`, in float64: `[tasks, tasks]`."""
    pieces = map(Tensor.double, torch.split(gradients, COLUMNS, dim=1))
    return torch.stack([piece @ piece.T for piece in pieces]).sum(0)


class GradientMethod(Balancer[ConfigT]):
    """Combines gradients; each task's own is multiplied by its weight alone."""

    combines = True

    def factor(self, task: str, loss: Tensor) -> float:
        return self.tasks[task]


class GramianMethod(GradientMethod[ConfigT]):
    """A weighted sum of the gradients, whose weights follow from their inner products.

    A gradient that is zero, or as good as zero beside the others, has no say; where fewer than two are left,
    or one is not finite, the result is the plain sum. The weights are found on the CPU, in float64: a GPU
    is waited for once a step.
    """

    @abstractmethod
    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the weights of the gradients of `tasks`, `[tasks]`. `gramian` are these gradients' products,
        none of which is zero, `[tasks, tasks]` in float64 on the CPU; its trace is 1."""

    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        gramian = gramian_of(gradients).cpu()
        total = gramian.trace()
        heard = (gramian.diagonal() > NEGLIGIBLE * total).nonzero()[:, 0]
        if len(heard) < 2 or not total.isfinite():
            return gradients.sum(0)
        tasks = list(losses)
        weights = torch.zeros(len(tasks), dtype=gramian.dtype)
        weights[heard] = self.weights(
            gramian[heard][:, heard] / total, [tasks[place] for place in heard.tolist()]
        )
        return weights.to(gradients) @ gradients


class PCGrad(GramianMethod[PCGradConfig]):
    """Yu et al. 2020, "Gradient Surgery for Multi-Task Learning"."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        return aggregation.PCGradWeighting()(gramian)


class GradVac(GramianMethod[GradVacConfig]):
    """Wang, Tsvetkov, Firat and Cao 2021, "Gradient Vaccine: Investigating and Improving Multi-task
    Optimization in Massively Multilingual Models".

    The moving averages of cosines are those of pairs of tasks, whichever tasks a step has.
    """

    def __init__(self, config: GradVacConfig, *, tasks: Mapping[str, float]) -> None:
        super().__init__(config, tasks=tasks)
        self.places = {task: place for place, task in enumerate(tasks)}
        self.cosines = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        places = [self.places[task] for task in tasks]
        pairs = torch.meshgrid(torch.tensor(places), torch.tensor(places), indexing="ij")
        weighting = aggregation.GradVacWeighting(beta=self.config.beta)
        # TorchJD has no public way to give the averages back to it.
        weighting.register_buffer("_phi_t", self.cosines[pairs])
        weighting._state_key = (len(tasks), gramian.dtype)
        weights = weighting(gramian)
        self.cosines[pairs] = weighting.get_buffer("_phi_t")
        return weights

    def state_dict(self) -> dict[str, Tensor]:
        return {"cosines": self.cosines}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.cosines = state["cosines"].clone()


class CAGrad(GramianMethod[CAGradConfig]):
    """Liu, Liu, Jin, Stone and Liu 2021, "Conflict-Averse Gradient Descent for Multi-task Learning", with
    the result divided by 1 + c, as its authors' code can do too."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        weights = aggregation.CAGradWeighting(c=self.config.c)(gramian)
        return len(tasks) / (1 + self.config.c) * weights


class MGDA(GramianMethod[MGDAConfig]):
    """Désidéri 2012, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", solved as
    by Sener and Koltun 2018, "Multi-Task Learning as Multi-Objective Optimization"."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        return len(tasks) * aggregation.MGDAWeighting()(gramian)


class IMTLG(GramianMethod[IMTLGConfig]):
    """IMTL-G of Liu et al. 2021, "Towards Impartial Multi-task Learning". With three tasks or more a weight
    may be negative."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        return len(tasks) * aggregation.IMTLGWeighting()(gramian)


class NashMTL(GramianMethod[NashMTLConfig]):
    """Navon et al. 2022, "Multi-Task Learning as a Bargaining Game".

    The weights a > 0 solve gramian @ a = 1 / a, which is where the convex a' gramian a / 2 - sum(log a) is
    smallest. Newton's method finds it; the paper, and TorchJD after it, go there by a sequence of convex
    programs from the last step's weights, with a solver that has no wheels for Python 3.13. The norm of
    the combined gradient is that of all gradients together times the square root of the number of tasks.
    """

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        norms = gramian.diagonal().sqrt()
        return bargain(gramian / norms.outer(norms)) / norms


def bargain(cosines: Tensor) -> Tensor:
    """Return the a > 0 with cosines @ a = 1 / a, `[tasks]`, by damped Newton steps; `cosines` is `[tasks,
    tasks]`.

    If gradients cancel out there is no solution; the result is then large but finite.
    """
    cosines = cosines + REGULARIZATION * torch.eye(len(cosines), dtype=cosines.dtype)
    found: Tensor = torch.ones(len(cosines), dtype=cosines.dtype)
    for _ in range(100):
        slope = cosines @ found - 1 / found
        step = torch.linalg.solve(cosines + (1 / found.square()).diag(), slope)
        decrement = (slope @ step).clamp(min=0).sqrt()
        found = found - step / (1 + decrement)
        if decrement < 1e-10:
            break
    return found


class AlignedMTL(GramianMethod[AlignedMTLConfig]):
    """Senushkin, Patakin, Kuznetsov and Konushin 2023, "Independent Component Alignment for Multi-Task
    Learning"."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        return len(tasks) * aggregation.AlignedMTLWeighting(scale_mode=self.config.scale)(gramian)


def _projector() -> QuadprogProjector:
    # Its own defaults are made for float32 Gramians of any scale.
    return QuadprogProjector(norm_eps=0.0, reg_eps=REGULARIZATION)


class UPGrad(GramianMethod[UPGradConfig]):
    """Quinton and Rey 2024, "Jacobian Descent For Multi-Objective Optimization"."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        return len(tasks) * aggregation.UPGradWeighting(projector=_projector())(gramian)


class DualProj(GramianMethod[DualProjConfig]):
    """The projection of Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory for Continual Learning", of the
    sum of the gradients."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        return len(tasks) * aggregation.DualProjWeighting(projector=_projector())(gramian)


class ConFIG(GramianMethod[ConFIGConfig]):
    """Liu, Chu and Thuerey 2024, "ConFIG: Towards Conflict-free Training of Physics Informed Neural
    Networks"."""

    def weights(self, gramian: Tensor, tasks: Sequence[str]) -> Tensor:
        # ConFIG does not depend on how the space is turned, so a few coordinates stand for all parameters.
        norms = gramian.diagonal().sqrt()
        squares, axes = torch.linalg.eigh(gramian / norms.outer(norms))
        lasting = squares > REGULARIZATION
        singular, axes = squares[lasting].sqrt(), axes[:, lasting]
        combined: Tensor = aggregation.ConFIG()(norms[:, None] * axes * singular)
        weights: Tensor = axes @ (combined / singular) / norms
        return weights


class GradDrop(GradientMethod[GradDropConfig]):
    """Chen et al. 2020, "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout".

    Samples one number per parameter, on the device.
    """

    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        leak = gradients.new_full((len(gradients),), self.config.leak)
        combined: Tensor = aggregation.GradDrop(leak=leak)(gradients)
        return combined
