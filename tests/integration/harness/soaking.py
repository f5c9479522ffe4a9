"""Runs in one process, long ones and many, and what they leave behind in it.

    python soaking.py '{"config": {...}, "output": "...", "what": "long"}'

Prints what was measured, as JSON.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mtl
from mtl import hookimpl

PAGE = os.sysconf("SC_PAGE_SIZE")


def memory() -> int:
    """Bytes of this process in memory, what nobody refers to any more collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def left_behind() -> dict[str, Any]:
    """What a run may have changed for whatever comes after it."""
    # A thread that has been joined may need a moment to leave the kernel.
    time.sleep(0.05)
    state = hashlib.sha256()
    for part in (torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state()):
        state.update(repr(part).encode())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python threads": sorted(thread.name for thread in threading.enumerate()),
        "random state": state.hexdigest(),
        "signal handlers": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "torch": [
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            str(torch.get_default_dtype()),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        ],
        "log handlers": [repr(logging.getLogger(name).handlers) for name in (None, "mtl")],
        "directory": os.getcwd(),
        "environment": hashlib.sha256(repr(sorted(os.environ.items())).encode()).hexdigest(),
    }


class Measure:
    """Memory after some of the epochs."""

    def __init__(self, *epochs: int) -> None:
        self.epochs = epochs
        self.memory: dict[int, int] = {}

    @hookimpl
    def mtl_evaluated(self, epoch: int) -> None:
        if epoch in self.epochs:
            self.memory[epoch] = memory()


def long(config: dict[str, Any], output: Path) -> dict[str, Any]:
    """One run of many epochs, after a short one that starts all pools of threads."""
    mtl.train({**config, "trainer": {"epochs": 1}}, output=output / "first")
    before, measure = left_behind(), Measure(5, 200)
    mtl.train(config, output=output / "long", callbacks=[measure])
    return {"before": before, "after": left_behind(), "memory": measure.memory}


def many(config: dict[str, Any], output: Path) -> dict[str, Any]:
    """Runs in turn, every third of them with other settings, ended by a failure or resumed."""
    mtl.train(config, output=output / "first")
    before, after, used = left_behind(), [], []
    for index in range(50):
        folder = output / str(index)
        varied = {**config, "seed": index, "trainer": {**config["trainer"], "num_threads": 1 + index % 2}}
        if index % 3 == 1:
            varied["trainer"] = {**varied["trainer"], "epochs": 6, "optimizer": {"SGD": {"lr": 1e38}}}
            try:
                mtl.train(varied, output=folder)
            except mtl.MtlError:
                pass
            else:
                raise SystemExit("this run had to fail")
        else:
            mtl.train(varied, output=folder, resume=index % 3 == 2)
        after.append(left_behind())
        used.append(memory())
    return {"before": before, "after": after, "memory": used}


if __name__ == "__main__":
    torch.set_num_threads(2)
    wanted = json.loads(sys.argv[1])
    measured = {"long": long, "many": many}[wanted["what"]](wanted["config"], Path(wanted["output"]))
    print(json.dumps(measured))
