"""A plugin's files from its name and the kinds of what it brings."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from packaging.version import Version

from mtl.components import KINDS
from mtl.errors import UsageError
from mtl.plugins import API_VERSION, Plugins, discover
from mtl.scaffold.example import example_config
from mtl.scaffold.host import Host, find_host
from mtl.scaffold.parts import COMMAND, PARTS
from mtl.scaffold.rows import review_files
from mtl.suggest import did_you_mean, listed, with_article

SUFFIX = ".tmpl"
PACKAGE = "package"
"""What stands in a template's path for the plugin's package."""
LONGEST_NAME = 30


def write_plugin(
    name: str, kinds: str | Sequence[str], folder: Path, plugins: Plugins | None = None
) -> list[str]:
    """Write a new plugin into `folder` and return the paths of its files.

    Raises `UsageError` for an invalid name or kind, for a folder that is not empty, and if no installed task
    can show the plugin's components at work.
    """
    rendered = render_plugin(name, kinds, plugins)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: must be a new or an empty folder, but has files in it")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: must be a new or an empty folder, but is a file")
    for path, text in rendered.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    return list(rendered)


def render_plugin(name: str, kinds: str | Sequence[str], plugins: Plugins | None = None) -> dict[str, str]:
    """Return the files of a new plugin, {path: text}, the same for the same name and installed plugins.

    Each of several kinds has a package of its own within the plugin's, and an example of its own.
    Raises `UsageError` for an invalid name or kind.
    """
    kinds = [kinds] if isinstance(kinds, str) else list(dict.fromkeys(kinds))
    for kind in kinds:
        if kind not in PARTS:
            near = did_you_mean(kind, PARTS)
            must = f"`--kind` must be one of {', '.join(PARTS)}, but is `{kind}`"
            raise UsageError(f"{must}; {near}" if near else must)
    words = _words(name)
    several = len(kinds) > 1
    host = find_host(plugins or discover())
    parts = {kind: _values(words, kind, several=several) | _defaults(host) for kind in kinds}
    plugin = _plugin_values(words, parts, host)
    folders = [_templates("common"), *(_templates(kind) for kind in kinds)]
    _check_free(name, plugin["package"], parts.values(), [text for each in folders for text in each.values()])
    rendered: dict[str, str] = {}
    common = {**_templates("common"), **(_templates("several") if several else {})}
    for kind, values in parts.items():
        files = {**{path: common[path] for path in PER_KIND}, **_templates(kind)}
        if several:
            files.pop("tests/test_plugin.py", None)
            files |= {"tests/__init__.py": ""} | ({} if kind == COMMAND else {INIT: common[INIT]})
        for path, template in files.items():
            place = _place(path, kind, plugin["package"], several=several)
            rendered[place] = Template(template).substitute(plugin | values)
        rows = PARTS[kind].rows
        others = {"config.json": example_config(kind, values["component"], host)}
        for path, text in (others | (review_files(*rows) if rows else {})).items():
            rendered[_place(path, kind, plugin["package"], several=several)] = text
    if several:
        rendered["tests/__init__.py"] = ""
    for path, template in common.items():
        if path not in PER_KIND:
            place = path.replace(f"/{PACKAGE}/", f"/{plugin['package']}/")
            rendered.setdefault(place, Template(template).substitute(plugin))
    return dict(sorted(rendered.items()))


INIT = f"src/{PACKAGE}/__init__.py"
PER_KIND = ("tests/conftest.py", "tests/test_run.py")
"""Common templates that each of several kinds has for itself."""


def _place(path: str, kind: str, package: str, *, several: bool) -> str:
    """Return where a file of a kind goes."""
    source = path.startswith("src/")
    path = path.replace(f"/{PACKAGE}/", f"/{package}/")
    if not several or (source and kind == COMMAND):
        return path
    if source:
        return path.replace(f"src/{package}/", f"src/{package}/{kind}/")
    return (
        path.replace("tests/", f"tests/{kind}/") if path.startswith("tests/") else f"examples/{kind}/{path}"
    )


def _words(name: str) -> list[str]:
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or len(name) > LONGEST_NAME:
        raise UsageError(
            "a plugin's name must be lower-case words of letters and digits with hyphens between them, such"
            f" as `star-ratings`, a letter first and at most {LONGEST_NAME} characters long, but is `{name}`"
        )
    return re.split("[-_]", name)


def _values(words: list[str], kind: str, *, several: bool) -> dict[str, str]:
    """Return what stands for each placeholder in the templates of a kind."""
    part = PARTS[kind]
    # `mtl-star-ratings` brings StarRatingsTask, and so does `star-ratings-task`.
    own = words[1:] if words[0] == "mtl" and words[1:] and words[1][0].isalpha() else words
    own = own[:-1] if own[-1] == part.suffix.lower() and len(own) > 1 else own
    cls = "".join(word.capitalize() for word in own) + part.suffix
    components = {"featurizer": "_".join([*own, "feat"]), "dataset": "-".join(own), COMMAND: "-".join(own)}
    package = "_".join(words)
    return {
        "package": f"{package}.{kind}" if several and kind != COMMAND else package,
        "cls": cls,
        "component": components.get(kind, cls),
        "function": "_".join([*own, "command"]),
        "hook": "mtl_commands" if kind == COMMAND else KINDS[kind].hook,
        "module": part.module,
        "summary": part.summary,
        "answer": part.answer,
        "config": f'[2] / "examples/{kind}/config.json"' if several else '[1] / "config.json"',
    }


def _defaults(host: Host) -> dict[str, str]:
    """Return the host's default components, which a new task has as its own."""
    names = ", ".join(f'"{name}"' for name in host.features)
    return {**host.defaults, "features": f"({names},)" if len(host.features) == 1 else f"({names})"}


