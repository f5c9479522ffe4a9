"""From a folder to the file."""

from __future__ import annotations

from pathlib import Path

from mtl import MtlError, UsageError
from mtl.runs import write_text
from mtl_report.comparison import COMPARISON, comparison_page
from mtl_report.records import read_run
from mtl_report.run import run_page


def write_report(folder: Path | str, output: Path | str | None = None, *, data: bool = True) -> Path:
    """Write the report of a run folder, or of a folder of `mtl compare`; gives the file.

    `output` is `folder/report.html` if absent. Without `data` no data file is read, and no row of one
    is in the report.

    Raises `UsageError` where the folder is neither or is damaged, `MtlError` where the report cannot
    be written.
    """
    folder = Path(folder).absolute()
    path = Path(output) if output is not None else folder / "report.html"
    if (folder / COMPARISON).is_file():
        text = comparison_page(folder)
    elif (folder / "config.json").is_file():
        text = run_page(read_run(folder), data=data)
    else:
        raise UsageError(
            f"{folder}: must be a run folder, with a config.json,"
            f" or a comparison, with a {COMPARISON}, but has neither"
        )
    try:
        write_text(path, text)
    except OSError as error:
        raise MtlError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path
