"""Targets for model and checkpoint folders of unknown origin."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from targets import FOLDER, HERE, ROWS, Target, classifier, plugins

import mtl
from mtl.files import MANIFEST, write_manifest
from mtl.training.checkpoint import open_checkpoint


@cache
def run_folder() -> Path:
    """Return a run of two steps, with its model and its checkpoint."""
    HERE[0].write_bytes(ROWS)
    folder = FOLDER / "run"
    mtl.train(classifier(), output=folder, plugins=plugins())
    return folder


def model(data: bytes) -> None:
    """Load a model folder in which one file was replaced."""
    copy = _spoiled("model", data)
    mtl.load(copy.parent, device="cpu", plugins=plugins())


def checkpoint(data: bytes) -> None:
    """Load a checkpoint in which one file was replaced."""
    open_checkpoint(_spoiled("checkpoint", data)).tensors()


def _original(kind: str) -> Path:
    return run_folder() / "model" if kind == "model" else max((run_folder() / "checkpoints").iterdir())


@cache
def _copy(kind: str) -> tuple[Path, dict[str, bytes]]:
    """Return a folder to damage, and the contents of its files."""
    copy = FOLDER / "stranger" / kind
    shutil.copytree(_original(kind), copy)
    return copy, {path.name: path.read_bytes() for path in sorted(copy.iterdir())}


def _spoiled(kind: str, data: bytes) -> Path:
    """Return the folder with one file, chosen by the first byte, replaced by the rest of `data`; the second
    byte says whether the manifest knows, or what stands in the file's place."""
    copy, files = _copy(kind)
    for path in copy.iterdir():
        if path.name not in files or not path.is_file() or path.is_symlink():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, content in files.items():
        if not (copy / name).exists() or (copy / name).read_bytes() != content:
            (copy / name).write_bytes(content)
    names = [*files, "extra"]
    path = copy / names[(data[0] if data else 0) % len(names)]
    path.write_bytes(data[2:])
    match (data[1] if len(data) > 1 else 0) % 8:
        case 0:
            path.unlink()
        case 1:
            path.unlink()
            path.mkdir()
        case 2:
            path.unlink()
            os.mkfifo(path)
        case 3:
            path.unlink()
            path.symlink_to("/etc/passwd")
        case 4:
            pass
        case _ if path.name != MANIFEST:
            (copy / MANIFEST).unlink(missing_ok=True)
            write_manifest(copy)
    return copy


def _folder_seeds(kind: str) -> list[bytes]:
    return [
        bytes([index, how]) + content
        for index, content in enumerate(_copy(kind)[1].values())
        for how in (4, 5, 5)
    ]


FOLDERS: dict[str, Target] = {
    "model": Target(model, lambda: _folder_seeds("model"), prefix=2),
    "checkpoint": Target(checkpoint, lambda: _folder_seeds("checkpoint"), prefix=2),
}
