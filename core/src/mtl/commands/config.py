"""`mtl config`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mtl.commands.options import BaseDirOption, ConfigArgument, SetOption, load, print_json

if TYPE_CHECKING:
    from mtl.config.load import LoadedConfig

config_app = typer.Typer(no_args_is_help=True, help="Show, describe and check configs.")


@config_app.command()
def show(config: ConfigArgument = None, overrides: SetOption = None, base_dir: BaseDirOption = None) -> None:
    """Print the whole config, defaults included."""
    from mtl.config.dumping import dump

    print_json(dump(_load(config, overrides, base_dir).config))


@config_app.command()
def schema() -> None:
    """Print a JSON Schema of everything installed."""
    from mtl.config.schema import json_schema
    from mtl.plugins import discover

    print_json(json_schema(discover()))


@config_app.command()
def validate(
    config: ConfigArgument = None, overrides: SetOption = None, base_dir: BaseDirOption = None
) -> None:
    """Check a config, without reading data."""
    tasks = _load(config, overrides, base_dir).config.tasks
    named = ", ".join(f"{name} ({component.name})" for name, component in tasks.items())
    print(f"{config or '-'}: valid; {len(tasks)} task{'s' if len(tasks) != 1 else ''}: {named}")


def _load(config: str | None, overrides: list[str] | None, base_dir: Path | None) -> LoadedConfig:
    loaded = load(config, overrides, base_dir)[1]
    for warning in loaded.warnings:
        print(f"mtl: warning: {warning}", file=sys.stderr)
    return loaded
