"""Discovery from real distribution metadata: one plugin's mistake is that plugin's alone."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from mtl.components import ComponentSpec
from mtl.errors import PluginError
from mtl.hookspecs import hookimpl
from mtl.plugins import Plugins, PluginStatus, discover

GOOD = """
from mtl.components import ComponentSpec
from mtl.hookspecs import hookimpl
mtl_api = ">=1,<2"
@hookimpl
def mtl_tasks():
    return [ComponentSpec(name="{name}", config="{module}_config:Config", factory="{module}_parts:Part")]
"""

Install = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder that distributions are looked for in; its modules are forgotten at the end."""
    folder = tmp_path / "site"
    folder.mkdir()
    kept = [entry for entry in sys.path if not any(Path(entry or ".").glob("*.dist-info"))]
    monkeypatch.setattr(sys, "path", [str(folder), *kept])
    monkeypatch.delenv("MTL_BLOCK_PLUGINS", raising=False)
    importlib.invalidate_caches()
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Install:
    """Write a distribution with one plugin."""

    def install(
        distribution: str, code: str | None = None, *, entry_point: str = "", version: str = "1.0"
    ) -> str:
        entry_point = entry_point or distribution.replace("-", "_")
        module = f"{entry_point}_of_{distribution.replace('-', '_')}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write("" if file.tell() else "[mtl.plugins]\n")
            file.write(f"{entry_point} = {module}\n")
        (site / f"{module}.py").write_text(GOOD.format(name="Sort", module=module) if code is None else code)
        return module

    return install


def statuses(plugins: Plugins) -> dict[str, PluginStatus]:
    return {f"{status.distribution}:{status.name}": status for status in plugins.statuses}


def test_what_is_installed_is_found_without_importing_its_parts(install: Install) -> None:
    module = install("acme-parts", version="2.1")
    plugins = discover()
    [status] = plugins.statuses
    assert (status.name, status.distribution, status.version) == ("acme_parts", "acme-parts", "2.1")
    assert (status.state, status.api, status.cause, status.module) == ("ok", ">=1,<2", "", module)
    assert status.components == {"task": ("Sort",)}
    provided = plugins.find("task", "Sort")
    assert (provided.distribution, provided.version, provided.entry_point) == (
        "acme-parts",
        "2.1",
        "acme_parts",
    )
    assert plugins.available("task") == {"Sort": [provided]}
    assert plugins.available("pooling") == {}
    assert plugins.manager.get_plugin("acme-parts:acme_parts") is sys.modules[module]
    assert not {f"{module}_config", f"{module}_parts"} & sys.modules.keys()


