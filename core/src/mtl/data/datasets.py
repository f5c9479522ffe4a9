"""Download of public datasets, and small generated ones. Free of torch.

A file is in its folder complete or not at all: archives are checked against their checksum, members
are unpacked under temporary names and renamed together at the end.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import lzma
import os
import shutil
import stat
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

from mtl.components import Dataset, Download
from mtl.errors import MtlError, UsageError
from mtl.files import atomic_write, file_digest, write_json

if TYPE_CHECKING:
    import requests

logger = logging.getLogger("mtl")

CACHE: Final = ".mtl-downloads"
"""Folder of unfinished downloads, below the base folder; an interrupted one is resumed from there."""

RECORD: Final = ".mtl-datasets.json"
"""Record of what was fetched into the base folder: {checksum of the archive: {path: SHA-256 of the file}}."""

ATTEMPTS: Final = 3
WAIT_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
MAX_UNPACKED_RATIO: Final = 100
_CHUNK: Final = 1 << 13
"""Bytes per read; those of an interrupted chunk are lost."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the total, None if the server does not say."""


class FetchError(MtlError):
    """A dataset could not be downloaded."""


def fetch(
    name: str,
    dataset: Dataset,
    folder: Path,
    *,
    urls: Sequence[str] = (),
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Download the files of `dataset` into `folder`, from `urls` if given instead of its own addresses.

    Returns the paths of the files that were written, none if all were there already. Raises
    `FetchError` if no address gives the right archive or the archive is not what it should be, and
    `UsageError` if other files would be replaced and `force` is false.
    """
    downloads = dataset.downloads()
    if not downloads:
        raise UsageError(f"{name} has nothing to download: `mtl data sample` generates it")
    if urls and len(downloads) != 1:
        raise UsageError(f"{name} comes in {len(downloads)} archives: it cannot be fetched from one address")
    written: list[str] = []
    with _writing(name, folder):
        for download in downloads:
            if not _is_there(download, folder):
                archive = _download(name, download, urls or download.urls, folder / CACHE, progress)
                if download.checksum is None:
                    logger.warning(
                        "%s: no checksum is published; the SHA-256 of what came is %s",
                        name,
                        file_digest(archive),
                    )
                written += _unpack(name, download, archive, folder, force=force)
                _remember(download, folder)
                archive.unlink()
        with contextlib.suppress(OSError):
            (folder / CACHE).rmdir()
    return written


def write_sample(files: Mapping[str, str], folder: Path, *, force: bool = False) -> list[str]:
    """Write generated files, {path below `folder`: text}; return the paths of those that were not there
    already.

    Raises `UsageError` if other files would be replaced and `force` is false.
    """
    new = {path: text.encode() for path, text in files.items()}
    new = {path: content for path, content in new.items() if not _holds(_below(folder, path), content)}
    if not force:
        _refuse_to_replace([path for path in new if (folder / path).exists()], folder)
    with _writing("the sample", folder), contextlib.ExitStack() as temporaries:
        for path, content in new.items():
            temporaries.enter_context(atomic_write(folder / path)).write_bytes(content)
    return list(new)


# --- download ------------------------------------------------------------------------------------


def _download(name: str, download: Download, urls: Sequence[str], cache: Path, progress: Progress) -> Path:
    """Return the checked archive, from the first address that has it."""
    failures: list[str] = []
    for url in urls:
        failure = _try(url, download, cache, progress)
        if failure is None:
            return cache / _archive_name(download)
        failures.append(f"{url}: {failure}")
    between = "\n  " if len(failures) > 1 else " "
    raise FetchError(
        between.join([f"cannot fetch {name}:", *failures]) + f"\n{_by_hand(download, cache.parent)}"
    )


def _by_hand(download: Download, folder: Path) -> str:
    """Return how to get the files into the folder without a network."""
    checksum = download.checksum or "no checksum is published"
    known = checksum.replace("md5:", "MD5 ").replace("sha256:", "SHA-256 ")
    if download.is_archive:
        placed = ", ".join(f"{member} as {folder / path}" for member, path in download.files.items())
        what = f"unpack {download.urls[0]} ({known}) and place its files by hand: {placed}"
    else:
        [path] = download.files.values()
        what = f"place {download.urls[0]} ({known}) by hand as {folder / path}"
    return f"without a network, {what}; `mtl data sample {folder}` makes small ones in the same format"


def _archive_name(download: Download) -> str:
    return f"{download.key}{'.zip' if download.is_archive else '.file'}"


def _try(url: str, download: Download, cache: Path, progress: Progress) -> str | None:
    """Download the archive from one address; return what went wrong, None if nothing did."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    cache.mkdir(exist_ok=True)
    part = cache / f"{download.key}.part"
    failure = ""
    for attempt in range(ATTEMPTS):
        time.sleep(attempt * WAIT_SECONDS)
        resumed = part.exists()
        try:
            pooch.retrieve(
                url,
                known_hash=download.checksum,
                fname=_archive_name(download),
                path=cache,
                downloader=_Resuming(part, progress, download.size or download.max_bytes),
            )
            return None
        except _TooLarge as error:
            part.unlink(missing_ok=True)
            return str(error)
        except requests.HTTPError as error:
            response = error.response
            assert response is not None
            failure = f"the server answers {response.status_code} {response.reason}"
            if 400 <= response.status_code < 500 and response.status_code not in (408, 416, 429):
                return failure
        except requests.RequestException as error:
            failure = _reason(error)
            if isinstance(error, ValueError):  # an address that is none
                return failure
        except ValueError as error:
            failure = str(error).partition(". Deleted")[0]
            if not resumed:
                return failure
    return f"{failure} ({ATTEMPTS} attempts)"


class _TooLarge(Exception):
    """The server sends more bytes than the archive may have."""


class _Resuming:
    """A downloader for pooch that resumes an interrupted attempt."""

    def __init__(self, part: Path, progress: Progress, max_bytes: int) -> None:
        self.part = part
        self.progress = progress
        self.max_bytes = max_bytes

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download `url` to `output_file` through the part file."""
        import requests

        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {
            # Some servers refuse the user agents of Python's libraries.
            "User-Agent": f"mtl/{importlib.metadata.version('pytext-mtl')}",
            "Accept-Encoding": "identity",
        }
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            if response.status_code == 416:
                self.part.unlink(missing_ok=True)
            response.raise_for_status()
            if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
                done = 0
            self._receive(response, done)
        os.replace(self.part, output_file)

    def _receive(self, response: requests.Response, done: int) -> None:
        import requests

        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        self._check_size(total or 0)
        try:
            with self.part.open("ab" if done else "wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    done += len(chunk)
                    self._check_size(done)
                    file.write(chunk)
                    self.progress(done, total)
        except requests.RequestException as error:
            if isinstance(error, requests.Timeout):
                raise
            of_total = "" if total is None else f" of {total}"
            raise requests.ConnectionError(f"cut off after {done}{of_total} bytes") from error

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise _TooLarge(
                f"the archive must have at most {self.max_bytes:,} bytes, but has {size:,} or more"
            )


def _reason(error: BaseException) -> str:
    """Return the message of the innermost cause: requests wraps a refused connection four times."""
    import requests

    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return f"no answer within {TIMEOUT_SECONDS:g} seconds"
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = getattr(seen, "reason", None) or next(iter(seen.args), None)
        seen = inner if isinstance(inner, BaseException) else seen.__context__
    return str(error)


# --- archives ------------------------------------------------------------------------------------


def _unpack(name: str, download: Download, archive: Path, folder: Path, *, force: bool) -> list[str]:
    """Unpack the named members; return the paths that were not there already."""
    if not download.is_archive:
        return _place(download, archive, folder, force=force)
    broken = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
    try:
        with zipfile.ZipFile(archive) as opened, contextlib.ExitStack() as temporaries:
            members = _members(name, opened, download, archive.stat().st_size)
            new = {path: member for path, member in members.items() if not _is(folder / path, member)}
            if not force:
                _refuse_to_replace([path for path in new if (folder / path).exists()], folder)
            for path, member in new.items():
                temporary = temporaries.enter_context(atomic_write(_below(folder, path)))
                with opened.open(member) as source, temporary.open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
            return list(new)
    except broken as error:
        raise FetchError(f"the archive of {name} cannot be unpacked: {error}") from error


def _place(download: Download, file: Path, folder: Path, *, force: bool) -> list[str]:
    """Copy a download that is no archive to its place; return the path unless it was there already."""
    [path] = download.files.values()
    target = _below(folder, path)
    if target.is_file() and file_digest(target) == file_digest(file):
        return []
    if not force and target.exists():
        _refuse_to_replace([path], folder)
    with atomic_write(target) as temporary:
        shutil.copyfile(file, temporary)
    return [path]


def _members(
    name: str, archive: zipfile.ZipFile, download: Download, size: int
) -> dict[str, zipfile.ZipInfo]:
    """Return the members to unpack by their target path. Raises `FetchError` for an unsafe archive."""
    for info in archive.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        if _climbs_out(info.filename) or mode == stat.S_IFLNK:
            raise FetchError(
                f"the archive of {name} is refused: its entry {info.filename!r} leads out of its folder"
            )
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise FetchError(
                f"the archive of {name} is refused: its entry {info.filename!r} is neither file nor folder"
            )
    names = Counter(archive.namelist())
    files = _matching(name, names, download)
    twice = [member for member in files if names[member] > 1]
    if twice:
        raise FetchError(f"the archive of {name} is refused: it has {twice[0]!r} {names[twice[0]]} times")
    missing = sorted(set(files) - names.keys())
    if missing:
        raise FetchError(f"the archive of {name} does not contain {', '.join(missing)}")
    members = {path: archive.getinfo(member) for member, path in files.items()}
    unpacked = sum(info.file_size for info in members.values())
    if unpacked > MAX_UNPACKED_RATIO * size:
        raise FetchError(
            f"the archive of {name} is refused: its {size} bytes would unpack to {unpacked},"
            f" more than {MAX_UNPACKED_RATIO} times as many"
        )
    return members


def _matching(name: str, names: Collection[str], download: Download) -> dict[str, str]:
    """Return the members and their paths, patterns replaced by what they fit."""
    files: dict[str, str] = {}
    for member, path in download.files.items():
        if "*" not in member:
            files[member] = path
            continue
        found = sorted(each for each in names if fnmatchcase(each, member))
        if len(found) > 1:
            raise FetchError(
                f"the archive of {name} has {len(found)} files in place of one {member!r}: {', '.join(found)}"
            )
        if not found and member not in download.optional:
            raise FetchError(f"the archive of {name} does not contain {member}")
        files |= dict.fromkeys(found, path)
    return files


def _climbs_out(path: str) -> bool:
    windows = PureWindowsPath(path)
    return bool(PurePosixPath(path).is_absolute() or windows.drive or windows.root or ".." in windows.parts)


def _below(folder: Path, path: str) -> Path:
    if _climbs_out(path):
        raise FetchError(f"a dataset may write below its folder only, but names {path!r}")
    return folder / path


# --- files ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _writing(name: str, folder: Path) -> Iterator[None]:
    """Make the folder; a full disk or a read-only folder is a `FetchError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        shutil.rmtree(folder / CACHE, ignore_errors=True)
        raise FetchError(f"cannot write {name} to {folder}: {error.strerror or error}") from error


def _refuse_to_replace(paths: Sequence[str], folder: Path) -> None:
    if paths:
        raise UsageError(
            f"{', '.join(str(folder / path) for path in paths)}:"
            f" there already with other contents; --force replaces {'it' if len(paths) == 1 else 'them'}"
        )


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _is(path: Path, member: zipfile.ZipInfo) -> bool:
    """Return whether `path` holds what `member` does, by its size and CRC."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == member.CRC


def _is_there(download: Download, folder: Path) -> bool:
    known = _record(folder).get(download.key)
    paths = {path for member, path in download.files.items() if member not in download.optional}
    return (
        isinstance(known, dict)
        and paths <= known.keys()
        and all((folder / path).is_file() and file_digest(folder / path) == known[path] for path in known)
    )


def _remember(download: Download, folder: Path) -> None:
    record = _record(folder) | {
        download.key: {
            path: file_digest(folder / path) for path in download.files.values() if (folder / path).is_file()
        }
    }
    write_json(folder / RECORD, record)


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
