"""How a command ends: its exit status, and one message instead of a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mtl.commands import cli
from mtl.errors import ConfigError, DataError, MtlError, Problem


@pytest.fixture(autouse=True)
def a_config_is_checked(any_config: None) -> None:
    """Before the engine of these tests fails."""


def raising(error: BaseException) -> Any:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MtlError("the loss is not finite"), 1),
        (DataError("train.tsv:3: no tab"), 2),
        (KeyboardInterrupt(), 130),
        (cli.Terminated(), 143),
        (ZeroDivisionError("division by zero"), 1),
        (OSError(28, "No space left on device", "/runs/one/config.json"), 1),
    ],
)
def test_status_and_message(
    error: BaseException, status: int, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtl.runs.planning.plan", raising(error))
    ended, out, err = invoke("plan", "x.json")
    assert (ended, out) == (status, "")
    assert str(error) in err
    assert "Traceback" not in err


def test_an_interrupted_run_ends_with_the_signals_status(
    invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtl import Interrupted

    monkeypatch.setattr(
        "mtl.runs.planning.plan", raising(Interrupted("stopped, its state is saved", signal.SIGTERM))
    )
    assert invoke("plan", "x.json")[::2] == (143, "mtl: stopped, its state is saved\n")


def test_a_bug_is_called_one_and_debug_shows_where(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl.runs.planning.plan", raising(ZeroDivisionError("division by zero")))
    status, _, err = invoke("plan", "x.json")
    assert status == 1
    assert err.count("\n") == 1
    assert "bug" in err and "--debug" in err
    for line in (("--debug", "plan", "x.json"), ("plan", "x.json", "--debug")):
        assert "Traceback" in invoke(*line)[2]


def test_a_full_disk_is_no_bug(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl.runs.planning.plan", raising(OSError(28, "No space left on device", "/runs/x")))
    assert invoke("plan", "x.json")[2] == "mtl: [Errno 28] No space left on device: '/runs/x'\n"


def test_all_problems_of_a_config_are_shown(invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [
        Problem("tasks", "is missing", line=2, column=5),
        Problem("seed", "must be int", line=1, column=2),
    ]
    monkeypatch.setattr("mtl.runs.planning.plan", raising(ConfigError(problems, "x.json")))
    status, _, err = invoke("plan", "x.json")
    assert status == 2
    assert err.splitlines() == [
        "x.json:1:2: seed: must be int",
        "x.json:2:5: tasks: is missing",
        "mtl: 2 problems in x.json",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian", "`trian` is no command of `mtl`; did you mean `train`?"),
        ("plugins shw", "`shw` is no command of `mtl plugins`; did you mean `show`?"),
        ("train --device gpu", "`--device` must be auto, cpu or cuda, but is `gpu`"),
        ("train --seed -1", "`--seed` must be a non-negative integer, but is `-1`"),
        ("train --dvice cpu", "no such option `--dvice`; did you mean `--device`?"),
        ("train x.json --seed", "`--seed` needs a value"),
        ("test", "RUN is missing"),
        ("predict r --format xml", "`--format` must be auto, text or jsonl, but is `xml`"),
        ("plan a b", "unexpected extra argument"),
    ],
)
def test_a_command_line_mistake_is_one_line(line: str, said: str, invoke: Any) -> None:
    status, out, err = invoke(*line.split())
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_no_arguments_show_the_help(invoke: Any) -> None:
    status, out, _ = invoke()
    assert status == 0
    assert all(
        command in out for command in ("train", "plan", "test", "predict", "plugins", "config", "data")
    )


def test_version(invoke: Any) -> None:
    from importlib.metadata import version

    assert invoke("--version") == (0, f"mtl {version('pytext-mtl')}\n", "")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """As in `mtl predict | head -1`; on a real pipe."""
    script = (
        "import sys, mtl.runs.planning, mtl.config.load\n"
        "from mtl.commands import main\n"
        "mtl.runs.planning.plan = lambda *arguments, **options: list(range(1_000_000))\n"
        "sys.modules['mtl.config.load'].load_config = lambda *arguments, **options: None\n"
        "sys.exit(main(['plan', 'x.json', '--json']))\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"[\n"
        process.stdout.close()
        assert process.wait(60) == cli.READER_GONE
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(number: signal.Signals, status: int, tmp_path: Path) -> None:
    """A command that waits for standard input ends when it is told to."""
    command = [sys.executable, "-m", "mtl", "config", "show", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while not _waits_for_input(process.pid):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(30) == status
        assert b"Traceback" not in process.stderr.read()


def _waits_for_input(pid: int) -> bool:
    if not os.path.exists(f"/proc/{pid}/wchan"):
        time.sleep(5)
        return True
    return Path(f"/proc/{pid}/wchan").read_text().strip() in {"pipe_read", "anon_pipe_read"}