HOOK = """
from mtl.components import ComponentSpec
from mtl.hookspecs import hookimpl
mtl_api = ">=1,<2"
@hookimpl
"""
BROKEN = {
    "raise RuntimeError('no\\nluck')": ("broken", "RuntimeError: no luck"),
    "import sys; sys.exit(3)": ("broken", "SystemExit: 3"),
    "import nothing_of_the_kind": ("broken", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    "mtl_api = (": ("broken", "SyntaxError"),
    "class Odd(BaseException): pass\nraise Odd": ("broken", "Odd"),
    "": ("incompatible", "does not say which plugin API"),
    "mtl_api = '>=2'": ("incompatible", "it is for plugin API >=2, but this is 1.0"),
    "mtl_api = 'new'": ("incompatible", "`mtl_api` must be a version range, but is 'new'"),
    "mtl_api = 1": ("incompatible", "`mtl_api` must be a version range, but is 1"),
    HOOK + "def mtl_task(): return []": ("broken", "there is no hook `mtl_task` (did you mean `mtl_tasks`"),
    HOOK.replace("@hookimpl\n", "") + "def mtl_tasks(): return []": (
        "broken",
        "`mtl_tasks` is not marked with",
    ),
    HOOK + "def mtl_tasks(extra): return []": ("broken", "extra"),
    HOOK + "def mtl_tasks(): raise ValueError('oh')": ("broken", "`mtl_tasks` failed: ValueError: oh"),
    HOOK + "def mtl_tasks(): raise SystemExit": ("broken", "`mtl_tasks` failed: SystemExit"),
    HOOK + "def mtl_tasks(): return None": (
        "broken",
        "`mtl_tasks` must return a list of ComponentSpec, but returned NoneType",
    ),
    HOOK + "def mtl_tasks(): return 'ab'": ("broken", "but returned str"),
    HOOK + "def mtl_tasks(): return [1]": ("broken", "but one of it is int"),
    HOOK + "def mtl_tasks():\n  s = ComponentSpec(name='A', config='a:B', factory='a:C')\n  return [s, s]": (
        "broken",
        "`mtl_tasks` names 'A' twice",
    ),
    HOOK + "def mtl_config_readers(): return [1]": (
        "broken",
        "`mtl_config_readers` must return a list of ConfigReader, but one of it is int",
    ),
    HOOK + "def mtl_tasks(): return [ComponentSpec(name='a:B', config='a:B', factory='a:C')]": (
        "broken",
        "a name must",
    ),
    HOOK + "def mtl_tasks(): return [ComponentSpec(name='A', config='a.B', factory='a:C')]": (
        "broken",
        "`config` must be \"module:attribute\", but is 'a.B'",
    ),
    HOOK + "def mtl_tasks(): return [ComponentSpec(name='A', config='a:B', factory=max)]": (
        "broken",
        "`factory` must be",
    ),
}


@pytest.mark.parametrize("code", BROKEN, ids=range(len(BROKEN)))
def test_c8_a_plugin_that_is_wrong_disables_only_itself(install: Install, code: str) -> None:
    state, cause = BROKEN[code]
    install("bad-parts", code)
    install("good-parts")
    plugins = discover()
    found = statuses(plugins)
    assert found["bad-parts:bad_parts"].state == state
    assert cause in found["bad-parts:bad_parts"].cause
    assert found["bad-parts:bad_parts"].components == {}
    assert found["good-parts:good_parts"].state == "ok"
    assert [name for name, _ in plugins.manager.list_name_plugin()] == ["good-parts:good_parts"]
    assert plugins.find("task", "Sort").distribution == "good-parts"
    with pytest.raises(PluginError, match="no installed plugin provides the task 'A'") as caught:
        plugins.find("task", "A")
    assert f"bad_parts of bad-parts is {state}: " in str(caught.value)
    assert "`mtl plugins` shows what is installed" in str(caught.value)


def test_c8_an_interrupt_is_nobodys_mistake(install: Install) -> None:
    install("slow-parts", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


@pytest.mark.parametrize(
    "blocked", ["bad-parts", "Bad.Parts", "bad_parts", "other,bad_parts", " bad-parts , other "]
)
def test_c8_a_blocked_plugin_is_not_even_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    module = install("bad-parts", "raise AssertionError")
    install("good-parts")
    monkeypatch.setenv("MTL_BLOCK_PLUGINS", blocked)
    plugins = discover()
    assert {name: status.state for name, status in statuses(plugins).items()} == {
        "bad-parts:bad_parts": "blocked", "good-parts:good_parts": "ok",
    }  # fmt: skip
    assert module not in sys.modules
    assert statuses(plugins)["bad-parts:bad_parts"].cause == "MTL_BLOCK_PLUGINS names it"
    unknown = ["MTL_BLOCK_PLUGINS names 'other', which is not installed"] if "other" in blocked else []
    assert plugins.warnings == unknown


def test_c8_two_distributions_with_one_entry_point_name_are_both_there(install: Install) -> None:
    install("one-parts", entry_point="parts")
    install("two-parts", entry_point="parts")
    plugins = discover()
    assert {name: status.state for name, status in statuses(plugins).items()} == {
        "one-parts:parts": "ok", "two-parts:parts": "ok",
    }  # fmt: skip
    assert [each.distribution for each in plugins.available("task")["Sort"]] == ["one-parts", "two-parts"]


def test_a_name_that_two_provide_is_an_error_only_when_it_is_used(install: Install) -> None:
    install("one-parts")
    install("two-parts")
    install("three-parts", GOOD.format(name="Guess", module="three"))
    plugins = discover()
    assert plugins.find("task", "Guess").distribution == "three-parts"
    with pytest.raises(PluginError) as caught:
        plugins.find("task", "Sort")
    assert caught.value.reason == (
        "the task 'Sort' is provided by one-parts (entry point 'one_parts')"
        " and two-parts (entry point 'two_parts')"
    )
    assert caught.value.hint == "name `one-parts:Sort` or `two-parts:Sort`"
    for name in ("two-parts:Sort", "Two_Parts:Sort", "two.parts:Sort"):
        assert plugins.find("task", name).distribution == "two-parts"
    with pytest.raises(PluginError, match="comes from one-parts:Sort or two-parts:Sort"):
        plugins.find("task", "three-parts:Sort")


def test_a_name_that_one_distribution_provides_twice_says_how_to_choose(install: Install) -> None:
    install("one-parts", entry_point="first")
    install("one-parts", entry_point="second")
    with pytest.raises(PluginError, match="block one of the entry points with MTL_BLOCK_PLUGINS"):
        discover().find("task", "Sort")
    assert discover(["second"]).find("task", "one-parts:Sort").entry_point == "first"


def test_what_a_plugin_prints_does_not_reach_the_results(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    module = install("loud-parts", "print('hello')\n" + GOOD.format(name="Sort", module="loud"))
    Path(sys.path[0], "loud_config.py").write_text(
        "print('config')\nfrom mtl import Component, TaskConfig, configclass, slot\n"
        "@configclass\nclass Config(TaskConfig):\n    data: Component = slot('data_source')\n"
    )
    plugins = discover()
    plugins.find("task", "Sort").load_config()
    assert sys.modules[module]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\nconfig\n")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import sys; sys.exit()", "SystemExit"),
        ("", "has no attribute 'Config'"),
        ("Config = 3", "must be a config class below `TaskConfig`"),
        ("import attrs\n@attrs.define\nclass Config: pass", "must be a config class below `TaskConfig`"),
    ],
)
def test_c8_a_broken_config_class_is_an_error_only_if_used(
    install: Install, site: Path, code: str, words: str
) -> None:
    install("acme-parts", GOOD.format(name="Sort", module="sorting"))
    (site / "sorting_config.py").write_text(code)
    provided = discover().find("task", "Sort")
    with pytest.raises(
        PluginError, match=r"task 'Sort' of acme-parts 1\.0: .*sorting_config:Config"
    ) as caught:
        provided.load_config()
    assert words in str(caught.value)
    with pytest.raises(PluginError, match="sorting_parts:Part cannot be loaded: ModuleNotFoundError"):
        provided.load_factory()


