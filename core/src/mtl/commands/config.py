"""`mtl config`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtl.commands.options import (
    BaseDirOption,
    ConfigArgument,
    SetOption,
    load,
    print_json,
    read_config,
    results_only,
)
from mtl.render.plain import escaped, readable

if TYPE_CHECKING:
    from mtl.config.load import LoadedConfig

config_app = typer.Typer(no_args_is_help=True, help="Show, validate and migrate configs.")


@config_app.command()
def show(config: ConfigArgument = None, overrides: SetOption = None, base_dir: BaseDirOption = None) -> None:
    """Print the whole config, including defaults."""
    from mtl.config.dumping import dump

    print_json(dump(_load(config, overrides, base_dir).config))


@config_app.command()
def schema() -> None:
    """Print a JSON Schema of configs, with all installed components."""
    from mtl.config.schema import json_schema
    from mtl.plugins import discover

    with results_only():
        made = json_schema(discover())
    print_json(made)


@config_app.command()
def validate(
    config: ConfigArgument = None, overrides: SetOption = None, base_dir: BaseDirOption = None
) -> None:
    """Check a config without reading its data."""
    tasks = _load(config, overrides, base_dir).config.tasks
    named = ", ".join(f"{name} ({component.name})" for name, component in tasks.items())
    print(readable(f"{config or '-'}: valid; {len(tasks)} task{'s' if len(tasks) != 1 else ''}: {named}"))


@config_app.command()
def migrate(
    config: ConfigArgument = None,
    output: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Write the result here, in the format of its ending; `-` is standard output."
        ),
    ] = "-",
) -> None:
    """Bring a config up to date, or convert another program's with an installed plugin.

    The comments of YAML and TOML are kept. Notes on what has changed and what has no counterpart go to
    standard error. The files that the config names need not exist.
    """
    from mtl.config.migrate import migrated
    from mtl.config.source import Format
    from mtl.files import write_text
    from mtl.plugins import discover

    with results_only():
        format = None if output == "-" else Format.of(Path(output))
        result = migrated(read_config(config), plugins=discover(), format=format)
    if output == "-":
        print(escaped(result.text), end="")
    else:
        write_text(Path(output), result.text)
    for note in result.notes:
        print(readable(note), file=sys.stderr)
    if not result.notes:
        print("mtl: nothing to change", file=sys.stderr)
    result.check(output)


def _load(config: str | None, overrides: list[str] | None, base_dir: Path | None) -> LoadedConfig:
    loaded = load(config, overrides, base_dir)[0]
    for warning in loaded.warnings:
        print(f"mtl: warning: {readable(warning)}", file=sys.stderr)
    return loaded
