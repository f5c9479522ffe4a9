"""A plan: in full for `mtl plan`, in short before a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mtl.render.cells import count, duration, message, number, section, share, size, table

SPLITS = ("train", "eval", "test")
LABELS_IN_A_SUMMARY, LABELS_IN_A_TABLE = 8, 20


def plan_view(plan: Mapping[str, Any]) -> Group:
    """Return all sections of a plan, for `mtl plan`."""
    return Group(
        section("Tasks", _task_table(plan)),
        section("Data", _data_table(plan)),
        *([section("Labels", _label_table(plan))] if _labelled(plan) else []),
        section("Schedule", *_schedule(plan)),
        section("Modules", *_modules(plan)),
        section("Memory", _memory(plan["memory"])),
        *([section("Measured", *_measured(plan["measured"]))] if "measured" in plan else []),
        section("Selection", Text(plan["selection"])),
        *messages(plan),
    )


def plan_summary(plan: Mapping[str, Any], folder: object) -> Group:
    """Return the short form of a plan that is shown before a run starts."""
    schedule, parameters = plan["schedule"], plan["parameters"]
    frozen = parameters["total"] - parameters["trainable"]
    rows = Table.grid(padding=(0, 3, 0, 0))
    rows.add_column(style="dim")
    for index, module in enumerate(_shared(plan)):
        users = ", ".join(dict.fromkeys(_task_of(path, plan) for path in module["users"]))
        rows.add_row("" if index else "shared", Text.assemble((module["key"], "cyan"), f" by {users}"))
    rows.add_row(
        "model", count(parameters["total"], "parameter") + (f", {frozen:,} frozen" if frozen else "")
    )
    for index, name in enumerate(_labelled(plan)):
        counts = plan["tasks"][name]["train"]["labels"]
        of = f"{name}: " if len(plan["tasks"]) > 1 else ""
        rows.add_row(
            "" if index else "labels", Text(of + _labels(counts, LABELS_IN_A_SUMMARY), overflow="fold")
        )
    rows.add_row("schedule", _steps(schedule))
    if len(schedule["phases"]) == 1:
        rows.add_row("epoch", schedule["epoch"])
    rows.add_row("selection", plan["selection"])
    rows.add_row("device", plan["device"])
    rows.add_row("folder", str(folder))
    return Group(_summary_table(plan), Text(), rows, *messages(plan, before=(Text(),)))


def messages(plan: Mapping[str, Any], before: Sequence[RenderableType] = ()) -> list[RenderableType]:
    """Return the warnings and notices of a plan, one per line after `before`, if there are any."""
    lines = [message("warning", "yellow", line) for line in plan["warnings"]]
    lines += [message("notice", "cyan", line) for line in plan["notices"]]
    return [*before, *lines] if lines else []


def _summary_table(plan: Mapping[str, Any]) -> Table:
    names = _statistic_names(plan)
    headers = {name: _short(name, names) for name in names}
    counted = _counted(plan)
    numbers = ("train rows", "eval", "test", *counted, *headers.values())
    made = table("task", "component", *numbers, right=numbers)
    made.padding = (0, 2, 0, 0)
    made.columns[0].overflow = made.columns[1].overflow = "fold"
    for task, facts in plan["tasks"].items():
        rows = [number((facts[split] or {}).get("rows")) for split in SPLITS]
        statistics = [_shares_by_split(facts, name) for name in names]
        counts = [number(facts["train"][name]) for name in counted]
        made.add_row(Text(task, style="bold"), facts["component"], *rows, *counts, *statistics)
    return made


def _counted(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the units in which texts are counted; pieces only if a task has any."""
    splits = (task[split] or {} for task in plan["tasks"].values() for split in SPLITS)
    return ("words", "pieces") if any(facts.get("pieces") for facts in splits) else ("words",)


def _shares_by_split(task: Mapping[str, Any], name: str) -> str:
    """Format a featurizer's statistic for the splits that exist: `0.0 / 9.2 %`."""
    shares = [share(task[split]["statistics"].get(name)) for split in SPLITS if task[split]]
    same_unit = all(each.endswith(" %") for each in shares[:-1])
    return " / ".join([*(each.removesuffix(" %") if same_unit else each for each in shares[:-1]), shares[-1]])


def _labelled(plan: Mapping[str, Any]) -> list[str]:
    return [name for name, task in plan["tasks"].items() if (task["train"] or {}).get("labels")]