def test_damaged_metadata_hides_nothing_else(install: Install, site: Path) -> None:
    install("good-parts")
    for name, files in {"empty": {}, "odd": {"METADATA": "\x00", "entry_points.txt": "[mtl.plugins"}}.items():
        (site / f"{name}-1.0.dist-info").mkdir()
        for file, text in files.items():
            (site / f"{name}-1.0.dist-info" / file).write_text(text)
    assert [status.name for status in discover().statuses] == ["good_parts"]


def test_a_distribution_that_is_on_the_path_twice_counts_once(
    install: Install, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("good-parts", version="1.0")
    other = tmp_path / "other/good_parts-0.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: Good_Parts\nVersion: 0.9\n")
    (other / "entry_points.txt").write_text("[mtl.plugins]\ngood_parts = nothing_there\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(other.parent)])
    assert [(status.version, status.state) for status in discover().statuses] == [("1.0", "ok")]


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update({"mtl_api": ">=1,<2"} | contents)
    return made


def test_a_module_can_be_registered_by_hand_and_two_sets_share_nothing() -> None:
    @hookimpl
    def mtl_poolings() -> list[ComponentSpec]:
        return [ComponentSpec(name="Top", config="a:B", factory="a:C")]

    first, second = Plugins(), Plugins()
    made = module("notebook", mtl_poolings=mtl_poolings)
    status = first.register(made)
    assert (status.state, status.distribution, status.components) == ("ok", "local", {"pooling": ("Top",)})
    assert first.find("pooling", "Top").entry_point == "notebook"
    assert second.available("pooling") == {}
    again = first.register(made)
    assert again.state == "broken"
    assert len(first.available("pooling")["Top"]) == 1
    assert first.manager.get_plugin("local:notebook") is made


def test_an_unknown_name_is_explained_by_what_there_is() -> None:
    @hookimpl
    def mtl_poolings() -> list[ComponentSpec]:
        return [ComponentSpec(name="MaxPool", config="a:B", factory="a:C")]

    plugins = Plugins()
    plugins.register(module("notebook", mtl_poolings=mtl_poolings))
    with pytest.raises(PluginError) as caught:
        plugins.find("pooling", "maxpol")
    assert str(caught.value) == (
        "no installed plugin provides the pooling 'maxpol'"
        " (did you mean `MaxPool`?; `mtl plugins` shows what is installed)"
    )
    with pytest.raises(PluginError, match="'MaxPool' is a pooling"):
        plugins.find("decoder", "MaxPool")


def test_a_plugin_that_does_nothing_and_one_with_optional_hooks() -> None:
    @hookimpl(optionalhook=True)
    def mtl_of_tomorrow() -> None:
        raise AssertionError

    plugins = Plugins()
    assert plugins.register(module("idle")).cause == "it implements no hook"
    status = plugins.register(module("tomorrow", mtl_of_tomorrow=mtl_of_tomorrow))
    assert (status.state, status.cause) == ("ok", "")


def test_run_time_hooks_reach_plugins_through_the_manager() -> None:
    heard = []

    @hookimpl
    def mtl_step_ended(step: int, task: str) -> None:
        heard.append((step, task))

    plugins = Plugins()
    assert plugins.register(module("callback", mtl_step_ended=mtl_step_ended)).state == "ok"
    plugins.manager.hook.mtl_step_ended(step=3, epoch=1, task="SST2")
    assert heard == [(3, "SST2")]


def test_c7_installed_plugins_are_found_in_a_fresh_process(install: Install, site: Path) -> None:
    install("acme-parts")
    code = "from mtl.plugins import discover; print(discover().find('task', 'acme-parts:Sort').version)"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout == "1.0\n"


# --- config classes that no config can hold, and who is meant -------------------------------------

CONFIG = """
from attrs import Factory
from mtl import Component, TaskConfig, configclass, option, slot
@configclass
class Config(TaskConfig):
    data: Component = slot("data_source")
    @property
    def columns(self):
        return ()
"""


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("size: int = option(object())", "Config.size has a default that is not JSON: TypeError"),
        ("size: int = option(Factory(lambda: 1 / 0))", "not JSON: ZeroDivisionError: division by zero"),
        ("size: 'Nowhere' = option(1)", "the type hints of Config cannot be read: name 'Nowhere'"),
        ("size: Component = option(1)", "Config.size must be a `slot` with the hint Component, or neither"),
    ],
)
def test_c8_fields_that_no_config_can_hold_are_their_distributions_mistake(
    install: Install, site: Path, field: str, words: str
) -> None:
    install("acme-parts", GOOD.format(name="Sort", module="fielded"))
    (site / "fielded_config.py").write_text(f"{CONFIG}    {field}\n")
    with pytest.raises(PluginError, match=r"task 'Sort' of acme-parts 1\.0: ") as caught:
        discover().find("task", "Sort").load_config()
    assert words in str(caught.value)


