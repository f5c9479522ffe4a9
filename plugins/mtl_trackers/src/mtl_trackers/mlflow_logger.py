"""MLflow."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
except ImportError:
    MlflowClient = None  # type: ignore[assignment, misc]

from mtl.runs import write_text
from mtl_trackers.tracker import MissingLibrary, Tracker, Value

_STATUS = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_FORBIDDEN = re.compile(r"[^\w\-. :/]")
_BATCH = 100  # parameters that a server takes at once
_LONGEST = 500  # characters of a parameter that every server takes


class MLflow(Tracker):
    """A run of one id through all resumes; what the server has already is not logged again."""

    def start(self, settings: Mapping[str, Value], resumed: bool) -> None:
        if MlflowClient is None:
            raise MissingLibrary("MLflow", "mlflow")
        self.client = MlflowClient(tracking_uri=self.config.tracking_uri)
        file = self.folder / "mlflow-id.txt"
        if file.exists():
            self.id = file.read_text(encoding="utf-8").strip()
            known = self.client.get_run(self.id)
            self.client.update_run(self.id, status="RUNNING")
        else:
            known = self.client.create_run(self._experiment(), run_name=self.name)
            self.id = known.info.run_id
            write_text(file, f"{self.id}\n")
            self._log_parameters(settings)
        self.logged = {
            (name, point.step)
            for name in known.data.metrics
            for point in self.client.get_metric_history(self.id, name)
        }

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.config.experiment)
        return found.experiment_id if found else self.client.create_experiment(self.config.experiment)

    def _log_parameters(self, settings: Mapping[str, Value]) -> None:
        parameters = [Param(_name(key), str(value)[:_LONGEST]) for key, value in settings.items()]
        for start in range(0, len(parameters), _BATCH):
            self.client.log_batch(self.id, params=parameters[start : start + _BATCH])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        named = {_name(name): value for name, value in values.items()}
        new = {name: value for name, value in named.items() if (name, step) not in self.logged}
        if new:
            points = [Metric(name, value, now, step) for name, value in new.items()]
            self.client.log_batch(self.id, metrics=points)

    def log_table(self, step: int, name: str, labels: list[str], matrix: list[list[int]]) -> None:
        self.client.log_dict(self.id, {"labels": labels, "matrix": matrix}, f"{_name(name)}/step-{step}.json")

    def finish(self, status: str, reason: str, summary: Mapping[str, float]) -> None:
        if reason:
            self.client.set_tag(self.id, "reason", reason[:_LONGEST])
        self.log(0, {f"final/{name}": value for name, value in summary.items()})
        self.client.set_terminated(self.id, _STATUS[status])


def _name(name: str) -> str:
    """Return a name with the characters that MLflow allows."""
    return _FORBIDDEN.sub("_", name.replace("[", ".").replace("]", ""))