def _labels(labels: Mapping[str, Any], most: int) -> str:
    """Format the most frequent labels with their counts."""
    shown = list(labels["counts"].items())[:most]
    more = labels["number"] - len(shown)
    text = ", ".join(f"{label or repr(label)} {amount:,}" for label, amount in shown)
    return f"{text} and {count(more, 'label')} more" if more else text


def _label_table(plan: Mapping[str, Any]) -> Table:
    splits = [
        split for split in SPLITS if any((task[split] or {}).get("labels") for task in plan["tasks"].values())
    ]
    made = table("task", "label", *splits, right=splits)
    for name in _labelled(plan):
        task = plan["tasks"][name]
        counts = {split: ((task[split] or {}).get("labels") or {}).get("counts", {}) for split in splits}
        title = Text(name, style="bold")
        for label in list(counts["train"])[:LABELS_IN_A_TABLE]:
            made.add_row(title, label, *(number(counts[split].get(label)) for split in splits))
            title = Text()
        more = task["train"]["labels"]["number"] - min(len(counts["train"]), LABELS_IN_A_TABLE)
        if more:
            made.add_row("", Text(f"and {count(more, 'label')} more", style="dim"))
    return made


def _task_table(plan: Mapping[str, Any]) -> Table:
    made = table("task", "component", "distribution", "weight", "metric", right=("weight",))
    for name, task in plan["tasks"].items():
        better = "higher" if task["higher_is_better"] else "lower"
        metric = f"{task['metric']}, {better} is better"
        made.add_row(
            Text(name, style="bold"), task["component"], task["distribution"], _weight(task["weight"]), metric
        )
    return made


def _weight(value: float) -> str:
    return f"{value:g}"


def _data_table(plan: Mapping[str, Any]) -> Table:
    names = _statistic_names(plan)
    headers = {name: _short(name, names) for name in names}
    counts = ("rows", "batches", *_counted(plan), "longest")
    numbers = (*counts, *headers.values())
    skipped = any((task[split] or {}).get("skipped") for task in plan["tasks"].values() for split in SPLITS)
    made = table(
        "task", "split", *numbers, *(["skipped"] if skipped else []), "file", right=(*numbers, "skipped")
    )
    for name, task in plan["tasks"].items():
        label = Text(name, style="bold")
        for split in SPLITS:
            data = task[split]
            if data is None:
                continue
            values = [number(data.get(key)) for key in counts]
            values += [share(data["statistics"].get(statistic)) for statistic in names]
            values += [number(data["skipped"])] if skipped else []
            made.add_row(label, split, *values, Text(_file(data), style="dim", overflow="fold"))
            label = Text()
    return made


def _file(data: Mapping[str, Any]) -> str:
    fraction = data.get("fraction")
    return data["path"] if fraction is None else f"{100 * fraction:g} % of {data['path']}"


def _statistic_names(plan: Mapping[str, Any]) -> list[str]:
    """Return the names of the statistics that featurizers report."""
    splits = (task[split] for task in plan["tasks"].values() for split in SPLITS if task[split])
    return list(dict.fromkeys(name for data in splits for name in data["statistics"]))


def _short(name: str, names: Sequence[str]) -> str:
    """Return the last part of a dotted name if that is unique, else the whole name."""
    last = name.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in names) == 1 else name


def _schedule(plan: Mapping[str, Any]) -> Iterator[RenderableType]:
    phases = plan["schedule"]["phases"]
    for index, phase in enumerate(phases):
        title = [f"{_title(index, phase)}: "] if len(phases) > 1 else []
        parts = [f"{_steps_of(phase)}; epoch: {phase['epoch']}"]
        if len(phases) > 1:
            parts += [f"new {phase['optimizer']}, {phase['lr_scheduler']}"]
            parts += [f"frozen: {', '.join(phase['frozen'])}"] if phase["frozen"] else []
        yield Text("".join([*title, "; ".join(parts)]))
        made = table("first epoch", "steps", "batches", "rows", right=("steps", "batches", "rows"))
        for name, task in phase["tasks"].items():
            values = (number(task[key]) for key in ("steps", "batches", "rows"))
            made.add_row(Text(name, style="bold"), *values)
        yield made


def _title(index: int, phase: Mapping[str, Any]) -> str:
    return f"phase {index}" + (f", {phase['name']}" if phase["name"] else "")


