"""The tables of docs/performance.md, made of the records in benchmarks/results.

    python benchmarks/table.py

writes them anew between their markers, so that the document says what the files say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

RESULTS = Path(__file__).resolve().parent / "results"
DOCUMENT = RESULTS.parents[1] / "docs/performance.md"

Records = Mapping[str, Mapping[str, Any]]
"""What the scripts have written, by the names of the files."""

TASKS = {"sst2": "SST-2", "lm": "LM", "multitask": "both in turn", "stream": "LM, windows of 128"}
STEPS = "steps-1-thread"
LOOPS = ("mtl", "by hand", "straightforward", "straightforward, sorted")
RATIOS = {
    "mtl_to_by_hand": "mtl ÷ by hand",
    "straightforward_to_mtl": "straightforward ÷ mtl",
    "sorted_straightforward_to_mtl": "the same, sorted",
}
"""What is measured against what, a token: by its name in the records, what the table calls it."""
FIGURES = {
    "seconds_to_load": ("loading", "s", 1.0),
    "seconds_to_plan": ("planning an epoch", "s", 1.0),
    "ms_per_step": ("a step", "ms", 1.0),
    "peak_bytes": ("peak memory", "GB", 1e-9),
}
"""What is measured as something grows: what it is called, its unit, and the factor to it."""


@frozen
class Target:
    """A goal: its figures must be at most, or else at least, `limit`."""

    what: str
    limit: float
    figures: Callable[[Records], Mapping[str, float]]
    at_most: bool = True
    unit: str = ""

    def row(self, records: Records) -> list[str]:
        """The goal, what was reached, and whether that meets it."""
        wanted = f"{'≤' if self.at_most else '≥'} {_number(self.limit)}{self.unit}"
        try:
            figures = self.figures(records)
        except KeyError:
            return [self.what, wanted, "not measured", ""]
        met = all(
            figure <= self.limit if self.at_most else figure >= self.limit for figure in figures.values()
        )
        reached = ", ".join(
            f"{name} {_number(figure)}{self.unit}".strip() for name, figure in figures.items()
        )
        return [self.what, wanted, reached, "yes" if met else "no"]


def _overhead(size: str) -> Callable[[Records], Mapping[str, float]]:
    return lambda records: {
        TASKS[name]: each["mtl_to_by_hand"]["median"] for name, each in _of(records, STEPS)[size].items()
    }


def _gpu_overhead(records: Records) -> Mapping[str, float]:
    measured = _of(records, "steps-gpu")
    return {
        f"{size} {TASKS[name]}": min(ratio["median"] for ratio in each["to_best_by_hand"].values())
        for size, workloads in measured.items()
        for name, each in workloads.items()
    }


def _of(records: Records, name: str) -> Any:
    return records[name]["results"]


def _ratio(workload: str) -> Callable[[Records], Mapping[str, float]]:
    return lambda records: {"": _of(records, STEPS)["small"][workload]["straightforward_to_mtl"]["median"]}


def _data_share(records: Records) -> Mapping[str, float]:
    return {
        size: 100 * max(each["shares_of_mtls_step"]["data"] for each in _of(records, STEPS)[size].values())
        for size in ("small", "medium", "transformer")
    }


TARGETS = (
    *(
        Target(f"a step of mtl to one of the best loop by hand, {size}", limit, _overhead(size))
        for size, limit in (("small", 1.05), ("medium", 1.02), ("transformer", 1.02))
    ),
    Target("SST-2, a token of the straightforward loop to one of mtl", 4, _ratio("sst2"), at_most=False),
    Target("LM, a token of the straightforward loop to one of mtl", 12, _ratio("lm"), at_most=False),
    Target(
        "a token of a line of 400 to one of a line of 100",
        1.3,
        lambda records: {
            TASKS[name]: each["long_to_short"]["median"]
            for name, each in _of(records, STEPS)["lengths"].items()
        },
    ),
    Target(
        "the tutorial's `sst2.json`, whole command, examples a second to PyText's 2,090",
        3.5,
        lambda records: {"": _of(records, "tutorial")["to_pytext"]["sst2_speed"]},
        at_most=False,
    ),
    Target(
        "an epoch of the multitask tutorial to PyText's 680 s, times as fast",
        10,
        lambda records: {"": _of(records, "tutorial")["to_pytext"]["multitask_speed"]},
        at_most=False,
    ),
    Target(
        "its memory to PyText's 3.3 GB",
        0.25,
        lambda records: {"": _of(records, "tutorial")["to_pytext"]["multitask_memory"]},
    ),
    Target("data, share of a step at most", 5, _data_share, unit=" %"),
    Target(
        "WikiText-2 to numbers, regular expressions and lists to mtl",
        5,
        lambda records: {"": _of(records, "start")["tokens_to_mtl"]["median"]},
        at_most=False,
    ),
    Target(
        "numbers of both datasets from the cache",
        50,
        lambda records: {"": 1000 * _of(records, "start")["seconds_to_load"]["cached"]["median"]},
        unit=" ms",
    ),
    Target(
        "command to first step without `import torch`, the second time",
        1,
        lambda records: {"": _of(records, "start")["seconds_to_first_step"]["warm"]["median"]},
        unit=" s",
    ),
    Target(
        "a step of 32 tasks to one of a single task",
        1.05,
        lambda records: {"": _of(records, STEPS)["tasks"]["many_to_one"]["median"]},
    ),
    Target(
        "peak memory, LM, 16 lines of 400 tokens, 30,000 words, mtl to straightforward",
        1 / 3,
        lambda records: {"": _of(records, "memory")["mtl_to_straightforward"]},
    ),
    Target("on a GPU, a step of mtl to the best loop by hand there", 1.05, _gpu_overhead),
)


# --- tables ----------------------------------------------------------------------------------------------


def targets(records: Records) -> str:
    """What was aimed at and what was reached, and which records to doubt."""
    table = _table(["what", "target", "reached", "met"], (target.row(records) for target in TARGETS))
    doubtful = [name for name, record in records.items() if not record["quiet"] or "--s" in record["command"]]
    if not doubtful:
        return table
    return f"{table}\n\nFrom short runs, or with other programs beside them: {', '.join(doubtful)}."


def machines(records: Records) -> str:
    """Where each record comes from."""
    rows = []
    for name, record in records.items():
        machine, versions = record["machine"], record["versions"]
        hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gigabytes']} GB"
        hardware += f", {machine['gpu']}" if "gpu" in machine else ""
        busy = "quiet" if record["quiet"] else f"others took {record['cores_busy_with_others']:.1f} cores"
        software = ", ".join(f"{package} {version}" for package, version in versions.items())
        rows.append([f"`{name}.json`", f"`{record['command']}`", hardware, software, busy])
    return _table(["record", "command", "machine", "versions", "machine while measuring"], rows)


def steps(records: Records) -> str:
    """Each loop on each workload, on one thread and on two."""
    rows = []
    for name, threads in ((STEPS, 1), ("steps-2-threads", 2)):
        for size, workloads in records.get(name, {"results": {}})["results"].items():
            for workload, each in workloads.items() if size not in ("lengths", "tasks") else ():
                loops = each["loops"]
                rows.append(
                    [
                        size,
                        TASKS[workload],
                        str(threads),
                        *(_number(loops[loop]["ms_per_step"]) if loop in loops else "" for loop in LOOPS),
                        f"{loops['mtl']['examples_per_second']:,.0f}",
                        f"{loops['mtl']['tokens_per_second']:,.0f}",
                        *(_spread(each[name]) if name in each else "" for name in RATIOS),
                    ]
                )
    header = ["model", "tasks", "threads", *(f"{loop}, ms" for loop in LOOPS)]
    header += ["mtl, examples/s", "mtl, tokens/s", *RATIOS.values()]
    return _table(header, rows)


def gpu(records: Records) -> str:
    """Each loop on a GPU."""
    if "steps-gpu" not in records:
        return "There is no record of a GPU yet."
    rows = [
        [size, TASKS[workload], loop, _number(figures["ms_per_step"]), f"{figures['tokens_per_second']:,.0f}"]
        for size, workloads in _of(records, "steps-gpu").items()
        for workload, each in workloads.items()
        for loop, figures in each["loops"].items()
    ]
    return _table(["model", "tasks", "loop", "ms a step", "tokens/s"], rows)


def growth(records: Records) -> str:
    """The figures at the ends of each line, and its exponents."""
    rows = []
    for axis, line in _of(records, "growth").items():
        (first, low), *_, (last, high) = line["points"].items()
        for figure, (what, unit, scale) in FIGURES.items():
            ends = (f"{_number(scale * point[figure])} {unit}" for point in (low, high))
            exponent = f"{line['exponents'][figure]:.2f}"
            rows.append([axis, f"{int(first):,} to {int(last):,}", what, *ends, exponent])
    return _table(["of", "from, to", "what", "first", "last", "exponent"], rows)


def memory(records: Records) -> str:
    """The peak memory of each loop."""
    peaks = _of(records, "memory")["peak_bytes"]
    return _table(["loop", "peak memory"], ([name, f"{peak / 1e9:.2f} GB"] for name, peak in peaks.items()))


def start(records: Records) -> str:
    """Seconds until training starts, and of the data."""
    measured = _of(records, "start")
    first, load = measured["seconds_to_first_step"], measured["seconds_to_load"]
    rows = [
        ["`import torch`", first["import_torch"]],
        ["`mtl train` to its first step, without it, cold", first["cold"]],
        ["the same, warm", first["warm"]],
        ["WikiText-2 to numbers, regular expressions and lists, each word with its place", load["tokens"]],
        ["the same, without the places", load["words"]],
        ["the same, mtl", load["mtl"]],
        ["numbers of WikiText-2 and SST-2 from mtl's cache", load["cached"]],
    ]
    return _table(["what", "seconds"], ([what, _spread(seconds)] for what, seconds in rows))


def tutorial(records: Records) -> str:
    """The tutorial's commands."""
    rows = [
        [
            f"`{name}.json`",
            str(run["epochs"]),
            f"{run['seconds_of_the_command']:.0f} s",
            f"{run['seconds_an_epoch']:.1f} s",
            ", ".join(f"{task} {speed:,.0f}" for task, speed in run["examples_per_second"].items()),
            f"{run['peak_bytes'] / 1e9:.2f} GB",
        ]
        for name, run in _of(records, "tutorial").items()
        if name != "to_pytext"
    ]
    header = ["config", "epochs", "command", "training an epoch", "examples/s of training", "peak memory"]
    return _table(header, rows)


