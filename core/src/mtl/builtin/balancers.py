"""How the tasks' losses weigh against each other."""

from __future__ import annotations

from torch import Tensor

from mtl.builtin.config import StaticWeightsConfig
from mtl.components import Balancer


class StaticWeights(Balancer[StaticWeightsConfig]):
    """Each task's loss times its weight."""

    def factor(self, task: str, loss: Tensor) -> float:
        return self.tasks[task]
