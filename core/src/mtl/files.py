"""Files that are complete or absent, and folders that can be checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from mtl.errors import UsageError

MANIFEST = "manifest.json"
"""Names and SHA-256 of the other files in a folder."""


class DamagedFolder(UsageError):
    """The files of a folder differ from those that were written."""


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object. Raises `UsageError` where the file is missing or holds something else."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: {'not a file' if path.exists() else 'there is no such file'}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: a JSON object was expected")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside `path`, flush it, and rename it into place."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """Return a value as JSON text, as in files."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text beside `path`, flush it, and rename it into place."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_write(path: Path, *, make_parents: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, for a file or a folder that replaces it at the end.

    Without `make_parents` the folder of `path` must exist. On an error the temporary is removed and `path`
    stays as it was.
    """
    if make_parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    temporary = holder / path.name
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")) if temporary.is_dir() else [temporary]:
            if file.is_file():
                _flush(file)
        if path.is_dir():
            path.rename(holder / _OLD)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        # A user knows the file by its own name; a write that fails names none.
        if error.errno and str(error.filename or holder).startswith(str(holder)):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


_OLD = "old"


def sweep(path: Path) -> None:
    """Remove temporaries that a killed process left of `path`, whose name may be a pattern.

    A folder that was being replaced is restored.
    """
    for holder in path.parent.glob(f".{path.name}-*"):
        name, _, _ = holder.name.removeprefix(".").rpartition("-")
        if (holder / _OLD).exists() and not (holder.parent / name).exists():
            (holder / _OLD).rename(holder.parent / name)
        shutil.rmtree(holder, ignore_errors=True)


def file_name(name: str) -> str:
    """Return a name as a file name: letters, digits, "-", "_" and "." stay, others are replaced."""
    safe = "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):X}" for c in name)
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def write_manifest(folder: Path) -> None:
    """Write the name and SHA-256 of every file in `folder` and the folders in it, for `check_manifest`.

    Raises `OSError` for anything that is neither a file nor a folder, such as a link.
    """
    digests = {name: file_digest(folder / name) for name in _files(folder)}
    (folder / MANIFEST).write_text(as_json(digests), encoding="utf-8")


def check_manifest(folder: Path, names: Iterable[str], *, within: Iterable[str] = ()) -> None:
    """Check that `folder` holds the files `names`, and whatever is in its folders `within`, as written.

    Names in the manifest are compared with those of the files, but never opened. Raises `DamagedFolder`.
    """
    try:
        digests = read_json(folder / MANIFEST)
        expected = [*names]
        for inner in within:
            if os.path.lexists(folder / inner):
                expected += [f"{inner}/{name}" for name in _files(folder / inner)]
        for name in expected:
            path = folder / name
            if not path.is_file():
                raise DamagedFolder(f"{path}: is missing")
            if digests.get(name) != file_digest(path):
                raise DamagedFolder(f"{path}: is not what was written")
        unknown = sorted(digests.keys() - set(expected))
    except (OSError, UsageError) as error:
        raise DamagedFolder(str(error)) from None
    if unknown:
        raise DamagedFolder(f"{folder / MANIFEST}: names files that do not belong here: {unknown[:3]}")


def _files(folder: Path) -> list[str]:
    """List the files below a folder. Raises `OSError` for anything else in it, such as a link."""
    found: list[str] = []
    if folder.is_symlink() or not folder.is_dir():
        raise OSError(None, "must be a folder", str(folder))
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            found += [f"{path.name}/{name}" for name in _files(path)]
        elif path.is_file() and not path.is_symlink():
            found.append(path.name)
        else:
            raise OSError(None, "must be a file or a folder, but is a link or device", str(path))
    return found


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@define(eq=False)
class BackgroundWriter:
    """Runs jobs that write files in a background thread, in order.

    What a job raises, the next call raises; no job runs after one that failed. As a context manager it
    finishes its jobs at the end or, after an interrupt, only the current one.
    """

    _executor: ThreadPoolExecutor = field(init=False, factory=lambda: ThreadPoolExecutor(1, "mtl-writer"))
    _jobs: deque[tuple[Future[None], Callable[[], None]]] = field(init=False, factory=deque)
    _failed: bool = field(init=False, default=False)

    def submit(self, job: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
        """Queue `job`; once it is done, a later call in the caller's thread calls `then`.

        Blocks while more than one job is pending, which bounds the memory that they hold.
        """
        while len(self._jobs) > 1:
            self._take()
        self._jobs.append((self._executor.submit(self._run, job), then))

    def settle(self, *, wait: bool = False) -> None:
        """Call `then` of the jobs that are done; with `wait`, finish all."""
        while self._jobs and (wait or self._jobs[0][0].done()):
            self._take()

    def _take(self) -> None:
        future, then = self._jobs.popleft()
        future.result()
        then()

    def _run(self, job: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            job()
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        self._executor.shutdown(cancel_futures=interrupted)
