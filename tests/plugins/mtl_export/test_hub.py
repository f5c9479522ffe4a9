"""`mtl push`, to a Hub on loopback."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mtl.errors import MtlError, UsageError
from mtl_export import hub


class Hub(ThreadingHTTPServer):
    """What a Hub was asked and given; `refuses` answers everything with 401."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.made: list[dict[str, Any]] = []
        self.commits: list[str] = []
        self.refuses = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def answer(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self.server.refuses:
            self.answer({"error": "Invalid credentials"}, 401)
            return
        self.answer({"id": "me/films", "sha": "0" * 40, "siblings": [], "private": False})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub = self.server
        if hub.refuses:
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            self.answer({"url": f"{hub.address}/me/films"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]
            self.answer({"files": modes})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                part = json.loads(line)
                if part["key"] == "header":
                    hub.commits.append(part["value"]["summary"])
                elif part["key"] == "file":
                    hub.files[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            url = f"{hub.address}/me/films/commit/{'0' * 40}"
            self.answer({"commitUrl": url, "commitOid": "0" * 40, "success": True})
        else:
            self.answer({"valid": True})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield server
        server.shutdown()


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting has its own tests and takes long."""

    class Exported:
        task = "Films"

        def __init__(self, path: Path) -> None:
            self.path = path

    def export(run: Path, path: Path, *, task: str | None) -> Exported:
        path.mkdir()
        (path / "README.md").write_text("# Films")
        (path / "model.onnx").write_bytes(bytes(range(256)))
        return Exported(path)

    monkeypatch.setattr(hub, "export", export)


def test_pushes_the_folder_in_one_commit(server: Hub, exporting: None) -> None:
    address = hub.push("runs/first", "me/films", private=True)
    assert address == f"{server.address}/me/films"
    made = server.made[0]
    assert made["name"] == "films" and "private" in (
        made.get("visibility"),
        made.get("private") and "private",
    )
    assert server.files == {"README.md": b"# Films", "model.onnx": bytes(range(256))}
    assert server.commits == ["Upload Films"]


def test_a_refusal_is_a_message(server: Hub, exporting: None) -> None:
    server.refuses = True
    with pytest.raises(MtlError, match=r"me/films: cannot be uploaded: .*401"):
        hub.push("runs/first", "me/films")
    with pytest.raises(UsageError, match="must be OWNER/NAME"):
        hub.push("runs/first", "films")
