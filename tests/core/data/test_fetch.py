"""`mtl.data.datasets.fetch` against a server on loopback, faults included."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import json
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest
from attrs import define, field

from mtl import Dataset, DatasetConfig, Download, UsageError
from mtl.data import datasets
from mtl.data.datasets import FetchError, fetch

TEXT = "".join(f"line {number}\n" for number in range(20_000))
FILES = {"Corpus/train.tsv": TEXT, "Corpus/dev.tsv": "a\t1\n"}
TARGETS = {"Corpus/train.tsv": "corpus/train.tsv", "Corpus/dev.tsv": "corpus/dev.tsv"}


def archive(files: Mapping[str, str] = FILES, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return buffer.getvalue()


@define
class Server:
    """What the loopback server serves, its faults, and what it was asked."""

    content: bytes
    url: str = ""
    status: int = 200
    cut_off_after: list[int] = field(factory=list)
    """Bytes after which each of the next answers ends, in order."""
    ranges: bool = True
    sends_length: bool = True
    asked: list[dict[str, str]] = field(factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server(archive())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append({name.lower(): value for name, value in self.headers.items()})
            body, status = state.content, state.status
            start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if status == 200 and start and state.ranges:
                first = int(start[1])
                status = 206 if first < len(body) else 416
                self.send_response(status)
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                body = body[first:]
            else:
                self.send_response(status)
            if state.sends_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut_off_after.pop(0)] if state.cut_off_after else body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "WAIT_SECONDS", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.url = f"http://127.0.0.1:{running.server_port}/corpus.zip"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield state
        running.shutdown()
        thread.join()


@define
class Corpus(Dataset):
    """A dataset of one archive at the addresses that a test gives."""

    config: DatasetConfig = field(init=False, factory=DatasetConfig)
    urls: tuple[str, ...]
    content: bytes
    targets: Mapping[str, str] = field(factory=TARGETS.copy)
    max_bytes: int = 2**30

    def downloads(self) -> list[Download]:
        md5 = hashlib.md5(self.content).hexdigest()
        return [Download(urls=self.urls, md5=md5, files=self.targets, max_bytes=self.max_bytes)]


def corpus(server: Server) -> Corpus:
    return Corpus((server.url,), server.content)


def files_below(folder: Path) -> dict[str, str]:
    """Every file, hidden and temporary ones too, but for the record."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text(errors="replace") for name, path in files.items() if name != datasets.RECORD}


WANTED = {TARGETS[name]: text for name, text in FILES.items()}


