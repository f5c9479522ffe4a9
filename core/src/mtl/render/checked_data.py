"""What `mtl data check` finds, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from mtl.render.cells import ABSENT, count, number, section, table

SPLITS = ("train", "eval", "test")
STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
LABELS_SHOWN = 8


def checked_view(checked: Mapping[str, Any]) -> Group:
    """Return the sections of a check: sizes, labels, baselines and findings."""
    return Group(
        section("Data", _sizes(checked["tasks"])),
        *([section("Labels", *_labels(checked["tasks"]))] if any(_labels(checked["tasks"])) else []),
        *([section("Baselines", _baselines(checked["baselines"]))] if "baselines" in checked else []),
        section("Findings", *_findings(checked["findings"])),
    )


def _sizes(tasks: Mapping[str, Any]) -> RenderableType:
    numbers = ("rows", "words", "median", "95 %", "longest")
    made = table("task", "split", *numbers, "file", right=numbers)
    for name, splits in tasks.items():
        label = Text(name, style="bold")
        for split in SPLITS:
            if split not in splits:
                continue
            facts, words = splits[split], splits[split]["words"]
            made.add_row(
                label,
                split,
                number(facts["rows"]),
                *(number(words[key]) for key in ("total", "median", "95 %", "longest")),
                Text(facts["path"], style="dim", overflow="fold"),
            )
            label = Text()
    return made


def _labels(tasks: Mapping[str, Any]) -> Iterator[RenderableType]:
    for name, splits in tasks.items():
        for split in SPLITS:
            labels = (splits.get(split) or {}).get("labels")
            if labels:
                total = sum(labels["counts"].values())
                shown = list(labels["counts"].items())[:LABELS_SHOWN]
                text = ", ".join(
                    f"{label} {amount:,} ({100 * amount / total:.1f} %)" for label, amount in shown
                )
                more = labels["number"] - len(shown)
                text += f" and {count(more, 'label')} more" if more else ""
                yield Text.assemble((f"{name} ", "bold"), f"{split}: {text}", overflow="fold")


def _baselines(baselines: Mapping[str, Any]) -> RenderableType:
    names = list(
        dict.fromkeys(
            metric for scored in baselines.values() for each in scored for metric in each["metrics"]
        )
    )
    made = table("task", "baseline", *names, "seconds", right=(*names, "seconds"))
    for name, scored in baselines.items():
        label = Text(name, style="bold")
        for each in scored:
            values = [number(each["metrics"].get(metric)) for metric in names]
            made.add_row(label, each["name"], *values, f"{each['seconds']:.1f}")
            label = Text()
        if not scored:
            made.add_row(label, Text("none fits this task", style="dim"), *[ABSENT] * (len(names) + 1))
    return made


def _findings(findings: list[Mapping[str, Any]]) -> Iterator[RenderableType]:
    if not findings:
        yield Text("none", style="green")
    for each in findings:
        where = " ".join(filter(None, (each["task"], each["split"])))
        lines = f" (line{'s' if len(each['lines']) > 1 else ''} {', '.join(map(str, each['lines']))}"
        lines += ", …)" if each["rows"] and each["rows"] > len(each["lines"]) else ")"
        yield Text.assemble(
            (each["verdict"], STYLES[each["verdict"]]),
            f" {where}: {each['message']}{lines if each['lines'] else ''}",
            overflow="fold",
        )
