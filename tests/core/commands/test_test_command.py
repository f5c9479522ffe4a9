"""`mtl test`: metrics on standard output, as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_json_holds_every_metric(invoke: Any, loaded: list[Path]) -> None:
    status, out, err = invoke("test", "runs/one", "--json")
    assert (status, err) == (0, "")
    metrics = json.loads(out)
    assert list(metrics) == ["SST2", "LM"]
    assert metrics["SST2"]["confusion_matrix"] == [[4, 0], [1, 3]]


def test_the_table_shows_metrics_that_fit_and_names_the_others(invoke: Any, loaded: list[Path]) -> None:
    out = invoke("test", "runs/one", "--task", "LM")[1]
    assert "SST2" not in out
    assert "0.8750" in out
    assert "[4, 0]" not in out
    assert "only with --json: confusion_matrix" in out


def test_data_is_for_one_task(invoke: Any, loaded: list[Path]) -> None:
    assert invoke("test", "r", "--data", "x.tsv")[::2] == (
        2,
        "mtl: `--task` is needed, one of: SST2, LM\n",
    )
    assert "x.tsv" in invoke("test", "r", "--data", "x.tsv", "--task", "LM")[1]
