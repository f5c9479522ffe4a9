"""What the documents say is so: their commands run, their keys and hooks are the real ones."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from documents import ROOT, Block, blocks, run, run_all, write_files

import mtl
from mtl import hookspecs
from mtl.components import KINDS, DataSourceConfig, ModuleConfig, ScheduleConfig, TaskConfig
from mtl.config.run_config import ParameterGroupConfig, PhaseConfig, RunConfig, TrainerConfig
from mtl.plugins import discover

DOCUMENTS = [
    str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
]


def install(folder: Path, name: str, entry_point: str, requires: str) -> None:
    """Write the metadata that pip would for the plugin in `folder`, where Python finds it by PYTHONPATH."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[mtl.plugins]\n{entry_point}\n")


def shorten(config: Path) -> None:
    """Train one epoch: that a command works shows sooner than what it is good for."""
    config.write_text(re.sub(r'"epochs": \d+', '"epochs": 1', config.read_text()))


@pytest.mark.slow
def test_the_readme_works(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shorten(tmp_path / "configs/quickstart.json")
    install(tmp_path, "doc-gru", "doc_gru = doc_gru.plugin", requires="pytext-mtl>=0.1,<0.2")
    printed = run_all("README.md", tmp_path)
    assert "representation DocGRU" in printed and "SST2.accuracy" in printed


@pytest.mark.slow
def test_the_python_of_the_readme_works(tmp_path: Path) -> None:
    run("mtl data sample data/sample", tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shorten(tmp_path / "configs/quickstart.json")
    (code,) = [b.text for b in blocks("README.md") if b.language == "python" and b.file is None]
    (tmp_path / "example.py").write_text(code)
    done = run(f"{sys.executable} example.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SST2.accuracy" in done.stdout


@pytest.mark.slow
def test_c9_the_tutorial_works(tmp_path: Path) -> None:
    write_files("docs/tutorial.md", tmp_path)
    configs = ("sst2", "multitask_sst_lm")
    for config in configs:
        shorten(tmp_path / f"{config}.json")
    run_all("docs/tutorial.md", tmp_path)
    for tasks, config in enumerate(configs, start=1):
        result = json.loads((tmp_path / "runs" / config / "result.json").read_text())
        assert result["status"] == "completed"
        assert len(result["tasks"]) == tasks


@pytest.mark.slow
def test_the_commands_about_balancing_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shorten(tmp_path / "configs/quickstart.json")
    run_all("docs/balancing.md", tmp_path)
    for name, balancer in (("upgrad", "UPGrad"), ("uncertainty", "Uncertainty")):
        assert list(json.loads((tmp_path / f"runs/{name}/config.json").read_text())["balancer"]) == [balancer]


@pytest.mark.slow
def test_the_plugins_of_the_guide_work(tmp_path: Path) -> None:
    def is_elsewhere(block: Block) -> bool:  # test_guide.py takes the longer walk
        return not block.heading.startswith("The longer walk")

    write_files("docs/plugin-guide.md", tmp_path, is_elsewhere)
    printed = run_all("docs/plugin-guide.md", tmp_path, is_elsewhere)
    assert "star-ratings" in printed
    assert "Highest predicted score." in printed
    scores = [json.loads(line)["score"] for line in printed.splitlines() if line.startswith('{"score"')]
    assert scores[0] > 0 and scores[1] == 2.0
    wrong = "--set tasks.Reviews.StarRatingsTask.lowest=9"
    refused = run(f"mtl config validate star-ratings/config.json {wrong}", tmp_path)
    assert "tasks.Reviews.StarRatingsTask.lowest: `lowest` must be below `highest`" in refused.stderr


@pytest.mark.slow
def test_the_settings_and_commands_of_mixing_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    run("mtl data sample data/sample", tmp_path)
    quickstart = json.loads((tmp_path / "configs/quickstart.json").read_text())
    settings = [json.loads(block.text) for block in blocks("docs/mixing.md") if block.language == "json"]
    settings = [each for each in settings if "kind" not in each]
    assert len(settings) == 5
    for each in settings:
        config = copy.deepcopy(quickstart)
        config["trainer"] = each.pop("trainer", {})
        config["tasks"]["LM"]["LMTask"] |= each.pop("LMTask", {})
        (tmp_path / "configs/changed.json").write_text(json.dumps(config | each))
        assert run("mtl config validate configs/changed.json", tmp_path).returncode == 0
    assert "whole run: about" in run_all("docs/mixing.md", tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_in_the_documents_is_well_formed(document: str) -> None:
    for block in blocks(document):
        try:
            if block.language == "python":
                ast.parse(block.text)
            elif block.language == "json":
                json.loads(block.text)
        except (SyntaxError, ValueError) as error:
            pytest.fail(f"{block.place}: {error}")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / document).parent / target).exists(), target


# --- hooks ---------------------------------------------------------------------------------------


def functions(source: str) -> Iterator[tuple[str, str]]:
    """Each function of a source by name, with its signature in one form."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.name, f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


HOOKS = {
    name: signature for name, signature in functions(inspect.getsource(hookspecs)) if name.startswith("mtl_")
}


def python_of_the_guide() -> Iterator[tuple[str, ast.Module]]:
    """Each block of Python of the guide, as text and parsed."""
    for block in blocks("docs/plugin-guide.md"):
        if block.language == "python":
            yield block.text, ast.parse(block.text)


def test_the_guide_has_every_hook_with_its_exact_signature() -> None:
    documented = [
        found for text, _ in python_of_the_guide() for found in functions(text) if found[0].startswith("mtl_")
    ]
    assert dict(documented) == HOOKS
    assert len(documented) == len(HOOKS)


def implementations(tree: ast.AST) -> dict[str, list[str]]:
    """The hooks that a source implements, with the arguments that it takes."""
    return {
        node.name: [argument.arg for argument in node.args.args if argument.arg != "self"]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "hookimpl" in map(ast.unparse, node.decorator_list)
    }


def test_the_guide_has_an_example_of_every_hook() -> None:
    guide = (ROOT / "docs/plugin-guide.md").read_text()
    shown: dict[str, list[str]] = {}
    for _, tree in python_of_the_guide():
        shown |= implementations(tree)
    for linked, hooks in re.findall(r"\]\((\.\./\S+/plugin\.py)\)\s+\(([^)]+)\)", guide):
        there = implementations(ast.parse((ROOT / "docs" / linked).read_text()))
        shown |= {hook: there[hook] for hook in re.findall(r"`(mtl_\w+)`", hooks)}
    assert shown.keys() == HOOKS.keys()
    for hook, arguments in shown.items():
        assert set(arguments) <= set(inspect.signature(getattr(hookspecs, hook)).parameters), hook


def test_the_guide_describes_every_argument_of_the_callbacks() -> None:
    described = re.findall(r"^\| `(\w+)` \| ", sections("docs/plugin-guide.md")["Hooks"], flags=re.M)
    taken = [
        argument
        for hook in HOOKS
        if hook not in {kind.hook for kind in KINDS.values()} and hook != "mtl_commands"
        for argument in inspect.signature(getattr(hookspecs, hook)).parameters
    ]
    assert described == list(dict.fromkeys(taken))


def test_the_callback_of_the_guide_works(tiny: dict[str, Any], tmp_path: Path) -> None:
    [code] = [text for text, _ in python_of_the_guide() if "class Journal" in text]
    names: dict[str, Any] = {}
    exec(code, names)
    journal = names["Journal"](None, folder=tmp_path)
    result = mtl.train(tiny, output=tmp_path / "run", callbacks=[journal]).data
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events[:2] == ["started", "first step"] and "best" in events and "checkpoint" in events
    assert lines[-1] == {"event": "ended", "step": result["steps"], "stopped": None}
    journal.mtl_run_failed(RuntimeError("no"), 3)
    journal.mtl_run_interrupted(15, 3)
    journal.mtl_run_started({"schedule": {"steps": 9}}, 1)
    steps = [json.loads(line)["step"] for line in journal.path.read_text().splitlines()]
    assert max(steps) == 1 and len(steps) == sum(line["step"] <= 1 for line in lines) + 1
    with pytest.raises(mtl.StopRun, match="the loss of A is 1000"):
        journal.mtl_recorded({"kind": "train", "task": "A", "loss": 1000.0})


def test_the_guide_has_every_kind() -> None:
    guide = (ROOT / "docs/plugin-guide.md").read_text()
    assert [kind.hook for kind in KINDS.values() if f"`{kind.hook}`" not in guide] == []


# --- keys ----------------------------------------------------------------------------------------


def sections(document: str) -> dict[str, str]:
    """The text below each heading, up to the next one."""
    parts = re.split(r"^#+ (.+)$", (ROOT / document).read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def configurable() -> dict[str, type]:
    """Every class of settings by the heading that documents it."""
    plugins = discover(blocked=["mtl-tagging"])  # an example: its own README documents it
    components = {
        name: plugins.find(kind, name).load_config()
        for kind in KINDS
        if kind != "dataset"
        for name in plugins.available(kind)
    }
    return {
        "The run": RunConfig,
        "`trainer`": TrainerConfig,
        "A parameter group": ParameterGroupConfig,
        "A phase": PhaseConfig,
        "Every module": ModuleConfig,
        "Every task": TaskConfig,
        "Every data source": DataSourceConfig,
        "Every schedule": ScheduleConfig,
        **{f"`{name}`": config for name, config in components.items()},
    }


def test_every_component_is_documented() -> None:
    document = (ROOT / "docs/configuration.md").read_text()
    assert [
        heading for heading in configurable() if heading.startswith("`") and heading not in document
    ] == []


COMMON = (ModuleConfig, TaskConfig, DataSourceConfig, ScheduleConfig)


def own_fields(config: type) -> list[attrs.Attribute[Any]]:
    """The fields of a class of settings that no more general section documents."""
    general = {
        field.name
        for base in COMMON
        if issubclass(config, base) and config is not base
        for field in attrs.fields(base)
    }
    return [field for field in attrs.fields(config) if field.name not in general | {"data", "features"}]


def written(value: Any) -> str:
    """A default as the documents write it: as JSON, or `none`."""
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = {} if attrs.has(value.factory) else value.factory()
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=True)}`"


@pytest.mark.parametrize("heading", configurable())
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    config, text = configurable()[heading], sections("docs/configuration.md").get(heading, "")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", text, flags=re.M))
    fields = own_fields(config)
    assert list(rows) == [field.name for field in fields]
    for field in fields:
        default = field.metadata.get("default", field.default)
        if default is attrs.NOTHING:
            expected = "`[]`" if str(field.type).startswith("list") else "required"
        else:
            expected = written(default)
        assert rows[field.name] == expected, field.name
