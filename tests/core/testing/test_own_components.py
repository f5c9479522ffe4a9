"""Everything that is installed from this workspace passes the kit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mtl import ColumnSpec
from mtl.plugins import discover
from mtl.testing import check_data_source
from mtl.testing.kit import check_component
from mtl.testing.trials import Trial, distribution_trials

OWN = ("pytext-mtl", "mtl-text", "mtl-balance", "mtl-trackers", "pytext-plugins-sst", "pytext-plugins-lm")


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "Dynamic": ("schedule", {"goals": {"First": 0.9, "Second": 0.5}}),
    "Stepwise": (
        "schedule",
        {"stages": [{"from_step": 0, "weights": {"First": 3}}, {"from_step": 5, "weights": {}}]},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def trackers_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the trackers write by default in a folder of the tests."""
    home = tmp_path_factory.mktemp("trackers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_TRACKING_URI", (home / "mlruns").as_uri())
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("TRACKIO_DIR", str(home / "trackio"))
        yield


@pytest.fixture(scope="module")
def trials() -> Iterator[dict[str, Trial]]:
    plugins = discover(blocked=[])
    with ExitStack() as stack:
        yield {
            f"{distribution}: {trial.label}": trial
            for distribution in OWN
            for trial in stack.enter_context(distribution_trials(plugins, distribution))
        }


def labels() -> list[str]:
    plugins = discover(blocked=[])
    with ExitStack() as stack:
        return [
            f"{distribution}: {trial.label}"
            for distribution in OWN
            for trial in stack.enter_context(distribution_trials(plugins, distribution))
        ]


@pytest.mark.parametrize("label", labels())
def test_our_own_pass(label: str, trials: dict[str, Trial]) -> None:
    checks = list(trials[label].run())
    assert [str(check) for check in checks if check.outcome == "failed"] == []
    lacking = [str(check) for check in checks if check.outcome == "skipped"]
    assert not lacking or "data source" in label or label.split()[-1] in SETTINGS  # they are below
    assert len(checks) >= 7 or lacking


@pytest.mark.parametrize("name", SETTINGS)
def test_those_that_need_settings_pass_with_them(name: str) -> None:
    kind, settings = SETTINGS[name]
    checks = check_component(kind, name, config=settings)
    assert {check.outcome for check in checks} == {"passed"} and len(checks) >= 7


ROWS = {
    "TSV": "text\tlabel\na fine film\t1\na dull one\t0\n",
    "JSONL": '{"text": "a fine film", "label": "1"}\n{"text": "a dull one", "label": "0"}\n',
    "TextLines": "a fine film\n\na dull one\n",
}


@pytest.mark.parametrize("name", ROWS)
def test_our_data_sources_pass_with_a_file(name: str) -> None:
    label = [] if name == "TextLines" else [ColumnSpec("label", input=False)]
    checks = check_data_source(
        name, files={"rows": ROWS[name]}, config={"train_path": "rows"}, columns=[ColumnSpec("text"), *label]
    )
    assert {check.outcome for check in checks} == {"passed"}
