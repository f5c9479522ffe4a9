"""All measurements, one after the other; the documents' tables follow where the records are theirs.

    python benchmarks/everything.py --short --output .benchmarks
    python benchmarks/everything.py --data data --output benchmarks/results

The first is `make bench`: some minutes on generated text. The second takes about two hours, and
wants a machine that does nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from record import options
from table import RESULTS, read, targets, update

HERE = Path(__file__).resolve().parent


def commands(arguments: Namespace, output: Path) -> Iterator[list[str]]:
    """Yield each script with its options and the record that it is to write."""
    said = [] if arguments.scale == "full" else [f"--{arguments.scale}"]
    data = ["--data", str(arguments.data)] if arguments.data else []
    gpu = arguments.device == "cuda"
    suffix = "-gpu" if gpu else ""
    said += ["--device", arguments.device]
    texts = (("memory", []), ("growth", []), ("start", data), ("tutorial", data), ("gradients", data))
    for script, text in texts if gpu else (*texts, ("pools", data)):
        yield [f"{script}.py", *said, *text, "--output", str(output / f"{script}{suffix}.json")]
    if find_spec("transformers") is not None and not gpu:
        yield ["pretrained.py", *said, *data, "--output", str(output / "pretrained.json")]
    for threads in (1,) if gpu or arguments.scale != "full" else (1, 2):
        name = f"steps{suffix or f'-{threads}-thread'}{'s' if threads > 1 else ''}.json"
        yield ["steps.py", *said, *data, "--threads", str(threads), "--output", str(output / name)]


def main() -> None:
    """Run all scripts; on the way their records are printed."""
    arguments = options(__doc__).parse_args()
    output: Path = arguments.output or Path(".benchmarks")
    for script, *rest in commands(arguments, output):
        sys.stderr.write(f"python benchmarks/{' '.join([script, *rest])}\n")
        subprocess.run([sys.executable, str(HERE / script), *rest], check=True, stdout=subprocess.DEVNULL)
    if output.resolve() == RESULTS:
        update()
    else:
        sys.stdout.write(targets(read(output)) + "\n")


if __name__ == "__main__":
    main()
