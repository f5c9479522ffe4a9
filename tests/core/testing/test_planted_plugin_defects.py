"""For each check of a plugin as a whole, an installed distribution that is wrong on purpose."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mtl.errors import UsageError
from mtl.plugins import discover
from mtl.testing import CheckError, check_plugin

PLUGIN = """
from mtl import ComponentSpec, hookimpl

mtl_api = "{api}"


@hookimpl
def mtl_poolings():
    return [ComponentSpec(name="{name}", config="acme_parts_config:TopConfig",
                          factory="{factory}", summary="The first vector")]
"""
CONFIG = '''
from mtl import PoolingConfig, configclass


@configclass
class TopConfig(PoolingConfig):
    """The first vector of a sequence."""
'''
COMMANDS = """

@hookimpl
def mtl_commands(app):
    app.command("{name}")(print)
"""
MODEL = "import torch\n\n\nclass Top(torch.nn.Module):\n    pass\n"
REQUIRES = "pytext-mtl>=0.1,<0.2"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution on the path, as pip would."""

    def installed(
        *,
        before: str = "",
        config: str = "",
        api: str = ">=1,<2",
        name: str = "AcmeTop",
        factory: str = "acme_parts_model:Top",
        requires: str = REQUIRES,
        commands: str = "",
    ) -> None:
        plugin = before + PLUGIN.format(api=api, name=name, factory=factory) + commands
        files = {
            "acme_parts_plugin.py": plugin,
            "acme_parts_config.py": config + CONFIG,
            "acme_parts_model.py": MODEL,
            "acme_parts-1.0.dist-info/METADATA": (
                "Metadata-Version: 2.1\nName: acme-parts\nVersion: 1.0\n"
                + (f"Requires-Dist: {requires}\n" if requires else "")
            ),
            "acme_parts-1.0.dist-info/entry_points.txt": "[mtl.plugins]\nacme = acme_parts_plugin\n",
        }
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        for module in ("plugin", "config", "model"):
            monkeypatch.delitem(sys.modules, f"acme_parts_{module}", raising=False)

    return installed


def test_a_sound_plugin_passes(install: Install) -> None:
    install()
    checks = check_plugin("acme-parts")
    assert {check.outcome for check in checks} == {"passed"}
    assert {check.subject for check in checks} == {"acme-parts", "pooling AcmeTop"}
    assert check_plugin("Acme_Parts") == [
        check if check.subject != "acme-parts" else type(check)("Acme_Parts", check.name, check.outcome)
        for check in checks
    ]


DEFECTS = [
    ("an error at import", {"before": "raise RuntimeError('no licence')\n"}, "is_discovered", "no licence"),
    ("no bound above", {"api": ">=1"}, "bounds_its_api", 'is ">=1", without a bound below 2.0'),
    ("no dependency on mtl", {"requires": "attrs"}, "requires_mtl", "does not depend on pytext-mtl"),
    ("any version of mtl", {"requires": "pytext-mtl"}, "requires_mtl", "has no version"),
    ("torch in plugin.py", {"before": "import torch\n"}, "is_light", "acme_parts_plugin imports torch"),
    ("polars in a config", {"config": "import polars\n"}, "is_light", "acme_parts_config imports polars"),
    ("a greeting", {"before": "print('hello')\n"}, "is_quiet", "prints 'hello"),
    ("a name of ours", {"name": "MaxPool"}, "has_names_of_its_own", "'MaxPool' is also provided by mtl-text"),
    (
        "a command of ours",
        {"commands": COMMANDS.format(name="train")},
        "has_commands_of_its_own",
        "`train` is a command of mtl",
    ),
    (
        "a command that cannot be added",
        {"commands": COMMANDS.format(name="top").replace("print", "missing")},
        "has_commands_of_its_own",
        "NameError",
    ),
    (
        "a factory that is not there",
        {"factory": "acme_parts_model:Bottom"},
        "loads_its_components",
        "has no attribute 'Bottom'",
    ),
]


@pytest.mark.parametrize(
    ("options", "check", "says"), [each[1:] for each in DEFECTS], ids=[d[0] for d in DEFECTS]
)
def test_a_planted_defect_is_found(options: dict[str, str], check: str, says: str, install: Install) -> None:
    install(**options)
    with pytest.raises(CheckError) as caught:
        check_plugin("acme-parts")
    assert [failed.name for failed in caught.value.checks if failed.subject == "acme-parts"] == [check]
    assert says in str(caught.value)


def test_a_distribution_without_a_plugin_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UsageError, match="`mtl-txt` provides a plugin; did you mean `mtl-text`"):
        check_plugin("mtl-txt", plugins=discover(blocked=[]))