def pools(records: Records) -> str:
    """Accuracy by how rows meet in batches."""
    rows = [
        [
            name,
            ", ".join(f"{accuracy:.2f}" for accuracy in found["accuracy"]),
            f"{found['mean']:.2f} ± {found['deviation']:.2f}",
        ]
        for name, found in _of(records, "pools").items()
    ]
    return _table(["rows in batches", "dev accuracy of each seed, %", "mean ± deviation"], rows)


TABLES: Mapping[str, Callable[[Records], str]] = {
    table.__name__: table for table in (targets, steps, gpu, memory, start, tutorial, growth, pools, machines)
}


def _spread(figure: Mapping[str, float]) -> str:
    return f"{_number(figure['median'])} ({_number(figure['lowest'])} to {_number(figure['highest'])})"


def _number(value: float) -> str:
    """Three significant digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- the document ----------------------------------------------------------------------------------------


def read(folder: Path) -> Records:
    """The records of a folder, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def filled(document: str, records: Records) -> str:
    """The document with what stands between `<!-- table: NAME -->` and `<!-- end -->` made of the records."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n{TABLES[found[2]](records)}\n{found[3]}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end -->)", fill, document, flags=re.S)


def update() -> None:
    """Write the tables of docs/performance.md anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(filled(text, read(RESULTS)), encoding="utf-8")


if __name__ == "__main__":
    update()
