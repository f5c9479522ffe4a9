"""A plugin's files from a name and a kind."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Literal

from attrs import frozen
from packaging.version import Version

from mtl.components import KINDS
from mtl.errors import UsageError
from mtl.plugins import API_VERSION
from mtl.scaffold.rows import Target, review_files
from mtl.suggest import did_you_mean

SUFFIX = ".tmpl"
PACKAGE = "package"
"""What stands in a template's path for the plugin's package."""
LONGEST_NAME = 30

_LABELS = '{"label", "probabilities"}'


@frozen(kw_only=True)
class Part:
    """What the templates of a kind make.

    `suffix` ends the component's name, `module` holds its factory, `modules` say what is in each file
    beside plugin.py and config.py, `answer` are the keys of a prediction of config.json's model.
    """

    suffix: str
    module: str
    summary: str
    modules: Mapping[str, str]
    rows: tuple[Target, Literal["tsv", "csv"]] | None = ("label", "tsv")
    answer: str = _LABELS
    needs: tuple[str, ...] = ("pytext-mtl",)
    tests_need: tuple[str, ...] = ("pytext-plugins-sst",)


_MODEL = {"model": "the torch module"}

PARTS: Mapping[str, Part] = {
    "task": Part(
        suffix="Task",
        module="task",
        summary="A score for each text",
        modules={"data": "rows: from strings to tokens and scores", "model": "the model", "task": "the task"},
        rows=("score", "tsv"),
        answer='{"score"}',
        needs=("pytext-mtl", "mtl-text"),
        tests_need=(),
    ),
    "representation": Part(
        suffix="Encoder",
        module="model",
        summary="A convolution over each word and those before it",
        modules=_MODEL,
    ),
    "featurizer": Part(
        suffix="Feat",
        module="data",
        summary="A vector for the last letters of a word",
        modules={"data": "tokens to numbers", "model": "numbers to vectors"},
    ),
    "pooling": Part(
        suffix="Pooling", module="model", summary="A smooth maximum of the sequence", modules=_MODEL
    ),
    "decoder": Part(
        suffix="Decoder", module="model", summary="Scores by way of a narrow layer", modules=_MODEL
    ),
    "data_source": Part(
        suffix="Source",
        module="data",
        summary="Comma-separated values with a header",
        modules={"data": "files to rows"},
        rows=("label", "csv"),
    ),
    "dataset": Part(
        suffix="Dataset",
        module="data",
        summary="Film reviews, good or bad",
        modules={"data": "where the dataset is, and a generated one in its format"},
        rows=None,
    ),
    "optimizer": Part(
        suffix="Optimizer",
        module="optimizers",
        summary="Adam with Nesterov's momentum (Dozat 2016)",
        modules={"optimizers": "the optimizer"},
    ),
    "lr_scheduler": Part(
        suffix="Scheduler",
        module="lr_schedulers",
        summary="Warm-up, then down with the root of the step",
        modules={"lr_schedulers": "the learning-rate scheduler"},
    ),
    "schedule": Part(
        suffix="Schedule",
        module="schedules",
        summary="Some steps of one task, then some of the next",
        modules={"schedules": "the order of tasks"},
    ),
    "balancer": Part(
        suffix="Balancer",
        module="balancers",
        summary="Each task's loss on one scale",
        modules={"balancers": "how the losses weigh against each other"},
    ),
    "logger": Part(
        suffix="Logger",
        module="loggers",
        summary="Evaluations as a table in the run folder",
        modules={"loggers": "the object with run-time hooks"},
    ),
}
"""The kinds of plugin that there are templates for."""


def write_plugin(name: str, kind: str, folder: Path) -> list[str]:
    """Write a new plugin into `folder`; gives the paths of its files.

    Raises `UsageError` for a name that cannot be one, a kind that is none, and a folder that has
    something in it.
    """
    rendered = render_plugin(name, kind)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: must be a new or an empty folder, but has files in it")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: must be a new or an empty folder, but is a file")
    for path, text in rendered.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    return list(rendered)


def render_plugin(name: str, kind: str) -> dict[str, str]:
    """The files of a new plugin, {path: text}, the same for the same name and versions.

    Raises `UsageError` for a name that cannot be one and a kind that is none.
    """
    if kind not in PARTS:
        near = did_you_mean(kind, PARTS)
        raise UsageError(
            f"`--kind` must be one of {', '.join(PARTS)}, but is `{kind}`" + (f"; {near}" if near else "")
        )
    words = _words(name)
    templates = {**_templates("common"), **_templates(kind)}
    values = _values(words, kind)
    _check_free(name, values, templates.values())
    rendered = {
        path.replace(f"/{PACKAGE}/", f"/{values['package']}/"): Template(template).substitute(values)
        for path, template in templates.items()
    }
    rows = PARTS[kind].rows
    return dict(sorted((rendered | (review_files(*rows) if rows else {})).items()))


def _words(name: str) -> list[str]:
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or len(name) > LONGEST_NAME:
        raise UsageError(
            "a plugin's name must be lower-case words of letters and digits with hyphens between them, such"
            f" as `star-ratings`, a letter first and at most {LONGEST_NAME} characters long, but is `{name}`"
        )
    return re.split("[-_]", name)


def _values(words: list[str], kind: str) -> dict[str, str]:
    """What stands for each placeholder."""
    part = PARTS[kind]
    # `mtl-star-ratings` brings StarRatingsTask, and so does `star-ratings-task`.
    own = words[1:] if words[0] == "mtl" and words[1:] and words[1][0].isalpha() else words
    own = own[:-1] if own[-1] == part.suffix.lower() and len(own) > 1 else own
    cls = "".join(word.capitalize() for word in own) + part.suffix
    components = {"featurizer": "_".join([*own, "feat"]), "dataset": "-".join(own)}
    return {
        "distribution": "-".join(words),
        "package": "_".join(words),
        "cls": cls,
        "component": components.get(kind, cls),
        "label": KINDS[kind].label,
        "hook": KINDS[kind].hook,
        "module": part.module,
        "summary": part.summary,
        "answer": part.answer,
        "api": f">={API_VERSION},<{int(API_VERSION.split('.')[0]) + 1}",
        "mtl_series": _series("pytext-mtl"),
        "dependencies": _toml_lines(part.needs),
        "test_dependencies": _toml_lines(("pytext-mtl[testing]", *part.tests_need, "mypy", "ruff")),
        "prepare_data": "" if part.rows else "mtl data sample data\n",
        "files": "\n".join(f"| `{module}.py` | {what} |" for module, what in part.modules.items()),
    }


def _toml_lines(requirements: tuple[str, ...]) -> str:
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
    """The major and minor version of a distribution. Raises `PackageNotFoundError`."""
    version = Version(importlib.metadata.version(distribution))
    return f"{version.major}.{version.minor}"


def _check_free(name: str, values: Mapping[str, str], templates: Iterable[str]) -> None:
    """Refuse a name that hides something which the plugin or its reader needs."""
    package = values["package"]
    installed = importlib.util.find_spec(package)
    if keyword.iskeyword(package):
        raise UsageError(f"a plugin's name must be free, but `{package}` is a word of Python")
    if installed and installed.origin:
        raise UsageError(
            f"a plugin's name must be free, but a module `{package}` is there: {installed.origin}"
        )
    taken = {word for template in templates for word in re.findall(r"\w+", template)}
    for made in (values["cls"], values["cls"] + "Config"):
        if made in taken:
            raise UsageError(f"a plugin's name must be free, but `{name}` would make a second `{made}`")


def _templates(folder: str) -> dict[str, str]:
    """The templates below a folder, {path: text}."""
    return dict(_found(files(__package__).joinpath("templates", folder), ""))


def _found(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _found(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield prefix + entry.name.removesuffix(SUFFIX), entry.read_text(encoding="utf-8")
