"""mtl_balance as a plugin: what it announces is there, announcing it costs no torch, and a solver that is not
installed is said before anything is read."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from documents import blocks

import mtl_balance
from mtl import Balancer, ComponentSpec, ConfigError
from mtl.plugins import discover
from mtl.testing import check_balancer
from mtl.testing.bench import read_component
from mtl_balance import config, plugin

PLUGINS = discover(blocked=[])
SPECS = plugin.mtl_balancers()

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("DynamicWeightAverage", {"period": 2, "temperature": 0.1}),
    ("Uncertainty", {"lr": 1.0}),
    ("GradNorm", {"alpha": 0.0, "lr": 10.0}),
    ("GradVac", {"beta": 0.5}),
    ("GradVac", {"beta": 1}),
    ("CAGrad", {"c": 0}),
    ("CAGrad", {"c": 0.9}),
    ("AlignedMTL", {"scale": "median"}),
    ("AlignedMTL", {"scale": "rmse"}),
    ("GradDrop", {"leak": 0.5}),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_announced_components_are_there(spec: ComponentSpec) -> None:
    assert issubclass(spec.load_factory(), Balancer)
    assert spec.load_config()() is not None


def test_public_names_are_there() -> None:
    assert [name for name in mtl_balance.__all__ if not hasattr(mtl_balance, name)] == []
    assert {spec.name for spec in SPECS} <= set(mtl_balance.__all__)


def test_configs_are_free_of_torch() -> None:
    code = (
        "import sys; from mtl_balance import plugin, config\n"
        "[spec.load_config()() for spec in plugin.mtl_balancers()]\n"
        "heavy = {'torch', 'torchjd', 'numpy', 'scipy', 'cvxpy', 'quadprog'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_variants_pass(name: str, settings: dict[str, Any]) -> None:
    checks = check_balancer(name, config=settings, plugins=PLUGINS)
    assert {check.outcome for check in checks} == {"passed"}


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("UPGrad", "quadprog", "upgrad"), ("DualProj", "qpsolvers", "upgrad"), ("CAGrad", "cvxpy", "cagrad")],
)
def test_a_missing_solver_is_a_config_error(
    name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "find_spec", lambda wanted: None if wanted == module else find_spec(wanted))
    with pytest.raises(ConfigError) as refused:
        read_component(PLUGINS, "balancer", name, {}, Path())
    assert f"balancer.{name}: {name} needs {module}; run `pip install 'mtl-balance[{extra}]'`" in str(
        refused.value
    )


def test_a_method_of_ones_own() -> None:
    """The one in the README."""
    (code,) = [block.text for block in blocks("plugins/mtl_balance/README.md") if block.language == "python"]
    scope: dict[str, Any] = {}
    exec(code, scope)
    made = scope["UnitGradients"](None, tasks={"A": 1.0, "B": 1.0})
    gradients = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 4.0]])
    combined = made.combine(gradients, {task: torch.tensor(1.0) for task in "ABC"})
    assert combined.tolist() == pytest.approx([5.0, 5.0])  # of the length of all of them, as it was scaled
