"""Run a target on many inputs: `python fuzz/run.py TARGET --runs 100000`.

With atheris (`pip install atheris`) coverage guides the inputs, up to the first finding; without it, or with
`--plain`, they are mutations of valid ones. `--input FILE` runs on the file of a finding alone and shows its
traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from mutations import mutated

if TYPE_CHECKING:
    from targets import Target

MEMORY_BYTES = 6 << 30
SECONDS = 20
"""What one run may take; more is a finding too."""
PACKAGES = ["mtl", "mtl_text", "pytext_plugins_sst", "pytext_plugins_lm"]


class TooSlow(BaseException):
    """A run takes too long."""


def main() -> int:
    """Run the targets; the exit status is the number of different findings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", help="its name, or `all` (without atheris)")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", type=Path, help="run on this file alone")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    asked = parser.parse_args()
    plain = asked.plain or asked.input or asked.target == "all"
    guided = not plain and importlib.util.find_spec("atheris") is not None
    logging.disable(logging.WARNING)  # what is said of inputs would bury the findings
    targets = load_targets(instrumented=guided)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if asked.input is not None:
        run_once(targets[asked.target], asked.input.read_bytes())
        return 0
    if guided:
        return run_guided(targets[asked.target], asked.runs, asked.seed)
    names = list(targets) if asked.target == "all" else [asked.target]
    return sum(run_plain(name, targets[name], asked.runs, asked.seed) for name in names)


def load_targets(*, instrumented: bool) -> dict[str, Target]:
    """Return all targets by name."""
    import torch  # before atheris, which would spend minutes on it

    torch.set_num_threads(1)
    if instrumented:
        import atheris

        with atheris.instrument_imports(include=PACKAGES):
            from folders import FOLDERS
            from predictions import PREDICTIONS
            from sources import SOURCES
            from targets import TARGETS
    else:
        from folders import FOLDERS
        from predictions import PREDICTIONS
        from sources import SOURCES
        from targets import TARGETS
    return TARGETS | FOLDERS | PREDICTIONS | SOURCES


def run_once(target: Target, data: bytes) -> None:
    """Run on `data`; what it raises is a finding."""
    from mtl import MtlError
    from mtl.errors import is_out_of_memory

    before = signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        target.run(data)
    except MtlError:
        pass
    except RuntimeError as error:  # a model that is too large for this machine
        if not is_out_of_memory(error):
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def too_slow(number: int, frame: FrameType | None) -> NoReturn:
    """Ends a run from the timer's signal."""
    raise TooSlow


def run_plain(name: str, target: Target, runs: int, seed: int) -> int:
    """Run on mutations of the seeds, some plain noise among them; gives the number of findings."""
    source = random.Random(f"{seed} {name}")
    seeds = target.seeds()
    found: dict[str, Path] = {}
    began = time.monotonic()
    for _ in range(runs):
        if source.random() < 0.02:
            data = source.randbytes(source.randrange(200))
        else:
            data = mutated(source.choice(seeds), source, prefix=target.prefix)
        try:
            run_once(target, data)
        except (Exception, TooSlow) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            which = f"{type(error).__name__} in {last.filename}:{last.lineno}"
            if which not in found:
                found[which] = write(name, data)
                print(f"{name}: {which}: {str(error)[:200]!r}: {found[which]}", flush=True)
    print(f"{name}: {runs:,} runs in {time.monotonic() - began:.0f} s, {len(found)} findings", flush=True)
    return len(found)


def run_guided(target: Target, runs: int, seed: int) -> int:
    """Let atheris choose the inputs, in a process of its own, as it ends it; gives its exit status."""
    import atheris
    from targets import FOLDER

    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for index, data in enumerate(target.seeds()):
        (corpus / str(index)).write_bytes(data)
    options = [f"-runs={runs}", f"-seed={seed + 1}", f"-timeout={SECONDS}", "-rss_limit_mb=0"]

    def mutate(data: bytes, most: int, number: int) -> bytes:
        return mutated(data, random.Random(number), prefix=target.prefix)[:most]

    run: Callable[[bytes], None] = lambda data: run_once(target, data)  # noqa: E731 - atheris wants it plain
    atheris.Setup([sys.argv[0], *options, str(corpus)], run, custom_mutator=mutate)
    atheris.Fuzz()
    os._exit(0)


def write(name: str, data: bytes) -> Path:
    """Keep an input that found something."""
    path = Path(f"finding-{name}-{hashlib.sha256(data).hexdigest()[:8]}")
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
