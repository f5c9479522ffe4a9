"""Public datasets: what is asked for, against a server on loopback, and what is said without a network."""

from __future__ import annotations

import hashlib
import http.server
import io
import logging
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mtl import Dataset, UsageError
from mtl.commands import main
from mtl.components.instantiate import instantiate
from mtl.data import datasets
from mtl.data.datasets import FetchError, fetch
from mtl.plugins import discover
from mtl_tasks.data_config import PublicDatasetConfig, UDConfig
from mtl_tasks.datasets import GLUE, WNUT17, MicrosoftParaphrases, UniversalDependencies

NAMES = (
    "glue",
    "cola",
    "mrpc",
    "stsb",
    "qqp",
    "mnli",
    "qnli",
    "rte",
    "wnli",
    "glue-diagnostic",
    "wnut17",
    "ud",
)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a server and its files by path."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "WAIT_SECONDS", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", files
        running.shutdown()
        thread.join()


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return buffer.getvalue()


class Served(Dataset):
    """A dataset whose downloads come from the server, with checksums of what it has."""

    def __init__(self, of: Dataset, address: str, files: dict[str, bytes]) -> None:
        self.made = []
        for download in of.downloads():
            path = "/" + download.urls[0].partition("//")[2]
            text = f"made up for {download.urls[0]}\n"
            content = archive(dict.fromkeys(download.files, text)) if download.is_archive else text.encode()
            files[path] = content
            self.made.append(
                evolve(
                    download,
                    urls=(address + path,),
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                )
            )

    def downloads(self) -> list[Any]:
        return self.made


@pytest.mark.parametrize("dataset", [GLUE(PublicDatasetConfig()), WNUT17(PublicDatasetConfig())])
def test_all_files_arrive_at_their_places(
    dataset: Dataset, served: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    wanted = {path for download in dataset.downloads() for path in download.files.values()}
    written = fetch("it", Served(dataset, *served), tmp_path)

    assert set(written) == wanted
    assert {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.name[0] != "."
    } >= wanted
    assert fetch("it", Served(dataset, *served), tmp_path) == []


def test_glue_is_complete() -> None:
    folders = {
        path.partition("/")[0]
        for each in GLUE(PublicDatasetConfig()).downloads()
        for path in each.files.values()
    }
    assert folders == {"CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI", "diagnostic"}


@pytest.mark.parametrize("name", NAMES)
def test_each_dataset_has_a_size_and_a_checksum_or_none(name: str) -> None:
    dataset: Dataset = instantiate(discover().find("dataset", name).with_defaults())
    for download in dataset.downloads():
        assert download.urls[0].startswith("https://")
        assert (download.checksum is None) == (name == "ud")
        assert (download.size is None) == (name == "ud")


def test_a_file_of_another_content_or_size_is_refused(
    served: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    dataset = Served(MicrosoftParaphrases(PublicDatasetConfig()), *served)
    for path in served[1]:
        served[1][path] = served[1][path].replace(b"made", b"mode")
    with pytest.raises(FetchError, match="expected sha256:"):
        fetch("mrpc", dataset, tmp_path)
    for path in served[1]:
        served[1][path] += b"more"
    with pytest.raises(FetchError, match="must have at most"):
        fetch("mrpc", dataset, tmp_path)
    assert not list(tmp_path.rglob("*.txt"))


def test_a_file_that_is_there_with_other_content_stays(
    served: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "MRPC").mkdir()
    (tmp_path / "MRPC/dev_ids.tsv").write_text("mine")
    dataset = Served(MicrosoftParaphrases(PublicDatasetConfig()), *served)
    with pytest.raises(UsageError, match=r"dev_ids\.tsv: there already with other contents"):
        fetch("mrpc", dataset, tmp_path)
    assert (tmp_path / "MRPC/dev_ids.tsv").read_text() == "mine"
    fetch("mrpc", dataset, tmp_path, force=True)
    assert (tmp_path / "MRPC/dev_ids.tsv").read_text().startswith("made up")


# --- treebanks ---------------------------------------------------------------------------------------

TREEBANK = {
    "UD_Latin-Test-master/README.md": "not asked for",
    "UD_Latin-Test-master/la_test-ud-train.conllu": "train\n",
    "UD_Latin-Test-master/la_test-ud-test.conllu": "test\n",
}


def treebank(address: str) -> Dataset:
    dataset = UniversalDependencies(UDConfig(treebank="UD_Latin-Test"))
    [download] = dataset.downloads()

    class Local(Dataset):
        def downloads(self) -> list[Any]:
            return [evolve(download, urls=(f"{address}/master.zip",))]

    return Local(UDConfig())


def test_a_treebank_is_found_in_its_archive(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address, files = served
    files["/master.zip"] = archive(TREEBANK)
    with caplog.at_level(logging.WARNING, "mtl"):
        written = fetch("UD_Latin-Test", treebank(address), tmp_path)

    assert written == ["UD_Latin-Test/train.conllu", "UD_Latin-Test/test.conllu"]  # it has no dev file
    assert (tmp_path / "UD_Latin-Test/train.conllu").read_text() == "train\n"
    expected = hashlib.sha256(files["/master.zip"]).hexdigest()
    assert f"no checksum is published; the SHA-256 of what came is {expected}" in caplog.text
    assert fetch("UD_Latin-Test", treebank(address), tmp_path) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"x/la_test-ud-train.conllu": "a"}, r"does not contain \*/\*-ud-test.conllu"),
        ({**TREEBANK, "x/la_test-b-ud-test.conllu": "a"}, "has 2 files in place of one"),
    ],
)
def test_an_archive_of_other_files_is_refused(
    served: tuple[str, dict[str, bytes]], tmp_path: Path, files: dict[str, str], said: str
) -> None:
    served[1]["/master.zip"] = archive(files)
    with pytest.raises(FetchError, match=said):
        fetch("UD_Latin-Test", treebank(served[0]), tmp_path)


def test_a_treebank_is_called_by_the_name_of_its_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "ATTEMPTS", 1)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert main(["data", "fetch", "UD_German-GSD", "--base-dir", str(tmp_path)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "UniversalDependencies/UD_German-GSD/archive/refs/heads/master.zip (no checksum is published)" in said
    )
    assert f"place its files by hand: */*-ud-train.conllu as {tmp_path}/UD_German-GSD/train.conllu" in said
    assert "`mtl data sample" in said

    assert main(["data", "fetch", "wnut17", "--base-dir", str(tmp_path)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "(SHA-256 731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5) by hand as" in said
    assert main(["data", "fetch", "UD_german"]) == 2


@pytest.mark.parametrize("name", ["English-LinES", "UD_English", "UD_../x-Y", "UD_english-LinES"])
def test_other_names_are_no_treebank(name: str) -> None:
    assert UDConfig.named(name) is None
    with pytest.raises(ValueError, match="must be called like UD_English-LinES"):
        UDConfig(treebank=name)
