"""What a task's time went into, since the last report."""

from __future__ import annotations

import pytest

from mtl.training.state import TIMED, TaskProgress, TrainingState
from mtl.training.timing import StageTimer


def test_time_counts_for_the_tasks_of_a_step_in_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 10.0, 12.0])
    monkeypatch.setattr("mtl.training.timing.perf_counter", lambda: next(clock))
    state = TrainingState({"A": TaskProgress(), "B": TaskProgress()})
    with StageTimer(state, "optimizer", "A", "B"):
        pass
    with StageTimer(state, "data", "A"):
        pass
    assert (state.seconds["optimizer"], state.seconds["data"]) == (4.0, 2.0)
    shares = {name: 0.0 for name in TIMED}
    assert state.tasks["A"].report()["time"] == {**shares, "optimizer": 0.5, "data": 0.5}
    assert state.tasks["B"].report()["time"] == {**shares, "optimizer": 1.0}
    assert state.tasks["A"].report()["time"] == shares, "a report begins anew"


def test_a_state_with_other_times_is_refused() -> None:
    state = TrainingState({"A": TaskProgress()})
    stored = state.to_json()
    for time in ({}, {**stored["tasks"]["A"]["time"], "data": "1"}, [1.0]):
        stored["tasks"]["A"]["time"] = time
        with pytest.raises(ValueError, match="time of A cannot be"):
            state.restore(stored, state.tensors())
