"""What a result was made with: software, machine, command, commit and data, for a paper."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mtl.files import file_digest
from mtl.runs.preparation import Prepared
from mtl.suggest import on_command_line

GIT_SECONDS = 5.0


def environment(prepared: Prepared, versions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `provenance` of result.json; `versions` are those of `mtl.provenance`."""
    cuda = prepared.device.type == "cuda"
    return {
        "versions": {name: each["version"] for name, each in versions.items()} | _libraries(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": _processor(),
        "gpu": torch.cuda.get_device_name(prepared.device) if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "threads": torch.get_num_threads(),
        "command": _command(),
        "git": _commit(_config_folder(prepared)),
        "data": {name: files for name, files in _data(prepared)},
    }


def _libraries() -> dict[str, str]:
    found = {}
    for name in ("numpy", "polars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # installed without metadata, as in some system packages
            continue
    return found


def _processor() -> str:
    """Return the model of the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except (OSError, UnicodeDecodeError):
        pass
    return platform.processor() or platform.machine()


def _command() -> str | None:
    """Return the command line, or the script that called `mtl.train`; None in an interactive session."""
    program = ["mtl"] if on_command_line() else ["python", *sys.argv[:1]]
    return shlex.join([*program, *sys.argv[1:]]) if sys.argv and sys.argv[0] not in ("", "-c") else None


def _config_folder(prepared: Prepared) -> Path:
    """Return the folder of the config file, or the working folder for a config that is not a file."""
    source = Path(prepared.loaded.document.source)
    return source.absolute().parent if source.suffix and source.is_file() else Path.cwd()


def _commit(folder: Path) -> dict[str, Any] | None:
    """Return the commit of a folder's git repository, and whether files in it have changed since."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks, so that a run never hinders a commit that is made meanwhile.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


def _data(prepared: Prepared) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the files of each task's splits, with their SHA-256."""
    digests: dict[Path, str] = {}
    for name, task in prepared.config.tasks.items():
        for split, rows in prepared.data[name].splits.items():
            if rows is None:
                continue
            files = []
            for path in task.config.data.config.paths(split):
                if isinstance(path, Path) and path.is_file():
                    digests.setdefault(path, file_digest(path))
                    files.append(
                        {"path": _short(path, Path(prepared.config.base_dir)), "sha256": digests[path]}
                    )
            yield f"{name}.{split}", files


def _short(path: Path, base_dir: Path) -> str:
    return str(path.relative_to(base_dir) if path.is_relative_to(base_dir) else path)
