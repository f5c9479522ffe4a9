"""`mtl seeds`: train a config with several seeds, and say on which rows the models disagree."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import typer

from mtl import MtlError, UsageError
from mtl.commands.options import ConfigArgument, JsonOption, load, print_json, results_only


def seeds(
    config: ConfigArgument = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs.")] = Path("seeds"),
    number: Annotated[int, typer.Option("--seeds", metavar="N", help="Number of runs.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Train CONFIG with several seeds; print each task's metric and the rows that change sides."""
    loaded, plugins = load(config)
    with results_only():
        report = compare(loaded, plugins, output, number)
    if as_json:
        print_json(report)
        return
    from mtl.render import number as written
    from mtl.render import output as terminal
    from mtl.render import table

    made = table("task", "metric", "mean", "deviation", "rows that differ", right=("mean", "deviation"))
    for name, task in report.items():
        cells = (written(task[key]) for key in ("mean", "deviation"))
        made.add_row(name, task["metric"], *cells, str(len(task["differ"])))
    terminal().print(made)


def compare(loaded: Any, plugins: Any, output: Path, number: int) -> dict[str, Any]:
    """Train what is not trained yet, load the models, and compare them row by row."""
    from mtl import runs

    if number < 2:
        raise UsageError(f"`--seeds` must be at least 2, but is {number}")
    folders = []
    for seed in range(number):
        folder = runs.RunFolder(output.absolute() / str(seed))
        if not folder.result.exists():
            config = runs.load_config(
                runs.dump(loaded.config) | {"seed": seed}, plugins=plugins, base_dir=loaded.config.base_dir
            )
            runs.train(config, output=folder.path, plugins=plugins)
        folders.append(folder)
    models = [runs.load(folder.path, plugins=plugins) for folder in folders]
    report = {}
    for name in runs.tasks_in_phases(loaded.config):
        metric = models[0].task(name).config.metric
        paths = loaded.config.tasks[name].config.data.config.paths("eval")
        if not paths:
            raise MtlError(f"{name} has no evaluation data")
        values = [runs.read_json(folder.result)["tasks"][name]["eval"][metric.name] for folder in folders]
        read = [runs.read_rows(model, name, paths) for model in models]
        groups = [[row] for row in range(len(read[0]))]
        losses = [
            [score.loss for score in runs.score_rows(model, name, rows, groups)]
            for model, rows in zip(models, read, strict=True)
        ]
        predicted = [runs.predict_rows(model, name, rows) for model, rows in zip(models, read, strict=True)]
        differ = [
            row
            for row, (first, *others) in enumerate(zip(*predicted, strict=True))
            if any(other.get("label") != first.get("label") for other in others)
        ]
        texts = runs.row_texts(models[0], name, paths, {row: int(read[0].lines[row]) for row in differ[:3]})
        report[name] = {
            "metric": metric.name,
            "mean": mean(values),
            "deviation": stdev(values),
            "losses": losses,
            "steps": [runs.read_records(folder.metrics)[0][-1]["step"] for folder in folders],
            "differ": differ,
            "texts": texts,
        }
    return report