def refused() -> str:
    """An address that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/corpus.zip"


def test_brings_exactly_the_named_files(server: Server, tmp_path: Path) -> None:
    server.content = archive({**FILES, "Corpus/README": "not asked for"})
    assert fetch("corpus", corpus(server), tmp_path) == list(WANTED)
    assert files_below(tmp_path) == WANTED
    assert server.asked[0]["user-agent"].startswith("mtl/")


def test_what_is_there_already_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    fetch("corpus", corpus(server), tmp_path)
    assert fetch("corpus", corpus(server), tmp_path) == []
    assert len(server.asked) == 1


def test_a_lost_file_comes_back_and_the_others_stay(server: Server, tmp_path: Path) -> None:
    fetch("corpus", corpus(server), tmp_path)
    (tmp_path / "corpus/dev.tsv").unlink()
    assert fetch("corpus", corpus(server), tmp_path) == ["corpus/dev.tsv"]
    assert files_below(tmp_path) == WANTED


def test_files_of_other_contents_are_replaced_only_by_force(server: Server, tmp_path: Path) -> None:
    fetch("corpus", corpus(server), tmp_path)
    (tmp_path / "corpus/dev.tsv").write_text("prepared\t1\n")
    with pytest.raises(
        UsageError, match=r"corpus/dev\.tsv: there already with other contents; --force replaces it"
    ):
        fetch("corpus", corpus(server), tmp_path)
    assert (tmp_path / "corpus/dev.tsv").read_text() == "prepared\t1\n"
    assert fetch("corpus", corpus(server), tmp_path, force=True) == ["corpus/dev.tsv"]
    assert files_below(tmp_path) == WANTED


def test_manually_placed_files_are_recognized(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for path, text in WANTED.items():
        (tmp_path / path).write_text(text)
    assert fetch("corpus", corpus(server), tmp_path) == []
    assert fetch("corpus", corpus(server), tmp_path) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("record", ["not json", "[]", '{"x": 1}'])
def test_a_broken_record_only_costs_a_download(server: Server, tmp_path: Path, record: str) -> None:
    (tmp_path / datasets.RECORD).write_text(record)
    fetch("corpus", corpus(server), tmp_path)
    assert fetch("corpus", corpus(server), tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False], ids=["resumed", "from the start"])
def test_a_download_that_is_cut_off_is_tried_again(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    server.cut_off_after = [12 * 8192, 6 * 8192]
    seen: list[tuple[int, int | None]] = []
    fetch("corpus", corpus(server), tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert files_below(tmp_path) == WANTED
    third = 18 * 8192 if ranges else 6 * 8192
    assert [asked.get("range") for asked in server.asked] == [None, f"bytes={12 * 8192}-", f"bytes={third}-"]
    assert seen[-1] == (len(server.content), len(server.content))


def test_a_download_cut_off_too_often_is_one_message_and_is_resumed_by_the_next_command(
    server: Server, tmp_path: Path
) -> None:
    server.cut_off_after = [8192, 8192, 8192]
    with pytest.raises(FetchError) as raised:
        fetch("corpus", corpus(server), tmp_path)
    expected = f"{server.url}: cut off after {3 * 8192} of {len(server.content)} bytes (3 attempts)"
    assert str(raised.value).splitlines()[0] == f"cannot fetch corpus: {expected}"
    assert not (tmp_path / "corpus").exists()
    fetch("corpus", corpus(server), tmp_path)
    assert server.asked[-1]["range"] == f"bytes={3 * 8192}-"
    assert files_below(tmp_path) == WANTED


@pytest.mark.parametrize("kept", ["other bytes", "whole", "too long"])
def test_a_leftover_that_does_not_fit_is_thrown_away(server: Server, tmp_path: Path, kept: str) -> None:
    content = {"other bytes": b"x" * 1000, "whole": server.content, "too long": server.content + b"x"}[kept]
    part = tmp_path / datasets.CACHE / f"{hashlib.md5(server.content).hexdigest()}.part"
    part.parent.mkdir()
    part.write_bytes(content)
    fetch("corpus", corpus(server), tmp_path)
    assert files_below(tmp_path) == WANTED


def test_a_server_that_says_no_length_is_still_checked(server: Server, tmp_path: Path) -> None:
    server.sends_length, server.ranges = False, False
    fetch("corpus", corpus(server), tmp_path / "whole")
    assert files_below(tmp_path / "whole") == WANTED
    server.cut_off_after = [1000, 1000, 1000]
    with pytest.raises(FetchError, match="expected md5:"):
        fetch("corpus", corpus(server), tmp_path / "cut")
    assert files_below(tmp_path / "cut") == {}


@pytest.mark.parametrize("sends_length", [True, False])
def test_no_more_is_taken_from_a_server_than_an_archive_may_have(
    server: Server, tmp_path: Path, sends_length: bool
) -> None:
    server.sends_length = sends_length
    size = len(server.content)
    fetch("corpus", Corpus((server.url,), server.content, max_bytes=size), tmp_path / "fits")
    assert files_below(tmp_path / "fits") == WANTED
    written: list[int] = []
    with pytest.raises(FetchError, match=f"must have at most {size - 1:,} bytes, but has {size:,} or more"):
        fetch(
            "corpus",
            Corpus((server.url,), server.content, max_bytes=size - 1),
            tmp_path / "more",
            progress=lambda done, total: written.append(done),
        )
    assert max(written, default=0) < size
    assert files_below(tmp_path / "more") == {}
    assert len(server.asked) == 2, "it is not asked again"


def test_the_next_address_is_asked_when_one_fails(server: Server, tmp_path: Path) -> None:
    wanted = Corpus((refused(), server.url), server.content)
    fetch("corpus", wanted, tmp_path)
    assert files_below(tmp_path) == WANTED


def test_every_address_that_failed_is_named(server: Server, tmp_path: Path) -> None:
    server.status, nobody = 404, refused()
    with pytest.raises(FetchError) as raised:
        fetch("corpus", Corpus((nobody, server.url), server.content), tmp_path)
    *said, by_hand = str(raised.value).splitlines()
    assert "place its files by hand: " in by_hand and f"{tmp_path}/" in by_hand
    assert said == [
        "cannot fetch corpus:",
        f"  {nobody}: Connection refused (3 attempts)",
        f"  {server.url}: the server answers 404 Not Found",
    ]
    assert len(server.asked) == 1
    assert raised.value.exit_status == 1


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(FetchError, match=r"the server answers 503 Service Unavailable \(3 attempts\)"):
        fetch("corpus", corpus(server), tmp_path)
    assert len(server.asked) == 3


def test_a_server_that_does_not_answer_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/corpus.zip"
        with pytest.raises(FetchError, match=r"no answer within 0\.05 seconds \(3 attempts\)"):
            fetch("corpus", corpus(server), tmp_path, urls=(url,))


def test_the_wrong_checksum_names_both_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    wanted = corpus(server)
    server.content = archive({**FILES, "Corpus/dev.tsv": "other\n"})
    expected, got = (hashlib.md5(content).hexdigest() for content in (wanted.content, server.content))
    with pytest.raises(FetchError, match=f"expected md5:{expected} but got {got}"):
        fetch("corpus", wanted, tmp_path)
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("url", ["no address", "ftp://127.0.0.1/corpus.zip", "http://"])
def test_an_invalid_address_is_reported(server: Server, tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match=f"cannot fetch corpus: {url}: "):
        fetch("corpus", corpus(server), tmp_path, urls=(url,))


def test_another_address_is_of_one_archive(server: Server, tmp_path: Path) -> None:
    class Two(Corpus):
        def downloads(self) -> list[Download]:
            return [*super().downloads(), *super().downloads()]

    with pytest.raises(UsageError, match="comes in 2 archives: it cannot be fetched from one address"):
        fetch("corpus", Two((server.url,), server.content), tmp_path, urls=(server.url,))


# --- archives that are not what they should be ---------------------------------------------------


@pytest.mark.parametrize(
    "entry", ["../outside", "a/../../outside", "/etc/outside", "C:/outside", "..\\outside", "\\outside"]
)
def test_an_archive_that_climbs_out_is_refused_whole(server: Server, tmp_path: Path, entry: str) -> None:
    server.content = archive({**FILES, entry: "evil"})
    with pytest.raises(FetchError, match=r"is refused: its entry .*outside.* leads out of its folder"):
        fetch("corpus", corpus(server), tmp_path / "data")
    assert not (tmp_path / "data/corpus").exists()
    assert not (tmp_path / "outside").exists()


def test_an_archive_with_a_link_is_refused(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO(archive())
    with zipfile.ZipFile(buffer, "a") as opened:
        link = zipfile.ZipInfo("Corpus/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    server.content = buffer.getvalue()
    with pytest.raises(FetchError, match="its entry 'Corpus/link' leads out of its folder"):
        fetch("corpus", corpus(server), tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_an_archive_with_a_special_file_is_refused(server: Server, tmp_path: Path, kind: int) -> None:
    buffer = io.BytesIO(archive())
    with zipfile.ZipFile(buffer, "a") as opened:
        special = zipfile.ZipInfo("Corpus/special")
        special.external_attr = (kind | 0o666) << 16
        opened.writestr(special, "")
    server.content = buffer.getvalue()
    with pytest.raises(FetchError, match="its entry 'Corpus/special' is neither file nor folder"):
        fetch("corpus", corpus(server), tmp_path)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_has_a_file_twice_is_refused(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO(archive())
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.writestr("Corpus/dev.tsv", "another\n")
    server.content = buffer.getvalue()
    with pytest.raises(FetchError, match=r"is refused: it has 'Corpus/dev\.tsv' 2 times"):
        fetch("corpus", corpus(server), tmp_path)
    assert not (tmp_path / "corpus").exists()


def test_a_dataset_that_would_write_elsewhere_is_refused(server: Server, tmp_path: Path) -> None:
    wanted = Corpus((server.url,), server.content, {"Corpus/dev.tsv": "../outside"})
    with pytest.raises(FetchError, match=r"may write below its folder only, but names '\.\./outside'"):
        fetch("corpus", wanted, tmp_path / "data")
    assert not (tmp_path / "outside").exists()


def test_a_missing_member_is_named(server: Server, tmp_path: Path) -> None:
    server.content = archive({"Corpus/train.tsv": TEXT})
    with pytest.raises(FetchError, match=r"the archive of corpus does not contain Corpus/dev\.tsv"):
        fetch("corpus", corpus(server), tmp_path)
    assert not (tmp_path / "corpus").exists()


def test_a_zip_bomb_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = archive({**FILES, "Corpus/train.tsv": "0" * 10_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(FetchError, match="more than 100 times as many"):
        fetch("corpus", corpus(server), tmp_path)
    assert not (tmp_path / "corpus").exists()


def test_an_archive_that_lies_about_its_size_unpacks_no_more_than_it_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes that are checked are those that the archive states; the unpacking keeps to them."""
    bomb = b"0" * 10_000_000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("Corpus/train.tsv", bomb)
        opened.writestr("Corpus/dev.tsv", "a\t1\n")
    server.content = buffer.getvalue().replace(struct.pack("<I", len(bomb)), struct.pack("<I", 1000))
    written: list[int] = []
    copy = shutil.copyfileobj

    def counting(source: IO[bytes], target: IO[bytes], length: int) -> None:
        try:
            copy(source, target, length)
        finally:
            written.append(target.tell())

    monkeypatch.setattr(datasets.shutil, "copyfileobj", counting)
    with pytest.raises(FetchError, match=r"the archive of corpus cannot be unpacked: Bad CRC-32"):
        fetch("corpus", corpus(server), tmp_path)
    assert written and max(written) <= 1000
    assert not (tmp_path / "corpus").exists() or not any((tmp_path / "corpus").iterdir())