def _plugin_values(words: list[str], parts: Mapping[str, Mapping[str, str]], host: Host) -> dict[str, str]:
    """Return what stands for each placeholder in the templates of the plugin as a whole."""
    several = len(parts) > 1
    [first, *_] = parts
    brought = [f"{with_article(_label(kind))} `{each['component']}`" for kind, each in parts.items()]
    kinds = listed((with_article(_label(kind)) for kind in parts), last="and")
    # A line of code has 110 characters.
    summary = f"{kinds[:1].upper()}{kinds[1:]} for mtl" if len(kinds) < 80 else "Components for mtl"
    hosts = host.distributions({"task": host.task.name}) if set(parts) - {"task"} else []
    needs = ["pytext-mtl", *(host.distributions(host.defaults) if "task" in parts else [])]
    tests_need = ["pytext-mtl[testing]", *hosts, "mypy", "ruff"]
    shown = next((kind for kind in parts if PARTS[kind].rows), first)
    return {
        "distribution": "-".join(words),
        "package": "_".join(words),
        "summary": summary if several else PARTS[first].summary,
        "about": f"For mtl: {listed(brought, last='and')}.",
        "shown": "`examples` shows each of them at work." if several else "`config.json` shows it at work.",
        "example": f"examples/{shown}/config.json" if several else "config.json",
        "config": '[1] / "config.json"',
        "imports": _imports(parts),
        "hooks": "".join(f"\n{Template(_hook(kind)).substitute(values)}" for kind, values in parts.items()),
        "api": f">={API_VERSION},<{int(API_VERSION.split('.')[0]) + 1}",
        "mtl_series": _series("pytext-mtl"),
        "dependencies": _toml_lines(dict.fromkeys(needs)),
        "test_dependencies": _toml_lines(tests_need),
        "prepare_data": "" if several or PARTS[first].rows else "mtl data sample data\n",
        "files": "\n".join(_file_rows(parts)),
    }


def _label(kind: str) -> str:
    return COMMAND if kind == COMMAND else KINDS[kind].label


def _hook(kind: str) -> str:
    return _templates("hooks")["command" if kind == COMMAND else "component"]


def _imports(parts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the imports of plugin.py, in the order of isort."""
    components, command = set(parts) - {COMMAND}, parts.get(COMMAND)
    sections = [
        ["from collections.abc import Sequence"] if components else [],
        [
            *(["import typer"] if command else []),
            f"from mtl import {'ComponentSpec, hookimpl' if components else 'hookimpl'}",
        ],
        [f"from {command['package']}.command import {command['function']}"] if command else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _file_rows(parts: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the rows of the table of files in README.md."""
    for kind in parts:
        folder = f"{kind}/" if len(parts) > 1 and kind != COMMAND else ""
        if kind != COMMAND:
            yield f"| `{folder}config.py` | the settings and what the component declares; free of torch |"
        yield from (f"| `{folder}{module}.py` | {what} |" for module, what in PARTS[kind].modules.items())


def _toml_lines(requirements: Iterable[str]) -> str:
    return "\n".join(f'    "{requirement}{_bounds(requirement)}",' for requirement in requirements)


def _bounds(requirement: str) -> str:
    """From the version that is installed up to the next that may break something; of mtl and its own
    plugins alone, which keep to it."""
    if not requirement.startswith(("pytext-", "mtl-")):
        return ""
    try:
        series = Version(_series(requirement.partition("[")[0]))
    except importlib.metadata.PackageNotFoundError:
        return ""
    breaking = f"{series.major + 1}" if series.major else f"0.{series.minor + 1}"
    return f">={series},<{breaking}"


def _series(distribution: str) -> str:
    """Return the major and minor version of a distribution. Raises `PackageNotFoundError`."""
    version = Version(importlib.metadata.version(distribution))
    return f"{version.major}.{version.minor}"


def _check_free(
    name: str, package: str, parts: Iterable[Mapping[str, str]], templates: Iterable[str]
) -> None:
    """Refuse a name that hides something which the plugin or its reader needs."""
    installed = importlib.util.find_spec(package)
    if keyword.iskeyword(package):
        raise UsageError(f"a plugin's name must be free, but `{package}` is a keyword of Python")
    if installed and installed.origin:
        raise UsageError(
            f"a plugin's name must be free, but a module `{package}` is installed: {installed.origin}"
        )
    taken = {word for template in templates for word in re.findall(r"\w+", template)}
    for values in parts:
        for made in (values["cls"], values["cls"] + "Config"):
            if made in taken:
                raise UsageError(f"a plugin's name must be free, but `{name}` would make a second `{made}`")


def _templates(folder: str) -> dict[str, str]:
    """Return the templates below a folder, {path: text}."""
    return dict(_found(files(__package__).joinpath("templates", folder), ""))


def _found(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _found(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield prefix + entry.name.removesuffix(SUFFIX), entry.read_text(encoding="utf-8")
