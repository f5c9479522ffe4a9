"""`mtl serve`: what is answered, what is refused, and that nothing is lost."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mtl
from mtl_serve import Limits, make_application
from mtl_serve import application as application_module
from mtl_serve.models import Models

PATH = "/tasks/Films/predict"
LIMITS = Limits(body_bytes=4000, rows=5, queued_rows=40, batch_rows=8)


def train(folder: Path, seed: int) -> Path:
    rows = "".join(f"a {'warm' if n % 2 else 'dull'} film\t{n % 2}\n" for n in range(16))
    (folder / "a.tsv").write_text("text\tlabel\n" + rows)
    config = {
        "base_dir": str(folder),
        "seed": seed,
        "tasks": {
            "Films": {
                "DocClassificationTask": {
                    "data": {"train_path": "a.tsv", "eval_path": "a.tsv"},
                    "features": {"word_feat": {"embed_dim": 4}},
                    "representation": {"DocNN": {"kernel_num": 3}},
                }
            }
        },
        "trainer": {"epochs": 1, "num_threads": 1},
        "device": "cpu",
    }
    mtl.train(config, output=folder / f"run-{seed}")
    return folder / f"run-{seed}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("serve"), 1)


@pytest.fixture(scope="module")
def models(run: Path) -> Models:
    return Models(run, None, LIMITS, "cpu")


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[TestClient]:
    with TestClient(make_application(Models(run, None, LIMITS, "cpu"))) as client:
        yield client


def body(*texts: Any) -> dict[str, Any]:
    return {"rows": [{"text": text} for text in texts]}


def test_predicts_what_the_run_predicts(client: TestClient, run: Path) -> None:
    texts = ["a warm film", "something dull", "Ünïcode 日本"]
    answered = client.post(PATH, json=body(*texts))
    assert answered.status_code == 200
    assert answered.json() == {"predictions": mtl.load(run, device="cpu").predict("Films", texts)}
    assert client.post(PATH, json=body()).json() == {"predictions": []}


def test_health_metrics_and_pages(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok", "run": "run-1", "tasks": ["Films"]}
    client.post(PATH, json=body("a film"))
    metrics = client.get("/metrics").text
    assert 'mtl_requests_total{task="Films",status="200"}' in metrics
    assert 'mtl_request_seconds_bucket{task="Films",le="+Inf"}' in metrics
    for page in ("/", "/docs"):
        text = client.get(page).text
        assert "<main>" in text and "https://" not in text and "prefers-color-scheme: dark" in text
    described = client.get("/openapi.json").json()
    schema = described["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(body("a film"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"rows": [{}]}, schema)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 422, "must be JSON"),
        (b"[" * 3000, 422, "must be JSON"),
        (b"\xff\xfe", 422, "must be JSON"),
        (b'{"rows": [{"text": NaN}]}', 422, "NaN is no number"),
        (b'{"row": []}', 422, "an object with `rows`"),
        (b'{"rows": ["a"]}', 422, "a list of objects"),
        (b'{"rows": [{"txt": "a"}]}', 422, "row 1: `text` is missing"),
        (b'{"rows": [{"text": "a"}, {"text": 3}]}', 422, "row 2: `text` must be"),
        (b'{"rows": [{"text": ""}]}', 422, "must not be empty"),
        (b'{"rows": [{"text": "\\ud800"}]}', 422, "surrogate"),
        (json.dumps(body(*["a"] * 6)).encode(), 413, "more than 5 rows"),
        (b" " * 5000, 413, "4,000 bytes"),
    ],
)
def test_refuses_with_one_line(client: TestClient, content: bytes, status: int, message: str) -> None:
    answered = client.post(PATH, content=content)
    assert answered.status_code == status, answered.text
    assert list(answered.json()) == ["error"] and message in answered.json()["error"]
    assert "\n" not in answered.json()["error"]


def test_unknown_places(client: TestClient) -> None:
    assert client.post("/tasks/Film/predict", json=body("a")).status_code == 404
    assert "has Films" in client.post("/tasks/Film/predict", json=body("a")).json()["error"]
    assert client.get(PATH).status_code == 405 and list(client.get(PATH).json()) == ["error"]
    assert list(client.get("/nothing").json()) == ["error"]


def test_token(models: Models, run: Path) -> None:
    with TestClient(make_application(Models(run, None, LIMITS, "cpu"), token="secret")) as client:
        assert client.post(PATH, json=body("a")).status_code == 401
        assert (
            client.post(PATH, json=body("a"), headers={"Authorization": "Bearer sécret".encode()}).status_code
            == 401
        )
        assert (
            client.post(PATH, json=body("a"), headers={"Authorization": "Bearer secret"}).status_code == 200
        )
        assert client.get("/health").status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"rows": value}).encode())
    | st.lists(st.dictionaries(st.sampled_from(["text", "id"]), JSON), max_size=7).map(
        lambda rows: json.dumps({"rows": rows}).encode()
    )
)
def test_no_request_is_an_internal_error(client: TestClient, content: bytes) -> None:
    answered = client.post(PATH, content=content)
    assert answered.status_code in (200, 413, 422), answered.text
    assert answered.json().keys() <= {"predictions", "error"}


async def send_all(application: FastAPI, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await asyncio.gather(*(client.post(PATH, json=each) for each in requests))


def test_requests_together_are_batched_and_keep_their_answers(run: Path) -> None:
    models = Models(run, None, LIMITS, "cpu")
    texts = [f"a {'warm' if n % 3 else 'dull'} film {n}" for n in range(30)]
    answers = asyncio.run(send_all(make_application(models), [body(text) for text in texts]))
    assert [each.status_code for each in answers] == [200] * 30
    expected = mtl.load(run, device="cpu").predict("Films", texts)
    for answer, wanted in zip(answers, expected, strict=True):
        [given] = answer.json()["predictions"]
        assert given["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    assert models.current.batchers["Films"].batches < 15


def test_a_full_queue_is_refused_and_a_bad_row_does_not_spoil_others(run: Path) -> None:
    models = Models(run, None, LIMITS, "cpu")
    requests = [body(*(["a film"] * 5)) for _ in range(20)]
    requests[1] = body("")
    answers = asyncio.run(send_all(make_application(models), requests))
    statuses = [each.status_code for each in answers]
    assert statuses[0] == 200 and statuses[1] == 422 and 503 in statuses and 500 not in statuses
    refused = answers[statuses.index(503)]
    assert refused.headers["retry-after"] and "waiting" in refused.json()["error"]
    assert models.current.batchers["Films"].queued == 0


def test_slow_answers_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    models = Models(run, None, Limits(seconds=0.05), "cpu")
    batcher = models.current.batchers["Films"]
    monkeypatch.setattr(type(batcher), "_predict", lambda self, rows: time.sleep(0.3) or [{}] * len(rows))
    [answer] = asyncio.run(send_all(make_application(models), [body("a")]))
    assert answer.status_code == 503 and "no answer after 0.05 seconds" in answer.json()["error"]


def test_a_new_model_is_loaded_while_requests_are_answered(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = train(tmp_path, 2)
    served = tmp_path / "served"
    shutil.copytree(run, served)
    monkeypatch.setattr(application_module, "CHECK_SECONDS", 0.02)
    models = Models(served, None, LIMITS, "cpu")
    with TestClient(make_application(models)) as client:
        before = client.post(PATH, json=body("a warm film")).json()
        shutil.move(served / "model", tmp_path / "gone")
        assert client.post(PATH, json=body("a warm film")).json() == before
        shutil.copytree(other / "model", tmp_path / "new")
        (tmp_path / "new").rename(served / "model")
        answers = []
        for _ in range(400):
            answered = client.post(PATH, json=body("a warm film"))
            assert answered.status_code == 200
            answers.append(answered.json())
            if answers[-1] != before:
                break
        assert answers[-1]["predictions"] == mtl.load(other, device="cpu").predict("Films", ["a warm film"])
        assert "mtl_reloads_total 1" in client.get("/metrics").text
