"""TensorBoard's event files, by torch's writer."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    SummaryWriter = None  # type: ignore[assignment, misc]

from mtl_trackers.tracker import MissingLibrary, Tracker, Value


class TensorBoard(Tracker):
    """Curves per task and metric, confusion matrices as tables, and settings with the final metrics."""

    def start(self, settings: Mapping[str, Value], resumed: bool) -> None:
        if SummaryWriter is None:
            raise MissingLibrary("TensorBoard", "tensorboard")
        folder = self.folder / "tensorboard"
        # Points that come again after a resume would be drawn twice: the files are written anew.
        shutil.rmtree(folder, ignore_errors=True)
        self.writer = SummaryWriter(str(folder))
        self.settings = {name: "" if value is None else value for name, value in settings.items()}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def log_table(self, step: int, name: str, labels: list[str], matrix: list[list[int]]) -> None:
        lines = [["true \\ predicted", *labels], ["---"] + ["--:"] * len(labels)]
        lines += [[label, *map(str, counts)] for label, counts in zip(labels, matrix, strict=True)]
        self.writer.add_text(
            name, "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines), step
        )

    def finish(self, status: str, reason: str, summary: Mapping[str, float]) -> None:
        self.writer.add_text("run/status", f"{status}: {reason}" if reason else status)
        if summary:
            finals = {f"final/{name}": value for name, value in summary.items()}
            self.writer.add_hparams(self.settings, finals, run_name=".")
        self.writer.close()


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
