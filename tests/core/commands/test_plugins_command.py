"""`mtl plugins` and the commands that plugins add."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from mtl import ComponentSpec, ConfigReader, hookimpl
from mtl.commands.cli import build_app
from mtl.plugin_commands import OWN_COMMANDS
from mtl.plugins import Plugins, discover


def plugin(**hooks: Any) -> SimpleNamespace:
    """A plugin module with these hook implementations."""
    return SimpleNamespace(mtl_api=">=1,<2", **{name: hookimpl(hook) for name, hook in hooks.items()})


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The core's own plugin, and those that a test registers."""
    found = discover(blocked=[])
    monkeypatch.setattr("mtl.plugins.discover", lambda: found)
    return found


def test_every_command_of_mtl_is_one_that_no_plugin_can_take() -> None:
    app: Any = typer.main.get_command(build_app(with_plugins=False))
    assert set(app.commands) == set(OWN_COMMANDS)


def test_the_list_names_states_and_causes(invoke: Any, plugins: Plugins) -> None:
    def mtl_tasks() -> list[ComponentSpec]:
        raise RuntimeError("no licence file")

    plugins.register(plugin(mtl_tasks=mtl_tasks), "acme-tasks", "2.1", "acme")
    status, out, err = invoke("plugins")
    assert (status, err) == (0, "")
    row = next(line for line in out.splitlines() if line.startswith("acme-tasks"))
    assert "2.1" in row and "broken" in row
    assert "RuntimeError: no licence file" in " ".join(out.split())
    assert "RoundRobin" in out
    listed = json.loads(invoke("plugins", "--json")[1])["plugins"]
    acme = next(each for each in listed if each["distribution"] == "acme-tasks")
    assert (acme["state"], acme["components"]) == ("broken", {})


