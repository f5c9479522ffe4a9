"""Write the tables of docs/performance.md from the records in benchmarks/results.

python benchmarks/table.py
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
"""The scripts' records by file name, without `.json`."""

TASKS = {"sst2": "SST-2", "lm": "LM", "multitask": "both (alternating)", "stream": "LM, windows of 128"}
STEPS = "steps-1-thread"
LOOPS = ("mtl", "by hand", "straightforward", "straightforward, sorted")
RATIOS = {
    "mtl_to_by_hand": "mtl ÷ by hand",
    "straightforward_to_mtl": "straightforward ÷ mtl",
    "sorted_straightforward_to_mtl": "sorted ÷ mtl",
}
"""Ratios of time per token: name in the records, name in the table."""
MEASURES = {
    "seconds_to_load": ("loading", "s", 1.0),
    "seconds_to_plan": ("planning an epoch", "s", 1.0),
    "ms_per_step": ("step", "ms", 1.0),
    "peak_bytes": ("peak memory", "GB", 1e-9),
}
"""Measurements of growth.py: name in the table, unit, and the factor to that unit."""


@frozen
class Target:
    """A target: its values must be at most `limit`, or at least if not `at_most`."""

    what: str
    limit: float
    values: Callable[[Records], Mapping[str, float]]
    at_most: bool = True
    unit: str = ""

    def row(self, records: Records) -> list[str]:
        """Return the target, the result, and whether it is met."""
        wanted = f"{'≤' if self.at_most else '≥'} {_number(self.limit)}{self.unit}"
        try:
            values = self.values(records)
        except KeyError:
            return [self.what, wanted, "not measured", ""]
        met = all(value <= self.limit if self.at_most else value >= self.limit for value in values.values())
        reached = ", ".join(f"{name} {_number(value)}{self.unit}".strip() for name, value in values.items())
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


def _pretrained(*keys: str) -> Callable[[Records], Mapping[str, float]]:
    """Return a ratio of pretrained.py, by where it is in the record."""

    def value(records: Records) -> Mapping[str, float]:
        found = _of(records, "pretrained")
        for key in keys:
            found = found[key]
        return {"": found["median"] if isinstance(found, Mapping) else found}

    return value


TARGETS = (
    *(
        Target(f"time per step, mtl ÷ by hand, {size}", limit, _overhead(size))
        for size, limit in (("small", 1.05), ("medium", 1.02), ("transformer", 1.02))
    ),
    Target("time per token, SST-2, straightforward ÷ mtl", 4, _ratio("sst2"), at_most=False),
    Target("time per token, LM, straightforward ÷ mtl", 12, _ratio("lm"), at_most=False),
    Target(
        "time per token, lines of 400 ÷ lines of 100 tokens",
        1.3,
        lambda records: {
            TASKS[name]: each["long_to_short"]["median"]
            for name, each in _of(records, STEPS)["lengths"].items()
        },
    ),
    Target(
        "`sst2.json`, rows per second of the whole command, mtl ÷ PyText (2,090)",
        3.5,
        lambda records: {"": _of(records, "tutorial")["to_pytext"]["sst2_speed"]},
        at_most=False,
    ),
    Target(
        "`multitask_sst_lm.json`, time per epoch, PyText (680 s) ÷ mtl",
        10,
        lambda records: {"": _of(records, "tutorial")["to_pytext"]["multitask_speed"]},
        at_most=False,
    ),
    Target(
        "its peak memory, mtl ÷ PyText (3.3 GB)",
        0.25,
        lambda records: {"": _of(records, "tutorial")["to_pytext"]["multitask_memory"]},
    ),
    Target("data, largest share of a step", 5, _data_share, unit=" %"),
    Target(
        "numericalizing WikiText-2, regular expressions and lists ÷ mtl",
        5,
        lambda records: {"": _of(records, "start")["tokens_to_mtl"]["median"]},
        at_most=False,
    ),
    Target(
        "loading both datasets from the cache",
        50,
        lambda records: {"": 1000 * _of(records, "start")["seconds_to_load"]["cached"]["median"]},
        unit=" ms",
    ),
    Target(
        "command to first step without `import torch`, warm",
        1,
        lambda records: {"": _of(records, "start")["seconds_to_first_step"]["warm"]["median"]},
        unit=" s",
    ),
    Target(
        "time per step, 32 tasks ÷ one task",
        1.05,
        lambda records: {"": _of(records, STEPS)["tasks"]["many_to_one"]["median"]},
    ),
    Target(
        "peak memory, LM, 16 lines of 400 tokens, 30,000 words, mtl ÷ straightforward",
        1 / 3,
        lambda records: {"": _of(records, "memory")["mtl_to_straightforward"]},
    ),
    *(
        Target(what, limit, _pretrained(*keys), at_most=at_most)
        for what, limit, at_most, keys in (
            (
                "MiniLM, training examples per second, mtl ÷ `Trainer`",
                1.5,
                False,
                ("training", "mtl_to_trainer"),
            ),
            ("MiniLM, time per step, mtl ÷ by hand", 1.05, True, ("training", "mtl_to_by_hand")),
            (
                "MiniLM, rows evaluated per second, mtl ÷ `pipeline`",
                2,
                False,
                ("prediction", "evaluation_to_pipeline"),
            ),
            (
                "MiniLM, rows predicted per second, mtl ÷ `pipeline`",
                2,
                False,
                ("prediction", "prediction_to_pipeline"),
            ),
            ("MiniLM, peak memory, mtl ÷ `Trainer`", 1, True, ("mtl_to_trainer_memory",)),
        )
    ),
    Target("time per step on a GPU, mtl ÷ the best loop by hand", 1.05, _gpu_overhead),
)


# --- tables ----------------------------------------------------------------------------------------------


