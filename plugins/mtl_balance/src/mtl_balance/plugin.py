"""What mtl_balance brings. Free of torch."""

from __future__ import annotations

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


def _spec(name: str, module: str, summary: str) -> ComponentSpec:
    return ComponentSpec(
        name=name,
        config=f"mtl_balance.config:{name}Config",
        factory=f"mtl_balance.{module}:{name}",
        summary=summary,
    )


@hookimpl
def mtl_balancers() -> list[ComponentSpec]:
    return [
        _spec("Uncertainty", "weighting", "Learned variances weigh the losses (Kendall et al. 2018)"),
        _spec(
            "DynamicWeightAverage",
            "weighting",
            "Higher weights for losses that fall slowly (Liu et al. 2019)",
        ),
        _spec("RandomLossWeighting", "weighting", "Random weights in each step (Lin et al. 2022)"),
        _spec("GradNorm", "weighting", "Learned weights that balance gradient norms (Chen et al. 2018)"),
        _spec(
            "PCGrad", "gradients", "Removes from each gradient what conflicts with another (Yu et al. 2020)"
        ),
        _spec("GradVac", "gradients", "Rotates gradients to their usual angle (Wang et al. 2021)"),
        _spec("CAGrad", "gradients", "Near the mean, best for the worst-off task (Liu et al. 2021)"),
        _spec("MGDA", "gradients", "The convex combination with the smallest norm (Désidéri 2012)"),
        _spec("IMTLG", "gradients", "Equal projections onto all gradients (Liu et al. 2021)"),
        _spec("NashMTL", "gradients", "The tasks bargain for the step (Navon et al. 2022)"),
        _spec("AlignedMTL", "gradients", "Equalizes the principal components (Senushkin et al. 2023)"),
        _spec("UPGrad", "gradients", "Projects gradients so that none is hurt (Quinton and Rey 2024)"),
        _spec("DualProj", "gradients", "Projects the sum so that no task is hurt (Lopez-Paz 2017)"),
        _spec("ConFIG", "gradients", "The same angle with each gradient (Liu et al. 2024)"),
        _spec("GradDrop", "gradients", "Keeps one random sign per coordinate (Chen et al. 2020)"),
    ]
