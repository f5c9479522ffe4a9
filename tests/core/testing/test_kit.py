"""The kit from its three sides: functions, the command and pytest; and its reference."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mtl.testing
from mtl.commands import main
from mtl.plugins import Plugins, discover
from mtl.testing import CheckError, check_component, check_representation, check_task
from mtl.testing.trials import all_rules, distribution_trials

ROOT = Path(__file__).resolve().parents[3]
SRC = ROOT / "tests/integration/acme_ratings/src"
ROWS = "text\trating\n" + "".join(
    f"a {word} film\t{stars}\n" for stars, word in enumerate(["dull", "weak", "good", "great"] * 3, 1)
)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    """The third party's plugin of the integration tests, beside ours."""
    monkeypatch.syspath_prepend(str(SRC))
    plugins = discover(blocked=[])
    plugins.register(importlib.import_module("acme_ratings.plugin"), "acme-ratings", "1.2.0")
    yield plugins
    for name in [name for name in sys.modules if name.startswith("acme_ratings")]:
        del sys.modules[name]


def test_every_name_of_the_kit_is_there() -> None:
    assert all(callable(getattr(mtl.testing, name)) for name in mtl.testing.__all__)


def test_importing_the_kit_and_its_pytest_plugin_brings_no_torch() -> None:
    code = (
        "import sys; import mtl.testing.pytest_plugin;"
        "heavy = {'torch', 'polars', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_third_partys_components_pass(acme: Plugins) -> None:
    assert check_representation("AcmeGRU", config={"hidden_dim": 5}, plugins=acme)
    checks = check_task(
        "RatingTask", files={"rows.tsv": ROWS}, config={"data": {"train_path": "rows.tsv"}}, plugins=acme
    )
    assert {check.outcome for check in checks} == {"passed"}


def test_an_error_has_a_line_for_each_failed_check(acme: Plugins) -> None:
    with pytest.raises(CheckError) as caught:
        check_component("representation", "AcmeGRU", config={"hidden_dim": 0, "size": 1}, plugins=acme)
    [check] = caught.value.checks
    assert str(caught.value) == str(check)
    assert "representation.AcmeGRU.hidden_dim" in check.message and "size" in check.message


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, acme: Plugins) -> Plugins:
    monkeypatch.setattr("mtl.plugins.discover", lambda: acme)
    return acme


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "rows.tsv").write_text(ROWS)
    task = {"RatingTask": {"data": {"train_path": "rows.tsv"}}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"tasks": {"Ratings": task}}))
    return path


def test_the_command_passes_a_sound_plugin(
    installed: Plugins, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", "check", "acme-ratings", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("task RatingTask", "representation AcmeGRU", "all checks passed"))


def test_a_trial_writes_nothing_that_the_config_names(installed: Plugins, config: Path) -> None:
    settings = json.loads(config.read_text())
    task = settings["tasks"]["Ratings"]["RatingTask"]
    weights = {"save_path": "saved.safetensors"}
    task["representation"] = {"BiLSTMDocAttention": {"lstm": {"AcmeGRU": weights}}}
    task["features"] = {"save_path": "features.safetensors"}
    config.write_text(json.dumps(settings))
    before = set(config.parent.iterdir())
    with distribution_trials(installed, "acme-ratings", config) as trials:
        assert {check.outcome for trial in trials[1:] for check in trial.run()} == {"passed"}
    assert set(config.parent.iterdir()) == before


def test_the_command_fails_a_plugin_and_says_why(
    installed: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", "check", "acme-ratings"]) == 1
    out = capsys.readouterr().out
    assert "failed: task RatingTask: trains" in out and "it has no rows to be tried on" in out
    assert "1 check failed" in out
    assert main(["plugins", "check", "acme-ratings", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is False and told["distribution"] == "acme-ratings"
    [failed] = [check for check in told["checks"] if check["outcome"] == "failed"]
    assert failed["name"] == "trains"


def test_the_command_knows_no_such_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "acme-rating"]) == 2
    assert "no installed distribution called `acme-rating`" in capsys.readouterr().err


# --- pytest ----------------------------------------------------------------------------------------


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "mtl.testing.pytest_plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-W", "error", "--rootdir", str(folder), "-v", *options, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_pytest_has_a_test_for_each_component(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--mtl-check", "pytext-mtl", "-k", "schedule or balancer")
    assert done.returncode == 0, done.stdout
    assert "mtl::pytext-mtl::schedule RoundRobin PASSED" in done.stdout
    assert "mtl::pytext-mtl::balancer StaticWeights PASSED" in done.stdout


def test_pytest_says_what_failed_without_a_traceback(tmp_path: Path) -> None:
    info = tmp_path / "acme_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mtl.plugins]\nacme = acme_parts_plugin\n")
    (tmp_path / "acme_parts_plugin.py").write_text("mtl_api = '>=1'\n")
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    done = run_pytest(tmp_path, "-o", f"pythonpath={tmp_path}", "--mtl-check", "acme-parts")
    assert done.returncode == 1
    assert "mtl::acme-parts::acme-parts FAILED" in done.stdout and "1 failed, 1 passed" in done.stdout
    assert "acme-parts: bounds_its_api: `mtl_api` of acme" in done.stdout
    assert "Traceback" not in done.stdout and "checks.py" not in done.stdout


def test_pytest_without_the_options_is_unaffected(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\ndef test_nothing(): assert 'torch' not in sys.modules\n"
    )
    assert "1 passed" in run_pytest(tmp_path).stdout


# --- the reference ---------------------------------------------------------------------------------


def test_the_reference_has_every_check_in_its_words() -> None:
    text = (ROOT / "docs/plugin-kit.md").read_text()
    named = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", text, re.M)
    rules = {(rule.name, rule.asks, rule.why) for group in all_rules().values() for rule in group}
    assert {(name, asks, why) for name, asks, why in named} == rules


def test_every_rule_has_a_planted_defect() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_planted*.py"))
    missing = [rule.name for group in all_rules().values() for rule in group if f'"{rule.name}"' not in tests]
    assert missing == []
