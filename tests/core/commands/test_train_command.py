"""`mtl train` and `mtl plan`: what they hand to the engine, where they read and write."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtl.commands.train import run_folder
from mtl.errors import UsageError
from mtl.plugins import Plugins


def standard_input(content: bytes, *, terminal: bool = False) -> SimpleNamespace:
    return SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, any_config: None) -> list[dict[str, Any]]:
    """Replaces `mtl.train`; holds what it was called with."""
    made: list[dict[str, Any]] = []

    def train(source: Any, **options: Any) -> SimpleNamespace:
        made.append({"loaded": source, **options})
        return SimpleNamespace(folder=options["output"], data={})

    monkeypatch.setattr("mtl.runs.execution.train", train)
    monkeypatch.setattr("mtl.train", train, raising=False)
    return made


def test_everything_is_handed_on(invoke: Any, calls: list[dict[str, Any]]) -> None:
    line = "train c.json --output out --base-dir data --set trainer.epochs=3 --set seed=1 --resume"
    assert invoke(*line.split(), "--allow-changes", "--device", "cpu", "--seed", 7)[0] == 0
    (call,) = calls
    assert len(call.pop("callbacks")) == 1
    assert isinstance(call.pop("plugins"), Plugins)
    assert call == {
        "loaded": {
            "source": Path("c.json"),
            "base_dir": Path("data"),
            "overrides": ["trainer.epochs=3", "seed=1", 'device="cpu"', "seed=7"],
            "resumed": None,
        },
        "output": Path("out"),
        "from_run": None,
        "resume": True,
        "allow_changes": True,
        "fast": False,
    }


@pytest.mark.parametrize("argument", [(), ("-",)])
def test_a_config_from_standard_input(
    argument: tuple[str, ...], invoke: Any, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(b'{"tasks": {}}'))
    status, _, err = invoke("train", *argument)
    assert (status, "waiting" in err) == (0, False)
    assert calls[0]["loaded"]["source"] == '{"tasks": {}}'


def test_c3_says_what_it_waits_for_on_a_terminal(
    invoke: Any, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(b"{}", terminal=True))
    _, out, err = invoke("train")
    assert out == ""
    assert err.startswith("mtl: waiting for a config (JSON) on standard input; Ctrl-D ends it\n")


def test_standard_input_that_is_not_text(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(b"{\xff}"))
    assert invoke("plan")[::2] == (2, "mtl: standard input:1:2: must be UTF-8, but this byte is not\n")


def test_quiet_says_nothing(invoke: Any, calls: list[dict[str, Any]]) -> None:
    assert invoke("train", "c.json", "--quiet") == (0, "", "")


def test_run_folders_are_numbered_and_resumed(caplog: pytest.LogCaptureFixture) -> None:
    assert run_folder("configs/quick.json", resume=False) == Path("runs/quick")
    with pytest.raises(UsageError, match="no run runs/quick"):
        run_folder("configs/quick.json", resume=True)
    for name in ("quick", "quick-2", "quick-10", "quick-3", "quick-start"):
        os.makedirs(f"runs/{name}")
        for file in ("config.json", "result.json"):
            Path(f"runs/{name}/{file}").touch()
    assert run_folder("configs/quick.json", resume=False) == Path("runs/quick-4")
    assert run_folder("configs/quick.json", resume=True) == Path("runs/quick-10")
    assert run_folder("-", resume=False) == Path("runs/config")
    assert [record.getMessage() for record in caplog.records] == [
        "resuming runs/quick-10, as none was interrupted"
    ]


def test_the_interrupted_run_is_resumed_and_named(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("quick", "quick-2", "quick-3"):
        os.makedirs(f"runs/{name}")
        Path(f"runs/{name}/config.json").touch()
        if name != "quick-2":
            Path(f"runs/{name}/result.json").touch()
    assert run_folder("quick.json", resume=True) == Path("runs/quick-2")
    assert run_folder("quick.json", resume=False) == Path("runs/quick-4")
    assert [record.getMessage() for record in caplog.records] == [
        "resuming runs/quick-2",
        "runs/quick-2 was interrupted; --resume continues it. This run is runs/quick-4",
    ]


def test_a_fast_run_is_made_in_a_temporary_folder(invoke: Any, calls: list[dict[str, Any]]) -> None:
    assert invoke("train", "c.json", "--fast")[0] == 0
    assert calls[0]["fast"] is True and not calls[0]["output"].parent.exists()
    for option in (("--output", "x"), ("--resume",), ("--profile",)):
        status, _, err = invoke("train", "c.json", "--fast", *option)
        assert (status, "`--fast` keeps nothing" in err) == (2, True)
    assert not Path("runs").exists()


def test_plan_as_json(invoke: Any, any_config: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def plan(*arguments: Any, **options: Any) -> dict[str, Any]:
        assert isinstance(options.pop("plugins"), Plugins)
        seen.append((arguments, options))
        return {"tasks": {}}

    monkeypatch.setattr("mtl.runs.planning.plan", plan)
    status, out, err = invoke("plan", "c.json", "--json", "--set", "seed=1", "--base-dir", "d")
    assert (status, json.loads(out), err) == (0, {"tasks": {}}, "")
    loaded = {"source": Path("c.json"), "base_dir": Path("d"), "overrides": ["seed=1"], "resumed": None}
    assert seen == [((loaded,), {"measured": False, "from_run": None})]


@pytest.mark.parametrize(("command", "module"), [("train", "execution"), ("plan", "planning")])
def test_h2_a_config_is_read_once(
    command: str, module: str, invoke: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("rows.txt").write_text("a film\n")
    config = {"tasks": {"LM": {"LMTask": {"data": {"train_path": "rows.txt"}}}}}
    Path("c.json").write_text(json.dumps(config))
    documents = importlib.import_module("mtl.config.source")
    read: list[Path] = []

    def counted(path: Path) -> Any:
        read.append(path)
        return documents.parse(path.read_text(), str(path))

    def prepare(loaded: Any, *arguments: Any, **options: Any) -> None:
        raise UsageError(f"seed {loaded.config.seed}")

    monkeypatch.setattr(documents, "read", counted)
    monkeypatch.setattr(f"mtl.runs.{module}.prepare", prepare)
    assert invoke(command, "c.json", "--set", "seed=5") == (2, "", "mtl: seed 5\n")
    assert read == [Path("c.json")]


def test_a_signal_after_completion_interrupts_nothing(
    invoke: Any, any_config: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(source: Any, *, callbacks: list[Any], **options: Any) -> None:
        callbacks[0].completed = ended
        raise KeyboardInterrupt

    monkeypatch.setattr("mtl.runs.execution.train", train)
    monkeypatch.setattr("mtl.train", train, raising=False)
    ended = True
    assert invoke("train", "c.json") == (0, "", "")
    ended = False
    assert invoke("train", "c.json") == (130, "", "mtl: interrupted\n")
