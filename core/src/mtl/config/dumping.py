"""`dump`: from a config back to JSON, with every default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from mtl.config.run_config import RunConfig
from mtl.fields import Component, fields_of, option_json


def dump(config: RunConfig) -> dict[str, Any]:
    """Return the whole config as JSON, defaults included, which `load_config` reads back unchanged.

    Paths below `base_dir` are relative to it.
    """
    return dict(json_form(config, Path(config.base_dir)))


def json_form(value: Any, base_dir: Path) -> Any:
    """Return a value of a config as JSON."""
    if isinstance(value, Component):
        return {value.name: json_form(value.config, base_dir)}
    if isinstance(value, dict):
        return {key: json_form(each, base_dir) for key, each in value.items()}
    if isinstance(value, list):
        return [json_form(each, base_dir) for each in value]
    if not attrs.has(type(value)):
        return option_json(value, base_dir)
    written: dict[str, Any] = {}
    for field in fields_of(type(value)).values():
        inner = getattr(value, field.name)
        if field.inline:
            written |= {each.name: json_form(each.config, base_dir) for each in inner.values()}
        else:
            written[field.name] = json_form(inner, base_dir)
    return written
