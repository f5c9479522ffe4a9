"""`mtl data check`"""

from __future__ import annotations

from typing import Annotated

import typer

from mtl.commands.options import (
    BaseDirOption,
    ConfigArgument,
    JsonOption,
    SetOption,
    load,
    print_json,
    results_only,
)


def check(
    config: ConfigArgument = None,
    overrides: SetOption = None,
    base_dir: BaseDirOption = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Score simple models: what a model must beat.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for faults in the data of CONFIG.

    Shows sizes, lengths and labels, and finds bad rows, duplicates, rows in several splits, labels that the
    training data does not have, unknown words, odd characters and more. The exit status is 1 if there is an
    error or a warning among the findings.
    """
    loaded, plugins = load(config, overrides, base_dir)
    from mtl.runs import check_data

    with results_only():
        checked = check_data(loaded, baseline=baseline, plugins=plugins)
    if as_json:
        print_json(checked)
    else:
        from mtl.render.checked_data import checked_view
        from mtl.render.terminal import output

        output().print(checked_view(checked))
    if any(each["verdict"] != "note" for each in checked["findings"]):
        raise typer.Exit(1)
