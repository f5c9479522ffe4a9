"""The configs that a command line names: files, or one file with values of its settings. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from mtl import UsageError

Variations = Mapping[str, tuple[str, tuple[str, ...]]]
"""Configs by name: the file, and the overrides (`PATH=VALUE`)."""


def variations(configs: Sequence[str], vary: Iterable[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the configs to compare, by name.

    Raises `UsageError` for several configs that are varied, or the same one twice.
    """
    axes = [_axis(text) for text in vary]
    if axes and len(configs) > 1:
        raise UsageError("`--vary` takes one CONFIG; to compare several, name them without it")
    if not axes:
        names = _config_names(configs)
        return {name: (config, ()) for name, config in zip(names, configs, strict=True)}
    labels = _labels([path for path, _ in axes])
    made = {}
    for values in product(*(values for _, values in axes)):
        name = ", ".join(f"{label}={value}" for label, value in zip(labels, values, strict=True))
        overrides = tuple(f"{path}={value}" for (path, _), value in zip(axes, values, strict=True))
        if name in made:
            raise UsageError(f"`--vary`: {name} is there twice")
        made[name] = (configs[0], overrides)
    if len(made) < 2:
        raise UsageError("`--vary` needs at least two values, as in trainer.optimizer.Adam.lr=0.001,0.003")
    return made


def folder_name(made: Variations) -> str:
    """Return a short name for the folder of a comparison."""
    files = list(dict.fromkeys(Path(path).stem if path != "-" else "config" for path, _ in made.values()))
    varied = len(made) > 1 and len(files) == 1
    return "-".join([*files[:4], *(["vary"] if varied else [])])


def _axis(text: str) -> tuple[str, list[str]]:
    """Return a path and its values, which commas separate outside of brackets and quotes."""
    path, equals, values = text.partition("=")
    found = [value.strip() for value in _split(values)]
    if not equals or not path.strip() or not all(found):
        raise UsageError(
            f"`--vary` must be PATH=V1,V2, as in trainer.optimizer.Adam.lr=0.001,0.003, but is `{text}`"
        )
    return path.strip(), found


def _split(text: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for index, character in enumerate(text):
        if character == '"' and (not index or text[index - 1] != "\\"):
            quoted = not quoted
        elif not quoted:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _labels(paths: Sequence[str]) -> list[str]:
    """Return the last part of each path, or the whole of one whose last part is not unique."""
    last = [path.rpartition(".")[2] for path in paths]
    return [end if last.count(end) == 1 else path for end, path in zip(last, paths, strict=True)]


def _config_names(configs: Sequence[str]) -> list[str]:
    """Return a name per config: of its file, with as many folders as make it unique."""
    if configs == ["-"]:
        return ["config"]
    if "-" in configs:
        raise UsageError("several configs must be files, but `-` is standard input")
    parts = [Path(config).with_suffix("").parts for config in configs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"a config is named twice: {', '.join(configs)}")
