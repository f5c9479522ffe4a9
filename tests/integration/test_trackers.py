"""What the trackers hold, read back: metrics.jsonl, each value once, also after kills and resumes."""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl import hookimpl
from mtl_trackers.tracker import record_values

Config = dict[str, Any]
Points = list[tuple[str, int, float]]

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trackers' own libraries


class Killed(BaseException):
    """Stands for SIGKILL."""


class KillAt:
    """Ends the process, as it were, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            raise Killed


def recorded(run: Path) -> Points:
    """The numbers of metrics.jsonl, as the trackers name them."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(name, r["step"], value) for r in records for name, value in record_values(r).items()]


def tensorboard_points(run: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return [
        (name, event.step, event.value)
        for name in events.Tags()["scalars"]
        for event in events.Scalars(name)
        if not name.startswith("final/")
    ]


def wandb_records(run: Path) -> Iterator[Any]:
    """Yield the records of an offline run: a log of LevelDB's format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (run / "wandb").glob("offline-run-*/*.wandb")
    data, position, parts = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield Record.FromString(parts)
            parts = b""


def wandb_points(run: Path) -> Points:
    points = []
    for record in wandb_records(run):
        if record.WhichOneof("record_type") == "history":
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            points += [
                (name, int(items["_step"]), value)
                for name, value in items.items()
                if not name.startswith("_")
                and "confusion_matrix" not in name
                and isinstance(value, int | float)
            ]
    return points


def mlflow_points(run: Path) -> Points:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(run.parent / "mlruns").as_uri())
    number = (run / "mlflow-id.txt").read_text().strip()
    return [
        (name, point.step, point.value)
        for name in client.get_run(number).data.metrics
        for point in client.get_metric_history(number, name)
        if not name.startswith("final/")
    ]


def trackio_points(run: Path) -> Points:
    from trackio.sqlite_storage import SQLiteStorage

    name = f"{run.name}-{(run / 'trackio-id.txt').read_text().strip()}"
    return [
        (key, row["step"], value)
        for row in SQLiteStorage.get_logs("mtl", name)
        for key, value in row.items()
        if key not in ("step", "timestamp")
        and isinstance(value, int | float)
        and not key.startswith("final/")
    ]


READERS: dict[str, Callable[[Path], Points]] = {
    "TensorBoard": tensorboard_points,
    "WandB": wandb_points,
    "MLflow": mlflow_points,
    "Trackio": trackio_points,
}
# Speeds of a step that was done again are others than before.
TIMES = re.compile(r"_per_second$|/time/")
LIBRARIES = {"TensorBoard": "tensorboard", "WandB": "wandb", "MLflow": "mlflow", "Trackio": "trackio"}


def logger(name: str, folder: Path) -> Any:
    pytest.importorskip(LIBRARIES[name], reason=f"{name} is not installed")
    settings: dict[str, Any] = {
        "WandB": {"mode": "offline"},
        "MLflow": {"tracking_uri": (folder / "mlruns").as_uri()},
    }
    return {name: settings.get(name, {})}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the libraries within the test's folder, and off the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    if "trackio" in sys.modules:
        monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
        monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_after_two_kills_a_tracker_holds_each_value_once(tiny: Config, tmp_path: Path, name: str) -> None:
    tiny["loggers"] = [logger(name, tmp_path)]
    tiny["trainer"] |= {
        "epochs": 2,
        "checkpoint_every_steps": 3,
        "evaluate_every_steps": 4,
        "report_every_steps": 2,
    }
    run = tmp_path / "run"
    for step, resume in ((5, False), (8, True)):
        with pytest.raises(Killed):
            mtl.train(tiny, output=run, resume=resume, callbacks=[KillAt(step)])
    mtl.train(tiny, output=run, resume=True)
    expected = recorded(run)
    assert {step for _, step, _ in expected} > {2, 4, 6, 8}
    found = READERS[name](run)
    assert sorted(place[:2] for place in found) == sorted(place[:2] for place in expected)
    measured = {place[:2]: place[2] for place in expected if not TIMES.search(place[0])}
    kept = {place[:2]: place[2] for place in found if place[:2] in measured}
    assert kept == pytest.approx(measured, rel=1e-6)


def test_tensorboard_has_settings_final_metrics_and_confusion_matrices(tiny: Config, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tiny["loggers"] = [logger("TensorBoard", tmp_path)]
    result = mtl.train(tiny, output=tmp_path / "run").data
    events = EventAccumulator(str(tmp_path / "run/tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    accuracy = events.Scalars("final/SST2/test/accuracy")[-1].value
    assert accuracy == pytest.approx(result["tasks"]["SST2"]["test"]["accuracy"])
    (table,) = [
        e.tensor_proto.string_val[0] for e in events.Tensors("SST2/test/confusion_matrix/text_summary")
    ]
    matrix = result["tasks"]["SST2"]["test"]["confusion_matrix"]["matrix"]
    rows = [line.split(" | ")[1:] for line in table.decode().splitlines()[2:]]
    assert [[int(cell.strip("| ")) for cell in row] for row in rows] == matrix
    plugins = events.summary_metadata
    assert "_hparams_/session_start_info" in plugins


@pytest.mark.parametrize(
    ("hook", "arguments", "status"),
    [
        ("mtl_run_failed", {"error": ValueError("no such luck")}, "FAILED"),
        ("mtl_run_interrupted", {"signal": 2, "step": 5}, "KILLED"),
        ("mtl_run_ended", {"result": {"tasks": {}, "stopped": None}}, "FINISHED"),
    ],
)
def test_mlflow_knows_how_a_run_ended(tmp_path: Path, hook: str, arguments: Config, status: str) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    from mtl_trackers.config import MLflowConfig
    from mtl_trackers.mlflow_logger import MLflow

    run = tmp_path / "run"
    run.mkdir()
    uri = (tmp_path / "mlruns").as_uri()
    tracker = MLflow(MLflowConfig(tracking_uri=uri), folder=run)
    tracker.mtl_run_started(config={"trainer": {"epochs": 2}, "loggers": ["MLflow"]}, resumed_step=0)
    getattr(tracker, hook)(**arguments)
    found = MlflowClient(tracking_uri=uri).get_run(tracker.id)
    assert found.info.status == status
    assert found.data.params == {"trainer.epochs": "2", "loggers.0": "MLflow"}


@pytest.mark.parametrize("name", READERS)
def test_a_tracker_without_its_library_is_disabled_by_name(
    tiny: Config, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    variable = {
        "TensorBoard": "SummaryWriter",
        "WandB": "wandb",
        "MLflow": "MlflowClient",
        "Trackio": "trackio",
    }
    module = f"mtl_trackers.{name.lower()}_logger"
    monkeypatch.setattr(f"{module}.{variable[name]}", None)
    tiny["loggers"] = [{name: {}}]
    tiny["trainer"]["epochs"] = 1
    assert mtl.train(tiny, output=tmp_path / "run").data["status"] == "completed"
    assert f"pip install 'mtl-trackers[{LIBRARIES[name]}]'" in caplog.text


def test_a_server_that_does_not_answer_ends_no_run(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tiny["loggers"] = [{"MLflow": {"tracking_uri": "http://127.0.0.1:9"}}]
    tiny["trainer"]["epochs"] = 1
    assert mtl.train(tiny, output=tmp_path / "run").data["status"] == "completed"
    assert "MLflow" in caplog.text
