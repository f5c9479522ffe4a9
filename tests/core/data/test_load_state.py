"""What a model folder says that was learned is checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mtl.components import ComponentSpec
from mtl.data.load import SharedFeaturizer, Tasks
from mtl.errors import ComponentError, DataError
from mtl.fields import Component


class Learner:
    """A featurizer or task as far as its state goes."""

    words: Any = None

    def load_state(self, state: Mapping[str, Any]) -> None:
        if not state["words"]:
            raise DataError("`words` must not be empty")
        self.words = state["words"]


def load(state: Any) -> Tasks:
    learner: Any = Learner
    component = Component("", "", ComponentSpec(name="Learner", config="", factory=""), None)
    shared = SharedFeaturizer(learner(), component, ["A"])
    tasks = Tasks({"A": learner()}, {"A.words": shared}, {"A": component})
    tasks.load_state({"tasks": {"A": {"words": ["x"]}}, "featurizers": state})
    return tasks


def test_each_restores_its_own_state() -> None:
    tasks = load({"A.words": {"words": ["y"]}})
    assert tasks.featurizers["A.words"].featurizer.words == ["y"]  # type: ignore[attr-defined]
    assert tasks.tasks["A"].words == ["x"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({}, DataError, "featurizers.A.words: must be an object of what was learned, but is null"),
        ({"A.words": [1]}, DataError, r"featurizers.A.words: must be an object .*, but is \[1\]"),
        ({"A.words": {"words": []}}, DataError, "featurizers.A.words: `words` must not be empty"),
        ({"A.words": {}}, ComponentError, "Learner .* failed to restore what it had learned: KeyError"),
    ],
)
def test_what_is_no_state_is_refused_by_its_place(state: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(state)