@pytest.mark.parametrize("damage", ["no archive", "a member's bytes"])
def test_a_broken_archive_is_reported_and_leaves_no_file(server: Server, tmp_path: Path, damage: str) -> None:
    content = bytearray(b"<html>moved</html>" if damage == "no archive" else server.content)
    content[1000:1001] = b"?"
    server.content = bytes(content)
    with pytest.raises(FetchError, match="the archive of corpus cannot be unpacked"):
        fetch("corpus", corpus(server), tmp_path)
    assert set(files_below(tmp_path)) <= {f"{datasets.CACHE}/{hashlib.md5(content).hexdigest()}.zip"}


# --- disks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [20_000, 100_000], ids=["in the download", "in the unpacking"])
def test_a_full_disk_is_reported_and_leaves_no_file(server: Server, tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands in for the disk's end."""
    server.content = archive(compression=zipfile.ZIP_DEFLATED)
    assert 20_000 < len(server.content) < 100_000 < len(TEXT)
    program = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_fetch import Corpus
from mtl.data.datasets import FetchError, fetch
import pooch, requests
content = sys.stdin.buffer.read()
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    fetch("corpus", Corpus(({server.url!r},), content), Path({str(tmp_path)!r}))
except FetchError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", program], input=server.content, capture_output=True, check=True
    )
    assert done.stdout.decode() == f"cannot write corpus to {tmp_path}: File too large\n"
    assert files_below(tmp_path) == {}


def test_no_space_left_is_a_message(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datasets.shutil, "copyfileobj", full)
    with pytest.raises(FetchError, match=r"cannot write corpus to .*: No space left on device"):
        fetch("corpus", corpus(server), tmp_path)
    assert files_below(tmp_path) == {}


def test_a_folder_that_is_a_file_is_a_message(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(FetchError, match=r"cannot write corpus to .*data: File exists"):
        fetch("corpus", corpus(server), tmp_path / "data")


def test_the_record_holds_what_was_written(server: Server, tmp_path: Path) -> None:
    fetch("corpus", corpus(server), tmp_path)
    record = json.loads((tmp_path / datasets.RECORD).read_text())
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in WANTED.items()}
    assert record == {hashlib.md5(server.content).hexdigest(): digests}
