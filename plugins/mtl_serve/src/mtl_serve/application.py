"""The HTTP application: predictions, health, metrics, and pages for people."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import resources
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from mtl.errors import MtlError
from mtl_serve.limits import Limits, Refused
from mtl_serve.metrics import ServerMetrics
from mtl_serve.models import Model, Models

logger = logging.getLogger("mtl")

CHECK_SECONDS = 2.0
"""How often the server looks whether the run has a new model."""


def make_application(models: Models, *, token: str | None = None) -> FastAPI:
    """Return the application that serves a run; with `token`, predictions need it as a bearer token."""
    limits, metrics = models.limits, ServerMetrics()

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(models, metrics))
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        models.executor.shutdown(wait=True)

    application = FastAPI(
        title="mtl",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )

    @application.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return _error(error.status, error.reason)

    @application.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail).lower())

    @application.post("/tasks/{task}/predict")
    async def predict(task: str, request: Request) -> Response:
        started, status, rows = perf_counter(), 500, 0
        model = models.current
        try:
            _require_token(request, token)
            if task not in model.batchers:
                raise Refused(
                    404, f"no task is called {task!r:.80}; this run has {', '.join(model.batchers)}"
                )
            given = _rows(await _body(request, limits), limits)
            rows = len(given)
            answers = await model.batchers[task].predict(given)
            bad = next(((n, each["error"]) for n, each in enumerate(answers) if "error" in each), None)
            if bad is not None:
                raise Refused(422, f"row {bad[0] + 1}: {bad[1]}")
            status = 200
            return _json({"predictions": answers})
        except Refused as error:
            status = error.status
            raise
        except MtlError as error:
            status = 422
            raise Refused(status, " ".join(str(error).split())[:500]) from error
        finally:
            metrics.add(task if task in model.batchers else "", status, rows, perf_counter() - started)

    @application.get("/health")
    async def health() -> Response:
        return _json({"status": "ok", "run": models.folder.name, "tasks": list(models.current.batchers)})

    @application.get("/metrics")
    async def show_metrics() -> PlainTextResponse:
        text = metrics.render(models.current)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @application.get("/openapi.json")
    async def schema() -> Response:
        return _json(openapi(models.current, limits, secured=token is not None))

    @application.get("/docs")
    async def documentation() -> HTMLResponse:
        return _page("docs.html")

    @application.get("/")
    async def try_it() -> HTMLResponse:
        return _page("index.html")

    return application


async def _watch(models: Models, metrics: ServerMetrics) -> None:
    """Load a new model of the run when there is one; requests that have begun keep theirs."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            if await asyncio.to_thread(models.reload):
                metrics.reloads += 1
                logger.warning("%s: serves its new model", models.folder)
        except (MtlError, OSError) as error:
            logger.warning("the model of before is served on: %s", error)


def _require_token(request: Request, token: str | None) -> None:
    given = request.headers.get("authorization", "")
    if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise Refused(401, "a bearer token is needed: `Authorization: Bearer TOKEN`")


async def _body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request, and read no more of it than is allowed."""
    too_large = Refused(413, f"a body must not be larger than {limits.body_bytes:,} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                body += part
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"the body did not come within {limits.seconds:g} seconds") from None
    return bytes(body)


def _rows(body: bytes, limits: Limits) -> list[dict[str, Any]]:
    """Return the rows of a request. Raises `Refused` for anything else."""
    try:
        given = json.loads(body, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"the body must be JSON: {str(error)[:200]}") from None
    if not isinstance(given, dict) or given.keys() != {"rows"}:
        raise Refused(422, 'the body must be an object with `rows`, as in {"rows": [{"text": "…"}]}')
    rows = given["rows"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(422, '`rows` must be a list of objects, as in [{"text": "…"}]')
    if len(rows) > limits.rows:
        raise Refused(413, f"a request must not have more than {limits.rows:,} rows, but has {len(rows):,}")
    return rows


def _not_finite(number: str) -> float:
    raise ValueError(f"{number} is no number of JSON")


def _json(value: Any, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, media_type="application/json")


def _error(status: int, reason: str) -> JSONResponse:
    safe = " ".join(reason.split()).encode("utf-8", "replace").decode()
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": safe}, status, headers)


def _page(name: str) -> HTMLResponse:
    text = (resources.files("mtl_serve") / "templates" / name).read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def openapi(model: Model, limits: Limits, *, secured: bool) -> dict[str, Any]:
    """Return the description of the server in the form of OpenAPI 3.1."""
    problem = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    errors = {
        "401": "no bearer token",
        "404": "no such task",
        "413": f"more than {limits.body_bytes:,} bytes or {limits.rows:,} rows",
        "422": "a row that cannot be predicted",
        "503": "too many rows are waiting, or it took too long",
    }
    paths: dict[str, Any] = {
        f"/tasks/{name}/predict": {
            "post": {
                "summary": f"Predict for rows of {name}",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _request(model, name, limits)}},
                },
                "responses": {
                    "200": {
                        "description": "a prediction per row",
                        "content": {"application/json": {"schema": _RESPONSE}},
                    },
                    **{
                        status: {"description": what, "content": {"application/json": {"schema": problem}}}
                        for status, what in errors.items()
                        if secured or status != "401"
                    },
                },
            }
        }
        for name in model.batchers
    }
    for path, what in {"/health": "Whether the server is up", "/metrics": "Metrics for Prometheus"}.items():
        paths[path] = {"get": {"summary": what, "responses": {"200": {"description": "OK"}}}}
    security: dict[str, Any] = (
        {
            "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
            "security": [{"token": []}],
        }
        if secured
        else {}
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": f"mtl: {model.folder.name}", "version": "1"},
        "paths": paths,
        **security,
    }


_RESPONSE: Mapping[str, Any] = {
    "type": "object",
    "properties": {"predictions": {"type": "array", "items": {"type": "object"}}},
    "required": ["predictions"],
}
_TYPES: Mapping[str, Any] = {
    "TEXT": {"type": "string"},
    "INTEGER": {"type": "integer"},
    "FLOAT": {"type": "number"},
    "TEXTS": {"type": "array", "items": {"type": "string"}},
    "INTEGERS": {"type": "array", "items": {"type": "integer"}},
}


def _request(model: Model, task: str, limits: Limits) -> dict[str, Any]:
    columns = model.run.task(task).config.input_columns
    row = {
        "type": "object",
        "properties": {column.name: _TYPES.get(column.type.name, {}) for column in columns},
        "required": [column.name for column in columns if not column.may_be_empty],
    }
    return {
        "type": "object",
        "properties": {"rows": {"type": "array", "items": row, "maxItems": limits.rows}},
        "required": ["rows"],
        "additionalProperties": False,
    }
