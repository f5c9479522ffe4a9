"""Commands run in this process, with the engine replaced where a test is about the command alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtl.commands import main
from mtl.plugins import Plugins


class FakeRun:
    """What `mtl.load` gives, without a model: a prediction says what was asked."""

    task_names = ("SST2", "LM")

    def test(self, task: str | None = None, data: Path | None = None) -> dict[str, dict[str, Any]]:
        metrics = {"loss": 0.25, "accuracy": 0.875, "confusion_matrix": [[4, 0], [1, 3]]}
        return {name: metrics | {"data": str(data)} for name in self.task_names if task in (None, name)}

    def predict_file(self, task: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        yield {"task": task, "file": path, **options}

    def predict_lines(
        self, task: str, lines: Iterable[bytes], name: str, **options: Any
    ) -> Iterator[dict[str, Any]]:
        for line in lines:
            yield {"task": task, "line": line.decode(), "name": name, **options}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Makes `mtl.load` give a `FakeRun`; holds the folders that were asked for."""
    folders: list[Path] = []

    def load(run: Path, *, task: str | None = None) -> FakeRun:
        folders.append(run)
        return FakeRun()

    monkeypatch.setattr("mtl.runs.loading.load", load)
    monkeypatch.setattr("mtl.load", load, raising=False)
    return folders


Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command line and gives its exit status, standard output and standard error."""
    monkeypatch.setattr("signal.signal", lambda *arguments: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def any_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a command take any config: it is loaded as its source and the options that it is loaded with."""

    def load_config(source: Any, plugins: Plugins, **options: Any) -> dict[str, Any]:
        return {"source": source, **options}

    importlib.import_module("mtl.runs.execution")  # which takes the function by its name
    module = importlib.import_module("mtl.config.load")
    monkeypatch.setattr(module, "load_config", load_config)
