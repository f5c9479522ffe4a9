"""Train runs one after the other in each process that torchrun starts. Argument: a JSON list of the arguments
of `mtl.train`, `config` among them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch.distributed as dist

import mtl


def main() -> None:
    dist.init_process_group("gloo")
    for job in json.loads(Path(sys.argv[1]).read_text()):
        mtl.train(job.pop("config"), **job)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
