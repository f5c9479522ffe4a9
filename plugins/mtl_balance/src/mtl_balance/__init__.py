"""Loss weighting and gradient methods for mtl.

What needs torch is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mtl_balance.config import (
    AlignedMTLConfig,
    CAGradConfig,
    ConFIGConfig,
    DualProjConfig,
    DynamicWeightAverageConfig,
    GradDropConfig,
    GradNormConfig,
    GradVacConfig,
    IMTLGConfig,
    MGDAConfig,
    NashMTLConfig,
    PCGradConfig,
    RandomLossWeightingConfig,
    UncertaintyConfig,
    UPGradConfig,
)

if TYPE_CHECKING:
    from mtl_balance.gradients import (
        IMTLG,
        MGDA,
        AlignedMTL,
        CAGrad,
        ConFIG,
        DualProj,
        GradDrop,
        GradientMethod,
        GradVac,
        GramianMethod,
        NashMTL,
        PCGrad,
        UPGrad,
    )
    from mtl_balance.weighting import DynamicWeightAverage, GradNorm, RandomLossWeighting, Uncertainty

_LAZY = {
    "AlignedMTL": "gradients",
    "CAGrad": "gradients",
    "ConFIG": "gradients",
    "DualProj": "gradients",
    "DynamicWeightAverage": "weighting",
    "GradDrop": "gradients",
    "GradNorm": "weighting",
    "GradVac": "gradients",
    "GradientMethod": "gradients",
    "GramianMethod": "gradients",
    "IMTLG": "gradients",
    "MGDA": "gradients",
    "NashMTL": "gradients",
    "PCGrad": "gradients",
    "RandomLossWeighting": "weighting",
    "UPGrad": "gradients",
    "Uncertainty": "weighting",
}

__all__ = [
    "IMTLG",
    "MGDA",
    "AlignedMTL",
    "AlignedMTLConfig",
    "CAGrad",
    "CAGradConfig",
    "ConFIG",
    "ConFIGConfig",
    "DualProj",
    "DualProjConfig",
    "DynamicWeightAverage",
    "DynamicWeightAverageConfig",
    "GradDrop",
    "GradDropConfig",
    "GradNorm",
    "GradNormConfig",
    "GradVac",
    "GradVacConfig",
    "GradientMethod",
    "GramianMethod",
    "IMTLGConfig",
    "MGDAConfig",
    "NashMTL",
    "NashMTLConfig",
    "PCGrad",
    "PCGradConfig",
    "RandomLossWeighting",
    "RandomLossWeightingConfig",
    "UPGrad",
    "UPGradConfig",
    "Uncertainty",
    "UncertaintyConfig",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mtl_balance' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mtl_balance.{_LAZY[name]}"), name)
