"""`mtl data fetch` and `mtl data sample` as a person types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mtl import ComponentSpec, Dataset, Download, hookimpl, plugins
from mtl.commands import main

Install = Callable[..., None]
Capture = pytest.CaptureFixture[str]


class Corpus(Dataset):
    """A dataset at an address that nobody listens at."""

    def downloads(self) -> list[Download]:
        return [Download(urls=("http://127.0.0.1:9/a.zip",), md5="0" * 32, files={"a": "corpus/a"})]

    def sample(self, seed: int) -> dict[str, str]:
        return {"corpus/a": f"seed {seed}\n"}


class Silent(Corpus):
    """A dataset without a sample."""

    def sample(self, seed: int) -> dict[str, str]:
        return {}


class Plugin:
    """Brings datasets, by the name of each and of its class."""

    mtl_api = ">=1,<2"

    def __init__(self, datasets: dict[str, str]) -> None:
        self.datasets = datasets

    @hookimpl
    def mtl_datasets(self) -> list[ComponentSpec]:
        return [
            ComponentSpec(name=name, config="mtl:DatasetConfig", factory=f"{__name__}:{factory}")
            for name, factory in self.datasets.items()
        ]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def only(**datasets: str) -> None:
        found = plugins.Plugins()
        found.register(Plugin(datasets), distribution="corpora")
        monkeypatch.setattr(plugins, "discover", lambda: found)

    return only


def test_a_sample_is_written_once(install: Install, tmp_path: Path, capsys: Capture) -> None:
    install(corpus="Corpus", silent="Silent")
    assert main(["data", "sample", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"corpus/a written to {tmp_path}\n"
    assert (tmp_path / "corpus/a").read_text() == "seed 0\n"
    assert main(["data", "sample", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"already in {tmp_path}\n"


def test_another_seed_replaces_a_sample_only_by_force(
    install: Install, tmp_path: Path, capsys: Capture
) -> None:
    install(corpus="Corpus")
    main(["data", "sample", str(tmp_path)])
    assert main(["data", "sample", str(tmp_path), "--seed", "1"]) == 2
    assert "there already with other contents; --force replaces it" in capsys.readouterr().err
    assert (tmp_path / "corpus/a").read_text() == "seed 0\n"
    assert main(["data", "sample", str(tmp_path), "--seed", "1", "--force"]) == 0
    assert (tmp_path / "corpus/a").read_text() == "seed 1\n"


def test_two_datasets_that_write_one_file_are_named(
    install: Install, tmp_path: Path, capsys: Capture
) -> None:
    install(corpus="Corpus", other="Corpus")
    assert main(["data", "sample", str(tmp_path)]) == 2
    assert "the samples of 'corpus' and 'other' both write corpus/a" in capsys.readouterr().err


def test_missing_samples_are_reported(install: Install, tmp_path: Path, capsys: Capture) -> None:
    install(silent="Silent")
    assert main(["data", "sample", str(tmp_path)]) == 2
    assert "no installed dataset has a sample" in capsys.readouterr().err


def test_an_unknown_dataset_has_its_nearest_name(install: Install, tmp_path: Path, capsys: Capture) -> None:
    install(corpus="Corpus")
    assert main(["data", "fetch", "korpus", "--base-dir", str(tmp_path / "data")]) == 2
    assert "did you mean `corpus`?" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_an_address_is_of_one_dataset(install: Install, capsys: Capture) -> None:
    install(corpus="Corpus", silent="Silent")
    assert main(["data", "fetch", "corpus", "silent", "--url", "http://127.0.0.1:9/"]) == 2
    assert "--url is the address of one dataset, but 2 are named: corpus, silent" in capsys.readouterr().err


def test_a_fetch_that_fails_is_one_message(
    install: Install, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("mtl.data.datasets.WAIT_SECONDS", 0)
    install(corpus="Corpus")
    assert main(["data", "fetch", "corpus", "--base-dir", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    message = "mtl: cannot fetch corpus: http://127.0.0.1:9/a.zip: Connection refused (3 attempts)"
    first, said, by_hand = output.err.splitlines()
    assert (first, said) == ("fetching corpus", message)
    assert by_hand.startswith("without a network, unpack http://127.0.0.1:9/a.zip (MD5 ")
    assert by_hand.endswith(f"`mtl data sample {tmp_path}` makes small ones in the same format")
