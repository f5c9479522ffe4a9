"""A plugin from outside the workspace, installed with pip into a fresh environment, beside ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = ("core", "plugins/mtl_text", "pytext_plugins_sst", "pytext_plugins_lm")
Mtl = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment with mtl, our plugins and the third party's."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    sources = [ROOT / name for name in DISTRIBUTIONS] + [Path(__file__).parent / "acme_ratings"]
    command = [folder / "bin/python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *sources]
    installed = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def mtl(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Mtl:
    """Run a command of the fresh environment, away from the checkout."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MTL_"))}

    def run(*arguments: object, stdin: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [str(environment / "mtl"), *map(str, arguments)]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=elsewhere,
            env=variables | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def config(mtl: Mtl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings by the third party's task, and our language model over the third party's GRU."""
    folder = tmp_path_factory.mktemp("ratings")
    rows = [
        (f"a {word} film", stars) for stars, word in enumerate(["dull", "weak", "fair", "good", "great"], 1)
    ]
    (folder / "ratings.tsv").write_text(
        "text\trating\n" + "".join(f"{text}\t{stars}\n" for text, stars in rows * 8)
    )
    (folder / "lines.txt").write_text("".join(f"{text} is a {text} .\n" for text, _ in rows * 8))
    shared = {"shared_module_key": "WORDS"}
    config: dict[str, Any] = {
        "target_task": "Ratings",
        "tasks": {
            "Ratings": {
                "RatingTask": {
                    "batch_size": 8,
                    "data": dict.fromkeys(("train_path", "eval_path", "test_path"), "ratings.tsv"),
                    "features": shared,
                    "representation": {
                        "BiLSTMDocAttention": {
                            "lstm": {"AcmeGRU": {"shared_module_key": "GRU", "hidden_dim": 8}}
                        }
                    },
                }
            },
            "LM": {
                "LMTask": {
                    "data": dict.fromkeys(("train_path", "eval_path"), "lines.txt"),
                    "features": shared,
                    "representation": {"acme-ratings:AcmeGRU": {"shared_module_key": "GRU"}},
                }
            },
        },
        "trainer": {"epochs": 4, "optimizer": {"Adam": {"lr": 0.02}}},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def run(mtl: Mtl, config: Path) -> Path:
    folder = config.parent / "run"
    mtl("train", config, "--output", folder)
    return folder


def test_c6_a_third_partys_components_train_beside_ours(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["best"]["metric"] == "Ratings.mean_squared_error"
    first = next(
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"eval"' in line
    )
    assert result["tasks"]["Ratings"]["eval"]["loss"] < first["loss"]
    assert result["tasks"]["LM"]["eval"]["perplexity"] > 1


def test_test_and_predict_work_on_it(mtl: Mtl, run: Path) -> None:
    tested = json.loads(mtl("test", run, "--json").stdout)
    assert tested["Ratings"]["mean_squared_error"] >= 0
    lines = mtl("predict", run, "--task", "Ratings", stdin="a great film\na dull film\n").stdout.splitlines()
    assert len(lines) == 2 and all("rating" in json.loads(line) for line in lines)


def test_plan_shows_the_shared_gru(mtl: Mtl, config: Path) -> None:
    planned = json.loads(mtl("plan", config, "--json").stdout)
    gru = next(module for module in planned["modules"] if module["key"] == "GRU")
    assert gru["component"] == "AcmeGRU" and len(gru["users"]) == 2
    assert planned["tasks"]["Ratings"]["distribution"] == "acme-ratings"


def test_plugins_and_schema_name_it(mtl: Mtl, config: Path) -> None:
    listed = json.loads(mtl("plugins", "--json").stdout)["plugins"]
    acme = next(plugin for plugin in listed if plugin["distribution"] == "acme-ratings")
    assert acme["version"] == "1.2.0" and acme["state"] == "ok"
    assert "hidden_dim" in mtl("plugins", "show", "AcmeGRU").stdout
    assert "AcmeGRU" in mtl("config", "schema").stdout


def test_what_does_not_fit_a_slot_is_refused_with_both_declarations(mtl: Mtl, config: Path) -> None:
    override = 'tasks.Ratings.RatingTask.representation={"AcmeGRU": {}}'
    message = mtl("config", "validate", config, "--set", override, status=2).stderr
    assert "AcmeGRU" in message and "sequence" in message and "document" in message


def test_a_blocked_plugin_is_named_where_it_is_needed(environment: Path, config: Path) -> None:
    blocked = os.environ | {"MTL_BLOCK_PLUGINS": "acme-ratings"}
    done = subprocess.run(
        [environment / "mtl", "config", "validate", config], capture_output=True, text=True, env=blocked
    )
    assert done.returncode == 2
    assert "RatingTask" in done.stderr and "blocked" in done.stderr
