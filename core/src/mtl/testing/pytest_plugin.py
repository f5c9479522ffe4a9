"""The kit as a pytest plugin: `pytest --mtl-check DISTRIBUTION` checks an installed plugin, with one test for
the distribution and one per component. Imports torch only if it is used."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mtl.testing.checks import CheckError, require

if TYPE_CHECKING:
    from mtl.testing.trials import Trial

_TRIALS = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    group = parser.getgroup("mtl", "mtl plugins")
    group.addoption(
        "--mtl-check",
        action="append",
        default=[],
        metavar="DISTRIBUTION",
        help="Check this installed distribution's mtl plugins and components.",
    )
    group.addoption(
        "--mtl-config", metavar="FILE", help="Check components with their settings in this run config."
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the tests of the kit to those that were found."""
    distributions = config.getoption("--mtl-check")
    if not distributions:
        return
    from mtl.plugins import discover
    from mtl.testing.trials import distribution_trials

    file = config.getoption("--mtl-config")
    config.stash[_TRIALS] = stack = ExitStack()
    plugins = discover()
    path = Path(file).absolute() if file else None
    added: list[pytest.Item] = [
        TrialItem.from_parent(
            session, name=trial.label, nodeid=f"mtl::{distribution}::{trial.label}", trial=trial
        )
        for distribution in distributions
        for trial in stack.enter_context(distribution_trials(plugins, distribution, path))
    ]
    items += added
    # Whoever counts what was collected counts by these reports.
    report = pytest.CollectReport("mtl", "passed", None, list(added))
    config.hook.pytest_collectreport(report=report)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the files of the trials."""
    if _TRIALS in config.stash:
        config.stash[_TRIALS].close()


class TrialItem(pytest.Item):
    """The checks of one subject as a test."""

    def __init__(self, *, trial: Trial, **options: Any) -> None:
        super().__init__(**options)
        self.trial = trial

    def runtest(self) -> None:
        """Run all checks of the subject."""
        require(self.trial.run())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what failed, without a traceback into the kit."""
        return str(excinfo.value) if isinstance(excinfo.value, CheckError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the location for reports; a trial is in no file."""
        return self.path, None, self.nodeid