def targets(records: Records) -> str:
    """Return the targets with their results, and the records that are unreliable."""
    table = _table(["what", "target", "result", "met"], (target.row(records) for target in TARGETS))
    doubtful = [name for name, record in records.items() if not record["quiet"] or "--s" in record["command"]]
    if not doubtful:
        return table
    return f"{table}\n\nFrom short runs, or measured beside other programs: {', '.join(doubtful)}."


def machines(records: Records) -> str:
    """Return the origin of each record."""
    rows = []
    for name, record in records.items():
        machine, versions = record["machine"], record["versions"]
        hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gigabytes']} GB"
        hardware += f", {machine['gpu']}" if "gpu" in machine else ""
        busy = "quiet" if record["quiet"] else f"others used {record['cores_busy_with_others']:.1f} cores"
        software = ", ".join(f"{package} {version}" for package, version in versions.items())
        rows.append([f"`{name}.json`", f"`{record['command']}`", hardware, software, busy])
    return _table(["record", "command", "machine", "versions", "load"], rows)


def steps(records: Records) -> str:
    """Return each loop on each workload, with one and two threads."""
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
    header += ["mtl, rows/s", "mtl, tokens/s", *RATIOS.values()]
    return _table(header, rows)


def gpu(records: Records) -> str:
    """Return each loop on a GPU."""
    if "steps-gpu" not in records:
        return "There is no GPU record yet."
    rows = [
        [size, TASKS[workload], loop, _number(speed["ms_per_step"]), f"{speed['tokens_per_second']:,.0f}"]
        for size, workloads in _of(records, "steps-gpu").items()
        for workload, each in workloads.items()
        for loop, speed in each["loops"].items()
    ]
    return _table(["model", "tasks", "loop", "ms per step", "tokens/s"], rows)


def pretrained(records: Records) -> str:
    """Return how fast each way fine-tunes a pretrained encoder and predicts with it."""
    if "pretrained" not in records:
        return "There is no record yet."
    measured = _of(records, "pretrained")
    peaks = measured["peak_bytes"]
    rows = [
        ["training", name, _spread(speed), f"{peaks[name] / 1e9:.2f} GB" if name in peaks else ""]
        for name, speed in measured["training"]["examples_per_second"].items()
    ]
    for name, speed in measured["prediction"]["rows_per_second"].items():
        what = "mtl" if name in ("prediction", "evaluation") else name
        rows.append([name if what == "mtl" else "prediction", what, _spread(speed), ""])
    return _table(["what", "by", "rows per second", "peak memory"], rows)


def growth(records: Records) -> str:
    """Return the first and last values of each axis, and the exponents."""
    rows = []
    for axis, line in _of(records, "growth").items():
        (first, low), *_, (last, high) = line["points"].items()
        for measure, (what, unit, scale) in MEASURES.items():
            ends = (f"{_number(scale * point[measure])} {unit}" for point in (low, high))
            exponent = f"{line['exponents'][measure]:.2f}"
            rows.append([axis, f"{int(first):,} to {int(last):,}", what, *ends, exponent])
    return _table(["of", "from, to", "what", "first", "last", "exponent"], rows)


def memory(records: Records) -> str:
    """Return the peak memory of each loop."""
    peaks = _of(records, "memory")["peak_bytes"]
    return _table(["loop", "peak memory"], ([name, f"{peak / 1e9:.2f} GB"] for name, peak in peaks.items()))


def start(records: Records) -> str:
    """Return the time until training starts, and of loading data."""
    measured = _of(records, "start")
    first, load = measured["seconds_to_first_step"], measured["seconds_to_load"]
    rows = [
        ["`import torch`", first["import_torch"]],
        ["`mtl train` to its first step, without `import torch`, cold", first["cold"]],
        ["the same, warm", first["warm"]],
        ["numericalizing WikiText-2 with regular expressions and lists, with word positions", load["tokens"]],
        ["the same, without positions", load["words"]],
        ["the same, mtl", load["mtl"]],
        ["loading WikiText-2 and SST-2 from mtl's cache", load["cached"]],
    ]
    return _table(["what", "seconds"], ([what, _spread(seconds)] for what, seconds in rows))


def tutorial(records: Records) -> str:
    """Return the tutorial's commands."""
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
    header = ["config", "epochs", "command", "training per epoch", "training rows/s", "peak memory"]
    return _table(header, rows)


def pools(records: Records) -> str:
    """Return the accuracy by how batches are made."""
    rows = [
        [
            name,
            ", ".join(f"{accuracy:.2f}" for accuracy in found["accuracy"]),
            f"{found['mean']:.2f} ± {found['deviation']:.2f}",
        ]
        for name, found in _of(records, "pools").items()
    ]
    return _table(["batches", "dev accuracy of each seed, %", "mean ± deviation"], rows)


TABLES: Mapping[str, Callable[[Records], str]] = {
    table.__name__: table
    for table in (targets, steps, gpu, pretrained, memory, start, tutorial, growth, pools, machines)
}


def _spread(value: Mapping[str, float]) -> str:
    return f"{_number(value['median'])} ({_number(value['lowest'])} to {_number(value['highest'])})"


def _number(value: float) -> str:
    """Return three significant digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- the document ----------------------------------------------------------------------------------------


def read(folder: Path) -> Records:
    """Return the records of a folder, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def filled(document: str, records: Records) -> str:
    """Return the document, each table from `<!-- table: NAME -->` to `<!-- end -->` made from the records."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n{TABLES[found[2]](records)}\n{found[3]}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end -->)", fill, document, flags=re.S)


def update() -> None:
    """Rewrite the tables of docs/performance.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(filled(text, read(RESULTS)), encoding="utf-8")


if __name__ == "__main__":
    update()