def test_a_blocked_plugin_is_listed(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTL_BLOCK_PLUGINS", "pytext-mtl,nobody")
    out = invoke("plugins")[1]
    assert "MTL_BLOCK_PLUGINS names it" in out
    assert "warning: MTL_BLOCK_PLUGINS names 'nobody'" in out


def test_show_gives_each_key_with_type_default_and_help(invoke: Any) -> None:
    (component,) = json.loads(invoke("plugins", "show", "SGD", "--json")[1])["components"]
    assert (component["kind"], component["distribution"]) == ("optimizer", "pytext-mtl")
    assert component["config"]["file"].endswith("builtin/config.py")
    assert component["factory"]["file"].endswith("builtin/optimizers.py")
    keys = {key["key"]: key for key in component["keys"]}
    assert keys["momentum"]["limits"] == ["at least 0", "below 1"]
    assert keys["lr"] | {"help": "", "limits": []} == {
        "key": "lr",
        "type": "a number",
        "nullable": False,
        "required": False,
        "default": 0.1,
        "help": "",
        "limits": [],
        "accepts": {},
    }
    shown = invoke("plugins", "show", "SGD")[1]
    assert all(part in shown for part in ("momentum", "a number at least 0 and below 1", "Learning rate."))


@pytest.mark.parametrize("name", [name for names in discover()._provided.values() for name in names])
def test_every_installed_component_can_be_shown(name: str, invoke: Any) -> None:
    status, out, err = invoke("plugins", "show", name)
    assert (status, err) == (0, "")
    assert out.startswith(name)


def test_show_gives_what_a_component_declares_and_a_slot_accepts(invoke: Any) -> None:
    (component,) = json.loads(invoke("plugins", "show", "BiLSTMDocAttention", "--json")[1])["components"]
    assert component["declares"]["output"] == "document"
    lstm = next(key for key in component["keys"] if key["key"] == "lstm")
    assert lstm["accepts"] == {"output": "sequence"}


def test_show_a_distribution(invoke: Any) -> None:
    shown = invoke("plugins", "show", "pytext-mtl")[1]
    assert "builtin = mtl.builtin.plugin" in shown
    assert "RoundRobin" in shown


def test_show_an_unknown_name(invoke: Any) -> None:
    assert invoke("plugins", "show", "RoundRobbin")[::2] == (
        2,
        "mtl: nothing installed is called `RoundRobbin`; did you mean `RoundRobin`?\n",
    )


def test_declared_columns_and_types_of_columns_are_shown(invoke: Any) -> None:
    [task] = json.loads(invoke("plugins", "show", "DocClassificationTask", "--json")[1])["components"]
    assert [column["name"] for column in task["declares"]["columns"]] == ["text", "label"]
    assert re.search(r"columns +text, label\b", invoke("plugins", "show", "DocClassificationTask")[1])
    assert re.search(r"column types +.*\ban integer\b", invoke("plugins", "show", "TSV")[1])


def test_c8_one_of_two_with_the_same_name(invoke: Any, plugins: Plugins) -> None:
    spec = ComponentSpec(
        name="SGD", config="mtl.builtin.config:AdamConfig", factory="mtl.builtin.optimizers:Adam"
    )
    plugins.register(plugin(mtl_optimizers=lambda: [spec]), "acme")

    def distributions(name: str) -> list[str]:
        found = json.loads(invoke("plugins", "show", name, "--json")[1])
        return [component["distribution"] for component in found["components"]]

    assert sorted(distributions("SGD")) == ["acme", "pytext-mtl"]
    assert distributions("acme:SGD") == ["acme"]


def add_hello(app: typer.Typer) -> None:
    @app.command()
    def hello(name: str) -> None:
        print(f"hello {name}")


def test_a_plugin_adds_a_command(invoke: Any, plugins: Plugins) -> None:
    plugins.register(plugin(mtl_commands=lambda app: add_hello(app)), "acme")
    assert invoke("hello", "you") == (0, "hello you\n", "")
    assert "hello" in invoke("--help")[1]
    assert "hello" in invoke("hallo")[2]


def test_c8_a_plugin_whose_commands_fail_breaks_nothing(invoke: Any, plugins: Plugins) -> None:
    def fail(app: typer.Typer) -> None:
        add_hello(app)
        raise RuntimeError("no commands today")

    def leave(app: typer.Typer) -> None:
        raise SystemExit(3)

    def unusable(app: typer.Typer) -> None:
        app.command("odd")(lambda value: None)
        app.registered_commands[0].callback = 3  # type: ignore[assignment]

    def takes_ours(app: typer.Typer) -> None:
        app.command("train")(lambda: None)

    for number, hook in enumerate((fail, leave, unusable, takes_ours)):
        plugins.register(plugin(mtl_commands=hook), f"acme-{number}")
    plugins.register(plugin(mtl_commands=lambda app: add_hello(app)), "good")
    status, out, err = invoke("hello", "you")
    assert (status, out) == (0, "hello you\n")
    warnings = [line for line in err.splitlines() if line.startswith("mtl: warning: acme-")]
    assert len(warnings) == 4
    assert "no commands today" in err and "`train` is a command of mtl" in err
    assert invoke("plugins")[0] == 0
    listed = json.loads(invoke("plugins", "--json")[1])
    assert next(each["commands"] for each in listed["plugins"] if each["distribution"] == "good") == ["hello"]
    assert "acme-3:SimpleNamespace adds no commands: `train` is a command of mtl" in listed["warnings"]


def test_two_plugins_with_one_command_are_named(invoke: Any, plugins: Plugins) -> None:
    for name in ("acme-one", "acme-two"):
        plugins.register(plugin(mtl_commands=lambda app: add_hello(app)), name)
    [warning] = json.loads(invoke("plugins", "--json")[1])["warnings"]
    assert re.search(
        r"acme-(one|two):\w+ adds no commands: `hello` is a command of acme-(one|two):\w+", warning
    )
    assert invoke("hello", "you") == (0, "hello you\n", f"mtl: warning: {warning}\n")


def test_commands_callbacks_and_config_readers_are_listed(invoke: Any, plugins: Plugins) -> None:
    def mtl_run_ended(result: Any) -> None:
        pass

    reader = ConfigReader(name="Acme", detects="acme:detects", converts="acme:converts")
    hooks = {
        "mtl_commands": lambda app: add_hello(app),
        "mtl_run_ended": mtl_run_ended,
        "mtl_config_readers": lambda: [reader],
    }
    plugins.register(plugin(**hooks), "acme")
    listed = json.loads(invoke("plugins", "--json")[1])["plugins"]
    acme = next(each for each in listed if each["distribution"] == "acme")
    assert (acme["commands"], acme["callbacks"], acme["config_readers"]) == (
        ["hello"],
        ["mtl_run_ended"],
        ["Acme"],
    )
    for shown in (invoke("plugins")[1], invoke("plugins", "show", "acme")[1]):
        words = " ".join(shown.split())
        assert all(said in words for said in ("commands", "hello", "callbacks", "mtl_run_ended", "Acme"))


def test_a_key_that_is_required_has_no_default(invoke: Any) -> None:
    (component,) = json.loads(invoke("plugins", "show", "TSV", "--json")[1])["components"]
    key = next(key for key in component["keys"] if key["key"] == "train_path")
    assert (key["required"], key["default"]) == (True, None)
    row = next(line for line in invoke("plugins", "show", "TSV")[1].splitlines() if "train_path" in line)
    assert "required" in row
