"""Settings of the combinations. Free of torch."""

from __future__ import annotations

from mtl import PoolingConfig, configclass


@configclass
class CompareConfig(PoolingConfig):
    """Joins the vectors u and v of two texts with |u - v| and u · v.

    Mou et al., "Natural Language Inference by Tree-Based Convolution and Heuristic Matching", ACL 2016.
    """

    def output_dim(self, input_dim: int) -> int:
        """Width of the four parts together."""
        return 4 * input_dim
