"""Trains where a disk is too small, files may not grow or a disk can only be read, then goes on where all
is well again.

    python starving.py '{"config": "config.json", "output": "...", "kind": "full disk", "sizes": [8000]}'

Prints what each run said, `output` then holds a finished run for each of the sizes. A small disk needs
a mount namespace: `unshare --map-root-user --mount python starving.py ...`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import mtl
from mtl import MtlError, hookimpl

DISK = 2_000_000


@contextmanager
def full_disk(place: Path, size: int) -> Iterator[list[object]]:
    """A disk with `size` bytes left."""
    mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place)
    (place / "ballast").write_bytes(bytes(DISK))
    os.truncate(place / "ballast", DISK - size)
    yield []
    (place / "ballast").unlink()


@contextmanager
def file_limit(place: Path, size: int) -> Iterator[list[object]]:
    """No file may be larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(place: Path, size: int) -> Iterator[list[object]]:
    """A disk that can only be read after step `size`."""

    class Remount:
        @hookimpl
        def mtl_step_ended(self, step: int) -> None:
            if step == size:
                mount("-o", "remount,ro", place)

    mount("-t", "tmpfs", "tmpfs", place)
    yield [Remount()]
    mount("-o", "remount,rw", place)


def mount(*words: object) -> None:
    """As root does."""
    subprocess.run(["mount", *map(str, words)], check=True)


def attempt(config: str, place: Path, kind: str, size: int) -> str:
    """What a run says that fails, and, once it can, has been resumed."""
    place.mkdir(parents=True)
    said = ""
    with KINDS[kind](place, size) as callbacks:
        try:
            mtl.train(Path(config), output=place / "run", callbacks=callbacks)
        except MtlError as error:
            said = f"{error.exit_status}: {error}"
    mtl.train(Path(config), output=place / "run", resume=True)
    with contextlib.suppress(FileExistsError):
        shutil.copytree(place / "run", place.with_name(f"run-{size}"))
    return said


KINDS = {"full disk": full_disk, "file limit": file_limit, "read-only": read_only}

if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = json.loads(sys.argv[1])
    place = Path(wanted["output"])
    print(
        json.dumps(
            [
                attempt(wanted["config"], place / f"disk-{size}", wanted["kind"], size)
                for size in wanted["sizes"]
            ]
        )
    )
