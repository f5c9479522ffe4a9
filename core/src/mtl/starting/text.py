"""A config with every setting, and what each means as a comment where the format has comments."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import Factory, define

from mtl.components import ModuleConfig
from mtl.config.dumping import json_form
from mtl.config.run_config import RunConfig
from mtl.config.source import Format
from mtl.fields import Component, fields_of

WIDTH = 100
_HEAD = """\
# A config of mtl with all settings and their defaults. Any may be left out but the tasks and their
# files. `mtl config validate` checks it, `mtl plan` shows what it does, `mtl train` trains.
"""
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@define
class _Setting:
    """A key with its help, and its value as JSON, or the settings within it."""

    key: str
    help: str
    value: Any = None
    inside: list[_Setting] | None = None

    @property
    def json(self) -> Any:
        return self.value if self.inside is None else {each.key: each.json for each in self.inside}


def commented(config: RunConfig, format: Format) -> str:
    """Return a resolved config as text; its paths are relative to its `base_dir`."""
    settings = _Settings(Path(config.base_dir)).of(config)
    for each in settings:
        if each.key == "base_dir":
            each.value = "."
    if format is Format.JSON:
        return json.dumps({each.key: each.json for each in settings}, indent=2, ensure_ascii=False) + "\n"
    lines = _yaml(settings, "") if format is Format.YAML else _toml(settings, ())
    return f"{_HEAD}\n" + "\n".join(lines).strip("\n") + "\n"


@define
class _Settings:
    base_dir: Path
    written: set[str] = Factory(set)

    def of(self, config: Any) -> list[_Setting]:
        """Return the settings of a config object; those of a module that was written before by its key."""
        key = config.shared_module_key if isinstance(config, ModuleConfig) else None
        fields = list(fields_of(type(config)).values())
        if key is not None and key in self.written:
            fields = [field for field in fields if field.name == "shared_module_key"]
        elif key is not None:
            self.written.add(key)
        found: list[_Setting] = []
        for field in fields:
            value = getattr(config, field.name)
            if field.inline:
                found += [
                    _Setting(each.name, each.spec.summary, inside=self.of(each.config))
                    for each in value.values()
                ]
            else:
                found.append(self.one(field.name, field.help, value))
        return found

    def one(self, key: str, help: str, value: Any) -> _Setting:
        if isinstance(value, Component):
            return _Setting(key, help, inside=[_Setting(value.name, "", inside=self.of(value.config))])
        if attrs.has(type(value)):
            return _Setting(key, help, inside=self.of(value))
        if isinstance(value, dict) and value and all(isinstance(each, Component) for each in value.values()):
            inside = [self.one(name, each.spec.summary, each) for name, each in value.items()]
            return _Setting(key, help, inside=inside)
        return _Setting(key, help, json_form(value, self.base_dir))


def _comment(help: str, indent: str) -> Iterator[str]:
    if help:
        yield from textwrap.wrap(
            help, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
        )


def _yaml(settings: list[_Setting], indent: str) -> Iterator[str]:
    for each in settings:
        if not indent:
            yield ""
        yield from _comment(each.help, indent)
        key = each.key if _BARE.fullmatch(each.key) else _text(each.key)
        if each.inside is None:
            yield f"{indent}{key}: {_text(each.value)}"
        elif not each.inside:
            yield f"{indent}{key}: {{}}"
        else:
            yield f"{indent}{key}:"
            yield from _yaml(each.inside, f"{indent}  ")


def _toml(settings: list[_Setting], path: tuple[str, ...], above: Sequence[str] = ()) -> Iterator[str]:
    """Yield the settings of a table, then the tables within it; `above` are comments before the first."""
    for each in settings:
        if each.inside is None:
            yield from _comment(each.help, "")
            key = _toml_key(each.key)
            yield f"# {key} =" if each.value is None else f"{key} = {_toml_value(each.value)}"
    for each in settings:
        if each.inside is not None:
            here = (*path, each.key)
            comments = [*above, *_comment(each.help, "")]
            above = ()
            if not each.inside or any(inner.inside is None for inner in each.inside):
                yield from ("", *comments, f"[{'.'.join(map(_toml_key, here))}]")
                comments = []
            yield from _toml(each.inside, here, comments)


def _text(value: Any) -> str:
    """Return JSON, which YAML is too."""
    return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    import tomlkit

    if isinstance(value, dict):
        inside = ", ".join(f"{_toml_key(key)} = {_toml_value(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return str(tomlkit.item(value).as_string())
