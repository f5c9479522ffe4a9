"""`dump`: a config back to JSON, with every default."""

from __future__ import annotations

import enum
from pathlib import Path, PurePath
from typing import Any

import attrs

from mtl.components import FeaturesConfig
from mtl.config.run_config import RunConfig
from mtl.fields import Component


def dump(config: RunConfig) -> dict[str, Any]:
    """The whole config as JSON, defaults included, which `load_config` reads back as it is. Paths are
    relative to `base_dir` where they lie below it."""
    return dict(json_form(config, Path(config.base_dir)))


def json_form(value: Any, base_dir: Path) -> Any:
    """A resolved value of a config, in JSON form."""
    if isinstance(value, Component):
        return {value.name: json_form(value.config, base_dir)}
    if attrs.has(type(value)):
        values = {each.name: getattr(value, each.name) for each in attrs.fields(type(value))}
        if isinstance(value, FeaturesConfig):
            values |= {each.name: each.config for each in values.pop("featurizers").values()}
        return json_form(values, base_dir)
    if isinstance(value, dict):
        return {key: json_form(each, base_dir) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_form(each, base_dir) for each in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value.relative_to(base_dir) if value.is_relative_to(base_dir) else value)
    return value
