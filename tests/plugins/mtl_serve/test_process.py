"""The process of `mtl serve`: its address, its end, and many clients at once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.errors import UsageError
from mtl_serve.command import serve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("process")
    rows = "".join(f"a {'warm' if n % 2 else 'dull'} film\t{n % 2}\n" for n in range(16))
    (folder / "a.tsv").write_text("text\tlabel\n" + rows)
    task = {
        "data": {"train_path": "a.tsv", "eval_path": "a.tsv"},
        "features": {"word_feat": {"embed_dim": 4}},
    }
    config = {
        "base_dir": str(folder),
        "tasks": {"Films": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 1, "num_threads": 1},
        "device": "cpu",
    }
    mtl.train(config, output=folder / "run")
    return folder / "run"


@contextmanager
def server(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port, and its address."""
    command = [sys.executable, "-m", "mtl", "serve", str(run), "--port", "0", "--device", "cpu", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"on (http://\S+)", line):
                yield process, found[1]
                break
        else:
            pytest.fail(said)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def post(address: str, texts: list[str]) -> dict[str, Any]:
    content = json.dumps({"rows": [{"text": text} for text in texts]}).encode()
    request = urllib.request.Request(f"{address}/tasks/Films/predict", content)
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_serves_on_loopback_and_ends_in_order(run: Path) -> None:
    texts = [f"a warm film {number}" for number in range(24)]
    expected = mtl.load(run, device="cpu").predict("Films", texts)
    with server(run) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        answers: list[Any] = [None] * len(texts)

        def ask(number: int) -> None:
            answers[number] = post(address, [texts[number]])["predictions"][0]

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(len(texts))]
        for client in clients:
            client.start()
        # A request that was accepted, and whose body comes after the signal, is answered.
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as slow:
            body = json.dumps({"rows": [{"text": "a warm film 0"}]}).encode()
            head = f"POST /tasks/Films/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            slow.sendall(head.encode() + body[:5])
            for client in clients:
                client.join()
            process.send_signal(signal.SIGTERM)
            slow.sendall(body[5:])
            received = b""
            while part := slow.recv(4096):
                received += part
        assert b"200 OK" in received and b'"label"' in received
        assert process.wait(timeout=60) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        for answer, wanted in zip(answers, expected, strict=True):
            assert answer["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)


def test_a_port_in_use_and_wrong_options_are_messages(run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1"):
            serve(run, port=taken.getsockname()[1], host="127.0.0.1", device="cpu")
    with pytest.raises(UsageError, match="`--rows` must be above 0, but is 0"):
        serve(run, rows=0)
    with pytest.raises(UsageError, match="`--port` must be 0 to 65535"):
        serve(run, port=70000)
    with pytest.raises(UsageError, match="no task is called"):
        serve(run, port=0, host="127.0.0.1", task="None", device="cpu")