def _steps(schedule: Mapping[str, Any]) -> str:
    phases = schedule["phases"]
    if len(phases) == 1:
        return _steps_of(phases[0])
    each = "; ".join(
        f"{phase['name'] or index}: {_steps_of(phase)} of {', '.join(phase['tasks'])}"
        for index, phase in enumerate(phases)
    )
    return f"{count(schedule['steps'], 'step')} in {len(phases)} phases ({each})"


def _steps_of(phase: Mapping[str, Any]) -> str:
    each = phase["steps_per_epoch"]
    return f"{phase['component']}, {count(phase['steps'], 'step')} in {count(phase['epochs'], 'epoch')}" + (
        f" of {each:,}" if phase["epochs"] > 1 else ""
    )


def _memory(memory: Mapping[str, int]) -> Table:
    made = Table.grid(padding=(0, 3, 0, 0))
    for name, amount in memory.items():
        made.add_row(name.removesuffix("_bytes").replace("_", " "), Text(size(amount), justify="right"))
    return made


def _measured(measured: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield the estimated time and memory of the run."""
    for index, phase in enumerate(measured["phases"]):
        steps = ", ".join(f"{task} {1000 * each:.1f} ms" for task, each in phase["seconds_per_step"].items())
        title = f"{_title(index, phase)}: " if len(measured["phases"]) > 1 else ""
        yield Text(
            f"{title}per step: {steps}; per epoch: {duration(phase['seconds_per_epoch'])};"
            f" per evaluation: {duration(phase['seconds_per_evaluation'])}"
        )
    gpu = measured["peak_gpu_bytes"]
    memory = f"{size(measured['peak_rss_bytes'])} of memory" + (f", {size(gpu)} of GPU memory" if gpu else "")
    yield Text(f"whole run: about {duration(measured['seconds'])}, {memory}")


def _modules(plan: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield one tree of modules per task; a shared module is shown in full in the first one."""
    places = {path: module for module in plan["modules"] for path in module["users"]}
    for name, task in plan["tasks"].items():
        root = Tree(Text.assemble((name, "bold"), f" {task['component']}"), guide_style="dim")
        nodes: dict[str, Tree] = {}
        top = f"tasks.{name}.{task['component']}"
        mine = [path for path in places if _task_of(path, plan) == name]
        for path in sorted(mine, key=lambda path: sum(other in mine for other in _ancestors(path))):
            parent = next((p for p in _ancestors(path) if p in nodes), None)
            label = path.removeprefix(f"{parent or top}.")
            nodes[path] = (nodes[parent] if parent else root).add(
                _module_label(label, path, places[path], plan)
            )
        yield root
    total, trainable = plan["parameters"]["total"], plan["parameters"]["trainable"]
    trained = "all" if trainable == total else f"{trainable:,} of them"
    yield Text(f"{count(total, 'parameter')}, {trained} trained")
    yield from (_owners(module) for module in _shared(plan) if module["values"])


def _ancestors(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rsplit(".", 1)[0]
        yield path


def _module_label(label: str, path: str, module: Mapping[str, Any], plan: Mapping[str, Any]) -> Text:
    text = Text(label.removesuffix(f".{module['component']}"))
    if label != module["component"]:
        text.append(f" {module['component']}", style="dim")
    if module["key"]:
        text.append(f"  {module['key']}", style="cyan")
    first = module["users"][0]
    if path != first:
        text.append(f"  shared with {_task_of(first, plan)}", style="dim")
        return text
    text.append(f"  {module['parameters']:,}")
    if module["trainable"] < module["parameters"]:
        what = "frozen" if module["trainable"] == 0 else f"{module['trainable']:,} trained"
        text.append(f" ({what})", style="yellow")
    return text


def _shared(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [module for module in plan["modules"] if module["key"] and len(module["users"]) > 1]


def _owners(module: Mapping[str, Any]) -> Text:
    """Format the settings of a shared module with the user that set each of them."""
    text = Text.assemble((module["key"], "cyan"), " settings:")
    stated: dict[str, list[str]] = {}
    for name, value in _flat(module["values"]):
        setting = f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        owner = module["owners"].get(name, "").removesuffix(f".{name}")
        stated.setdefault(owner, []).append(setting)
    for owner, settings in stated.items():
        source = f"set at {owner}" if owner else "default"
        text.append(f"\n  {', '.join(settings)}").append(f"  {source}", style="dim")
    return text


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings by dotted names, except nulls."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _task_of(path: str, plan: Mapping[str, Any]) -> str:
    """Return the task that contains a JSON path."""
    return next((name for name in plan["tasks"] if f"{path}.".startswith(f"tasks.{name}.")), path)
