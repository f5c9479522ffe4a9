"""What the commands show, as rich renderables. Knows the plan, the figures and the plugins as data only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

ABSENT = "-"
SPLITS = ("train", "eval", "test")
FIGURES_IN_A_TABLE = 5
"""Figures of a task that a closing table shows; the rest is in result.json."""


def number(value: Any) -> str:
    """A figure with about four digits that matter; counts in full."""
    if value is None:
        return ABSENT
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if not size < float("inf"):
        return str(value)
    if size >= 10_000:
        return f"{value:,.0f}" if size < 1e12 else f"{value:.3e}"
    if 0 < size < 0.001:
        return f"{value:.2e}"
    return f"{value:,.{1 if size >= 1000 else 2 if size >= 100 else 3 if size >= 10 else 4}f}"


def rate(value: float | None) -> str:
    """A speed: no decimals unless it is small."""
    return ABSENT if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def share(value: Any) -> str:
    """A share in [0, 1] in percent; any other figure as it is."""
    return f"{100 * value:.1f} %" if isinstance(value, float) and 0 <= value <= 1 else number(value)


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float) -> str:
    """`0:45`, `12:05` or `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(amount: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """A table without lines; the columns named in `right` hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in set(right) else "left")
    return made


def section(title: str, *body: RenderableType) -> Group:
    """A title, what stands under it, and a free line."""
    return Group(Text(title, style="bold"), *body, Text())


def is_plain(value: Any) -> bool:
    """Whether a figure fits into one cell: confusion matrices and figures by class do not."""
    return not isinstance(value, Mapping | list | tuple)


def plain_figures(figures: Mapping[str, Any], *first: str | None) -> dict[str, Any]:
    """The figures that fit into a cell, the loss and those in `first` before the others."""
    names = [name for name in ("loss", *first) if name is not None and name in figures]
    names += [name for name in figures if name not in names]
    return {name: figures[name] for name in names if is_plain(figures[name])}


# --- the plan --------------------------------------------------------------------------------------


def plan_view(plan: Mapping[str, Any]) -> Group:
    """All of a plan, for `mtl plan`."""
    return Group(
        section("Tasks", _task_table(plan)),
        section("Data", _data_table(plan)),
        section("Schedule", *_schedule(plan)),
        section("Modules", *_modules(plan)),
        section("Memory", _memory(plan["memory"])),
        section("Selection", Text(plan["selection"])),
        *messages(plan),
    )


def plan_summary(plan: Mapping[str, Any], folder: object) -> Group:
    """What a user should see of a plan before the run starts."""
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
    rows.add_row("schedule", _steps(schedule))
    rows.add_row("epoch", schedule["epoch"])
    rows.add_row("selection", plan["selection"])
    rows.add_row("device", plan["device"])
    rows.add_row("folder", str(folder))
    return Group(_summary_table(plan), Text(), rows, *messages(plan, before=(Text(),)))


def messages(plan: Mapping[str, Any], before: Sequence[RenderableType] = ()) -> list[RenderableType]:
    """Warnings and notices of a plan, a line each; nothing where there are none."""
    lines = [_message("warning", "yellow", line) for line in plan["warnings"]]
    lines += [_message("notice", "cyan", line) for line in plan["notices"]]
    return [*before, *lines] if lines else []


def _message(word: str, style: str, text: str) -> Text:
    return Text.assemble((f"{word}: ", style), text)


def _summary_table(plan: Mapping[str, Any]) -> Table:
    names = _figure_names(plan)
    headers = {name: _short(name, names) for name in names}
    numbers = ("train rows", "eval", "test", "tokens", *headers.values())
    made = table("task", "component", *numbers, right=numbers)
    for task, facts in plan["tasks"].items():
        rows = [number((facts[split] or {}).get("rows")) for split in SPLITS]
        figures = [share(facts["train"]["figures"].get(name)) for name in names]
        made.add_row(
            Text(task, style="bold"), facts["component"], *rows, number(facts["train"]["tokens"]), *figures
        )
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
    names = _figure_names(plan)
    headers = {name: _short(name, names) for name in names}
    numbers = ("rows", "batches", "tokens", "longest", *headers.values())
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
            values = [number(data.get(key)) for key in ("rows", "batches", "tokens", "longest")]
            values += [share(data["figures"].get(figure)) for figure in names]
            values += [number(data["skipped"])] if skipped else []
            made.add_row(label, split, *values, Text(data["path"], style="dim", overflow="fold"))
            label = Text()
    return made


def _figure_names(plan: Mapping[str, Any]) -> list[str]:
    """What featurizers report of the data, each name once."""
    splits = (task[split] for task in plan["tasks"].values() for split in SPLITS if task[split])
    return list(dict.fromkeys(name for data in splits for name in data["figures"]))


def _short(name: str, names: Sequence[str]) -> str:
    """The last part of a dotted name where no other ends in it."""
    last = name.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in names) == 1 else name


def _schedule(plan: Mapping[str, Any]) -> Iterator[RenderableType]:
    schedule = plan["schedule"]
    yield Text(f"{_steps(schedule)}; an epoch: {schedule['epoch']}")
    made = table("first epoch", "steps", "batches", "rows", right=("steps", "batches", "rows"))
    for name, task in schedule["tasks"].items():
        made.add_row(Text(name, style="bold"), *(number(task[key]) for key in ("steps", "batches", "rows")))
    yield made


def _steps(schedule: Mapping[str, Any]) -> str:
    each = schedule["steps_per_epoch"]
    return (
        f"{schedule['component']}, {count(schedule['steps'], 'step')} in {count(schedule['epochs'], 'epoch')}"
        + (f" of {each:,}" if schedule["epochs"] > 1 else "")
    )


def _memory(memory: Mapping[str, int]) -> Table:
    made = Table.grid(padding=(0, 3, 0, 0))
    for name, amount in memory.items():
        made.add_row(name.removesuffix("_bytes").replace("_", " "), Text(size(amount), justify="right"))
    return made


def _modules(plan: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The modules as a tree a task; a shared one stands in full at its first user."""
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
        text.append(f"  the one of {_task_of(first, plan)}", style="dim")
        return text
    text.append(f"  {module['parameters']:,}")
    if module["trainable"] < module["parameters"]:
        what = "frozen" if module["trainable"] == 0 else f"{module['trainable']:,} trained"
        text.append(f" ({what})", style="yellow")
    return text


def _shared(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [module for module in plan["modules"] if module["key"] and len(module["users"]) > 1]


def _owners(module: Mapping[str, Any]) -> Text:
    """The settings of a shared module, and which of its users stated them."""
    text = Text.assemble((module["key"], "cyan"), " settings:")
    stated: dict[str, list[str]] = {}
    for name, value in _flat(module["values"]):
        setting = f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        stated.setdefault(module["owners"].get(name.partition(".")[0], ""), []).append(setting)
    for owner, settings in stated.items():
        source = f"stated at {owner}" if owner else "by default"
        text.append(f"\n  {', '.join(settings)}").append(f"  {source}", style="dim")
    return text


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted names, without those that are null."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _task_of(path: str, plan: Mapping[str, Any]) -> str:
    """The task that a JSON path lies in."""
    return next((name for name in plan["tasks"] if f"{path}.".startswith(f"tasks.{name}.")), path)


# --- results ---------------------------------------------------------------------------------------


def result_table(result: Mapping[str, Any], metrics: Mapping[str, str]) -> Table:
    """The closing table of a run: a block of lines a task, the figure that selects first after the
    loss. `metrics` names it for each task."""
    tested = any(task.get("test") for task in result["tasks"].values())
    numbers = ["eval", *(["test"] if tested else []), "rows seen", "examples/s"]
    made = table("task", "figure", *numbers, right=numbers)
    for name, task in result["tasks"].items():
        evaluated, test = task.get("eval") or {}, task.get("test") or {}
        shown = list(plain_figures({**test, **evaluated}, metrics.get(name)))[:FIGURES_IN_A_TABLE] or [ABSENT]
        facts = [f"{task['rows_seen']:,} of {task['rows_total']:,}", rate(task.get("examples_per_second"))]
        for line, figure in enumerate(shown):
            style = "bold" if figure == metrics.get(name) else ""
            values = [number(evaluated.get(figure)), *([number(test.get(figure))] if tested else [])]
            cells = [Text(value, style=style) for value in values]
            made.add_row(
                Text(name if line == 0 else "", style="bold"),
                Text(figure, style=style),
                *cells,
                *(facts if line == 0 else ("", "")),
                end_section=line == len(shown) - 1,
            )
    return made


def figures_view(tasks: Mapping[str, Mapping[str, Any]]) -> Group:
    """All plain figures of each task, and the names of those that need `--json`."""
    made = table("task", "figure", "value", right=("value",))
    large: dict[str, None] = {}
    for name, figures in tasks.items():
        label = Text(name, style="bold")
        for figure, value in plain_figures(figures).items():
            made.add_row(label, figure, number(value))
            label = Text()
        large.update(dict.fromkeys(figure for figure, value in figures.items() if not is_plain(value)))
    more = [Text(f"with --json also {', '.join(large)}", style="dim")] if large else []
    return Group(made, *more)


# --- plugins ---------------------------------------------------------------------------------------


def plugins_view(listed: Mapping[str, Any]) -> Group:
    """Every plugin: where it is from, its state, what it provides, and why it is not used."""
    made = table("distribution", "version", "entry point", "state", "provides")
    for plugin in listed["plugins"]:
        provides = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in _by_kind(plugin))
        style = {"ok": "green", "blocked": "dim"}.get(plugin["state"], "red")
        state = Text(plugin["state"], style=style)
        cells = (Text(plugin["distribution"], style="bold"), plugin["version"], plugin["name"], state)
        made.add_row(*cells, provides or Text(plugin["cause"], style=style))
    warnings = [_message("warning", "yellow", line) for line in listed["warnings"]]
    return Group(made, *([Text(), *warnings] if warnings else []))


def described_view(found: Mapping[str, Any]) -> Group:
    """Plugins and components in full, for `mtl plugins show`."""
    return Group(
        *(_plugin(plugin) for plugin in found["plugins"]),
        *(_component(component) for component in found["components"]),
    )


def _by_kind(plugin: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    yield from ((kind.replace("_", " "), names) for kind, names in plugin["components"].items())


def _plugin(plugin: Mapping[str, Any]) -> Group:
    rows = _facts(
        ("version", plugin["version"]),
        ("entry point", f"{plugin['name']} = {plugin['module']}"),
        ("state", plugin["state"]),
        ("cause", plugin["cause"]),
        ("plugin API", plugin["api"]),
        *((kind, ", ".join(names)) for kind, names in _by_kind(plugin)),
    )
    return section(plugin["distribution"], rows)


def _component(component: Mapping[str, Any]) -> Group:
    kind = component["kind"].replace("_", " ")
    rows = _facts(
        ("kind", kind),
        ("from", f"{component['distribution']} {component['version']}"),
        *((name.replace("_", " "), _declared(value)) for name, value in component["declares"].items()),
        ("config", component["config"]["file"]),
        ("source", component["factory"]["file"]),
    )
    keys = table("key", "takes", "default", "")
    for key in component["keys"]:
        takes = " ".join(filter(None, [key["type"], " and ".join(key["limits"]), *_accepts(key["accepts"])]))
        takes += " or null" if key["nullable"] else ""
        default = Text("required", style="yellow") if key["required"] else _said(key["default"])
        keys.add_row(Text(key["key"], style="bold"), takes, default, Text(key["help"], style="dim"))
    table_of_keys: list[RenderableType] = [Text(), keys] if component["keys"] else []
    return section(component["name"], Text(component["help"]), Text(), rows, *table_of_keys)


def _facts(*rows: tuple[str, str | None]) -> Table:
    made = Table.grid(padding=(0, 3, 0, 0))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(name, value)
    return made


def _accepts(accepts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in accepts.items():
        yield f"with {name} " + (" or ".join(map(str, value)) if isinstance(value, list) else str(value))


def _said(value: Any) -> str:
    """A default or a declared value, as JSON says it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _declared(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_said(each)}" for name, each in value.items())
    return None if value is None else _said(value)
