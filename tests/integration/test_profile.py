"""`--profile`: a trace, and the largest costs by phase."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

import mtl
from mtl.training import profile as profiling
from mtl.training.profile import Profiler, largest_costs


def test_costs_are_those_of_their_phase() -> None:
    square = torch.randn(300, 300)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as recorded:
        with record_function("forward"):
            for _ in range(3):
                square.mm(square)
        with record_function("optimizer"):
            square.exp()
        square.mm(square)
    costs = {(cost.phase, cost.operation): cost for cost in largest_costs(recorded.events(), 100)}
    assert costs["forward", "aten::mm"].calls == 3 and costs["other", "aten::mm"].calls == 1
    assert ("optimizer", "aten::exp") in costs
    assert sum(cost.share for cost in costs.values()) == pytest.approx(1.0)
    assert len(largest_costs(recorded.events(), 2)) == 2


def test_a_run_leaves_its_trace_and_costs(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "WARM_UP_STEPS", 2)
    monkeypatch.setattr(profiling, "PROFILED_STEPS", 4)
    profiler = Profiler(tmp_path / "profile")
    plain = mtl.train(config, output=tmp_path / "plain").data
    watched = mtl.train(config, output=tmp_path / "run", callbacks=[profiler]).data
    assert watched["best"] == plain["best"]
    trace = json.loads((tmp_path / "profile/trace.json").read_text())
    named = [event["name"] for event in trace["traceEvents"]]
    assert all(named.count(phase) >= 4 for phase in ("data", "forward", "backward", "optimizer"))
    costs = json.loads((tmp_path / "profile/costs.json").read_text())
    assert len(costs) == 10 and {cost["phase"] for cost in costs} >= {"forward", "backward"}
    assert all(0 < cost["share"] < 1 and cost["calls"] > 0 for cost in costs)


def test_a_run_that_is_shorter_says_so(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config["trainer"] = {"max_steps": 3}
    mtl.train(config, output=tmp_path / "run", callbacks=[Profiler(tmp_path / "profile")])
    assert "no profile" in caplog.text and not (tmp_path / "profile").exists()
