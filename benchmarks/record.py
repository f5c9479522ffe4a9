"""What the scripts have in common: their options, processes of their own, and the record of a measurement."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

QUIET_CORES = 0.1
"""With more than this taken by other processes while it measured, a machine was not quiet."""


def options(description: str | None, *, takes_data: bool = True) -> argparse.ArgumentParser:
    """Return the options of every script; one that needs text of its own making takes no data."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(data=None)
    if takes_data:
        says = "folder with SST-2/ and wikitext-2/; else text is generated"
        parser.add_argument("--data", type=Path, help=says)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="file to write the record to, as JSON")
    scale = parser.add_mutually_exclusive_group()
    scale.set_defaults(scale="full")
    for name, says in (("short", "less of everything, in seconds"), ("smoke", "as little as shows it works")):
        scale.add_argument(f"--{name}", action="store_const", const=name, dest="scale", help=says)
    parser.add_argument("--apart", type=json.loads, help=argparse.SUPPRESS)
    return parser


def prepare(device: str, threads: int) -> None:
    """Take so many threads, here and in the processes started from here. Ends the script, with a message,
    where the machine lacks the device."""
    os.environ["OMP_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = str(threads)
    os.environ["MTL_CACHE_DIR"] = ""  # none: data are read anew each time
    import torch

    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("skipped: torch sees no GPU on this machine\n")
        raise SystemExit(0)


def measured_apart(script: Path, **arguments: Any) -> Any:
    """Return what `script` prints, as JSON, when it gets these arguments in a process of its own."""
    command = [sys.executable, str(script), "--apart", json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def peak_bytes(device: str) -> int:
    """Return the most memory that this process has held so far: resident, or on the GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def middle(values: Sequence[float]) -> dict[str, float]:
    """Return the median of the repeats, and how far they lie apart."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the `k` of the `y = c x^k` that fits the upper half of `points` (x, y) best, by least squares.

    The upper half, since constant costs hide the growth below it.
    """
    upper = sorted(points)[min(len(points) // 2, len(points) - 2) :]
    x, y = [math.log(x) for x, _ in upper], [math.log(y) for _, y in upper]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


@contextmanager
def recording(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A mapping to put results into: printed at the end, and written where the options say so, with the
    machine, the versions, the command, and how much others kept the machine busy meanwhile."""
    results: dict[str, Any] = {}
    begun, busy = perf_counter(), _busy_seconds()
    yield results
    others = max(_busy_seconds() - busy, 0.0) / (perf_counter() - begun)
    record = {
        "command": _command(arguments),
        "data": "the datasets" if arguments.data else "generated",
        "device": arguments.device,
        "threads": arguments.threads,
        "machine": _machine(arguments.device),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "polars", "numpy", "pytext-mtl")},
        },
        "cores_busy_with_others": round(others, 2),
        "quiet": others < QUIET_CORES,
        "seconds": round(perf_counter() - begun, 1),
        "results": results,
    }
    text = json.dumps(_rounded(record), indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that repeats a measurement: what is said beside the defaults, folders by their
    use."""
    said = [f"benchmarks/{Path(sys.argv[0]).name}"]
    said += ["--data data"] if arguments.data else []
    said += [f"--threads {arguments.threads}"] if arguments.threads != 1 else []
    said += [f"--device {arguments.device}"] if arguments.device != "cpu" else []
    said += [f"--{arguments.scale}"] if arguments.scale != "full" else []
    return " ".join(["python", *said])


def _machine(device: str) -> dict[str, Any]:
    machine: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
    }
    if device == "cuda":
        import torch

        machine["gpu"] = torch.cuda.get_device_name()
        machine["cuda"] = torch.version.cuda
    return machine


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _busy_seconds() -> float:
    """Return the seconds that all cores together were busy with other processes than this one and its
    children; 0 on a system that does not say."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, *interrupts = (int(field) for field in fields[:8])
    busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])


def _rounded(value: Any) -> Any:
    """Return the same with five significant digits: no clock here knows more."""
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