def test_damaged_entry_points_are_a_row_of_their_own(install: Install, site: Path) -> None:
    install("good-parts")
    install("odd-parts")
    (site / "odd_parts-1.0.dist-info/entry_points.txt").write_text("[mtl.plugins\nodd_parts")
    found = statuses(discover())
    assert found["good-parts:good_parts"].state == "ok"
    assert found["odd-parts:odd-parts"].state == "broken"
    assert "entry_points.txt is damaged" in found["odd-parts:odd-parts"].cause


def test_whose_component_is_preferred_is_meant_where_two_provide_it(install: Install) -> None:
    install("one-parts")
    install("two-parts")
    plugins = discover()
    chosen = attrs.evolve(plugins, preferred={("task", "Sort"): "two-parts"})
    assert chosen.find("task", "Sort").distribution == "two-parts"
    assert chosen.find("task", "one-parts:Sort").distribution == "one-parts"
    other = attrs.evolve(plugins, preferred={("task", "Sort"): "three-parts"})
    for ambiguous in (plugins, other):
        with pytest.raises(PluginError, match="is provided by one-parts"):
            ambiguous.find("task", "Sort")


@pytest.mark.parametrize("code", ["raise KeyboardInterrupt", "raise type('End', (KeyboardInterrupt,), {})"])
@pytest.mark.parametrize("place", ["", HOOK + "def mtl_tasks(): "])
def test_signals_are_the_users_while_a_plugin_is_imported(install: Install, code: str, place: str) -> None:
    install("slow-parts", place + code)
    with pytest.raises(KeyboardInterrupt):
        discover()
