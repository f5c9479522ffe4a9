"""Real distributions, installed with pip, that are wrong in every way: they disturb nobody but their
own users, and those are told what is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HEAD = """
from mtl import ComponentSpec, hookimpl
mtl_api = ">=1,<2"
"""
BRINGS = """
@hookimpl
def mtl_representations():
    config, factory = "{module}_parts:Config", "{module}_model:Model"
    return [ComponentSpec(name="{name}", config=config, factory=factory, summary="An encoder")]
"""
PARTS = """
from mtl import Direction, Output, RepresentationConfig, configclass, option

@configclass
class Config(RepresentationConfig):
    '''A GRU from left to right.'''
    dim: int = option(6, "Width.", minimum=1)
    output = Output.SEQUENCE
    direction = Direction.CAUSAL
    def output_dim(self, input_dim):
        return self.dim
"""
MODEL = """
import torch
class Model(torch.nn.Module):
    def __init__(self, config, build, *, input_dim):
        super().__init__()
        self.gru = torch.nn.GRU(input_dim, config.dim, batch_first=True)
    def forward(self, embedded, lengths):
        inside = torch.arange(embedded.shape[1]) < lengths[:, None]
        return self.gru(embedded)[0] * inside[..., None]
"""
LOUD = "print('loud'); import sys; print('loud', file=sys.stderr)\n"
LOUD_MODEL = MODEL.replace("        inside =", "        print('loud')\n        inside =")
ANNOTATIONS = PARTS.replace("dim: int", "dim: Nowhere").replace(
    "\nfrom mtl", "\nfrom __future__ import annotations\nfrom mtl"
)
WATCHES = """
import sys
@hookimpl
def mtl_run_started(folder, config, plan):
    import torch
    print("loud")
    config.clear()
    plan.clear()
    torch.manual_seed(99)
@hookimpl
def mtl_step_ended(step):
    raise RuntimeError("no step today")
@hookimpl
def mtl_recorded(record):
    record.clear()
@hookimpl
def mtl_evaluated(tasks, selection):
    sys.exit(5)
@hookimpl
def mtl_run_ended(result):
    result.clear()
"""
COMMANDS = """
@hookimpl
def mtl_commands(app):
    raise RuntimeError("no commands today")
"""


def bring(name: str, module: str) -> str:
    return HEAD + BRINGS.format(name=name, module=module)


BAD: Mapping[str, Mapping[str, str]] = {
    "acme-raises": {"": "raise RuntimeError('no licence file')"},
    "acme-exits": {"": "import sys; sys.exit(3)"},
    "acme-future": {"": bring("Future", "acme_future").replace(">=1,<2", ">=2,<3")},
    "acme-hook": {"": HEAD + BRINGS.split("    config")[0] + "    raise RuntimeError('no hook today')"},
    "acme-hook-exits": {"": HEAD + BRINGS.split("    config")[0] + "    raise SystemExit(4)"},
    "acme-missing": {},
    "acme-metadata": {"": bring("Metadata", "acme_metadata")},
    "acme-one": {"": bring("Twin", "acme_one"), "_parts": PARTS, "_model": MODEL},
    "acme-two": {"": bring("Twin", "acme_two"), "_parts": PARTS, "_model": MODEL},
    "acme-loud": {
        "": LOUD + bring("Loud", "acme_loud").replace("    config", "    print('loud')\n    config"),
        "_parts": LOUD + PARTS.replace("        return", "        print('loud')\n        return"),
        "_model": LOUD + LOUD_MODEL,
    },
    "acme-slow": {"": "import time; time.sleep(0.3)\n" + bring("Slow", "acme_slow"), "_parts": PARTS},
    "acme-warns": {
        "": "import warnings; warnings.warn('old', DeprecationWarning); warnings.warn('odd')\n"
        + bring("Warns", "acme_warns")
    },
    "acme-annotations": {"": bring("Annotations", "acme_annotations"), "_parts": ANNOTATIONS},
    "acme-default": {
        "": bring("Default", "acme_default"),
        "_parts": PARTS.replace("option(6", "option(object()"),
    },
    "acme-factory": {
        "": bring("Factory", "acme_factory"),
        "_parts": "import attrs\n" + PARTS.replace("option(6", "option(attrs.Factory(lambda: 1 / 0)"),
    },
    "acme-config": {
        "": bring("Config", "acme_config"),
        "_parts": PARTS + "    def __attrs_post_init__(self): raise KeyError('oh')",
    },
    "acme-declares": {
        "": bring("Declares", "acme_declares"),
        "_parts": PARTS.replace("    output =", "    output = property(lambda self: 1 / 0) #"),
    },
    "acme-import": {"": bring("Import", "acme_import"), "_parts": "import sys; sys.exit(6)"},
    "acme-model": {
        "": bring("Model", "acme_model"),
        "_parts": PARTS,
        "_model": "raise RuntimeError('no kernel')",
    },
    "acme-watches": {"": HEAD + WATCHES},
    "acme-commands": {"": HEAD + COMMANDS},
}
"""The modules of each distribution, by what follows its name in theirs."""


def project(folder: Path, distribution: str, modules: Mapping[str, str], version: str = "0.3.1") -> Path:
    """The source of a distribution with one plugin."""
    module = distribution.replace("-", "_")
    source = folder / distribution
    source.mkdir(parents=True)
    names = [f"{module}{suffix}.py" for suffix in modules] or ["nothing.txt"]
    for name, text in zip(names, modules.values() or [""], strict=True):
        (source / name).write_text(text)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{distribution}"\nversion = "{version}"\ndependencies = ["pytext-mtl"]\n'
        f'[project.entry-points."mtl.plugins"]\n{module} = "{module}"\n'
        f"[tool.hatch.build.targets.wheel]\nonly-include = {json.dumps(names)}\n"
    )
    return source


def install(target: Path, *projects: Path) -> Path:
    options = "--quiet --no-deps --no-index --no-build-isolation --disable-pip-version-check".split()
    command = [sys.executable, "-m", "pip", "install", *options, "--target", target, *projects]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with all bad distributions."""
    folder = tmp_path_factory.mktemp("bad")
    target = install(folder / "site", *(project(folder, name, modules) for name, modules in BAD.items()))
    (target / "acme_metadata-0.3.1.dist-info/entry_points.txt").write_text("[mtl.plugins\nacme_metadata")
    return target


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with a third party's task and encoder, that are as they should be."""
    target = tmp_path_factory.mktemp("good")
    return install(target / "site", Path(__file__).parent / "acme_ratings")


Mtl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def mtl(tmp_path_factory: pytest.TempPathFactory) -> Mtl:
    """Runs a command in a process of its own, with more folders of packages."""
    here = tmp_path_factory.mktemp("here")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MTL_"))}

    def run(
        *arguments: object, sites: list[Path] | None = None, stdin: str = "", status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(map(str, sites or []))
        done = subprocess.run(
            [sys.executable, "-m", "mtl", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=here,
            env=variables | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def ours(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that names nothing but ours."""
    words = {"shared_module_key": "WORDS", "word_feat": {"embed_dim": 6}}
    config: dict[str, Any] = {
        "base_dir": str(corpus),
        "target_task": "SST2",
        "tasks": {
            "SST2": {
                "DocClassificationTask": {
                    "data": {"train_path": "SST-2/train.tsv", "eval_path": "SST-2/dev.tsv"},
                    "features": words,
                    "representation": {"BiLSTMDocAttention": {"lstm": {"shared_module_key": "LSTM"}}},
                }
            },
            "LM": {
                "LMTask": {
                    "data": dict.fromkeys(("train_path", "eval_path"), "wikitext-2/wiki.valid.tokens"),
                    "features": {"shared_module_key": "WORDS"},
                    "representation": {"shared_module_key": "LSTM", "lstm_dim": 4},
                }
            },
        },
        "trainer": {"epochs": 2},
        "device": "cpu",
    }
    path = tmp_path_factory.mktemp("ours") / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture(scope="session")
def alone(mtl: Mtl, ours: Path) -> Path:
    """A run where nothing bad is installed."""
    folder = ours.parent / "alone"
    mtl("train", ours, "--output", folder)
    return folder


@pytest.fixture(scope="session")
def beside(mtl: Mtl, ours: Path, bad: Path) -> tuple[Path, str]:
    """The same run where all bad distributions are, and what it said on standard error."""
    folder = ours.parent / "beside"
    return folder, mtl("train", ours, "--output", folder, sites=[bad]).stderr


# --- whoever does not use them -------------------------------------------------------------------


def outcome(folder: Path) -> Any:
    """What a run found, without what a clock and a machine say."""
    result = json.loads((folder / "result.json").read_text())
    del result["seconds"], result["peak_rss_bytes"], result["provenance"]
    for task in result["tasks"].values():
        del task["examples_per_second"], task["words_per_second"]
    return result


def test_c8_training_is_the_same_to_the_bit(alone: Path, beside: tuple[Path, str]) -> None:
    folder, said = beside
    assert outcome(folder) == outcome(alone)
    for name in ("model/weights.safetensors", "model/config.json", "config.json", "model/versions.json"):
        assert (folder / name).read_bytes() == (alone / name).read_bytes()
    assert said.count("acme-watches:acme_watches raised an exception in mtl_step_ended and was disabled") == 1


@pytest.mark.parametrize("command", [("config", "show"), ("plan", "--json")])
def test_c8_what_a_config_means_is_the_same(
    command: tuple[str, ...], mtl: Mtl, ours: Path, bad: Path
) -> None:
    words = (*command[:1], ours, *command[1:]) if command[0] == "plan" else (*command, ours)
    assert mtl(*words, sites=[bad]).stdout == mtl(*words).stdout


def test_c8_answers_are_the_same(mtl: Mtl, alone: Path, bad: Path) -> None:
    ask = ("predict", alone, "--task", "SST2")
    rows = "a warm and funny film\na dull one\n"
    assert mtl(*ask, stdin=rows, sites=[bad]).stdout == mtl(*ask, stdin=rows).stdout


def test_c8_our_definitions_in_the_schema_are_the_same(mtl: Mtl, bad: Path) -> None:
    without = json.loads(mtl("config", "schema").stdout)["$defs"]
    beside = json.loads(mtl("config", "schema", sites=[bad]).stdout)["$defs"]
    theirs = {name: schema for name, schema in beside.items() if ".acme-" in name}
    whole = {name.rpartition(".")[2] for name, schema in theirs.items() if "properties" in schema}
    assert whole == {"Twin", "Loud", "Slow", "Config", "Declares", "Model"}
    assert set(without) == set(beside) - set(theirs)
    for name in ("decoder.mtl-text.MLPDecoder", "representation.mtl-text.DocNN"):  # without slots
        assert beside[name] == without[name]


# --- where they are seen -------------------------------------------------------------------------


STATES = {
    "acme-raises": ("broken", "RuntimeError: no licence file"),
    "acme-exits": ("broken", "SystemExit: 3"),
    "acme-future": ("incompatible", "it is for plugin API >=2,<3, but this is 1.0"),
    "acme-hook": ("broken", "`mtl_representations` failed: RuntimeError: no hook today"),
    "acme-hook-exits": ("broken", "`mtl_representations` failed: SystemExit: 4"),
    "acme-missing": ("broken", "ModuleNotFoundError: No module named 'acme_missing'"),
    "acme-metadata": ("broken", "its entry points cannot be read"),
}


@pytest.fixture(scope="session")
def listed(mtl: Mtl, bad: Path) -> dict[str, Any]:
    """`mtl plugins --json`, by distribution."""
    told = json.loads(mtl("plugins", "--json", sites=[bad]).stdout)
    return {plugin["distribution"]: plugin for plugin in told["plugins"]}


def test_each_is_listed_with_its_state_and_cause(listed: dict[str, Any]) -> None:
    assert listed.keys() >= BAD.keys()
    for name in BAD:
        state, cause = STATES.get(name, ("ok", ""))
        assert (name, listed[name]["state"]) == (name, state)
        assert cause in listed[name]["cause"]
    assert {plugin["state"] for name, plugin in listed.items() if name not in BAD} == {"ok"}


def test_who_is_slow_to_import_is_seen(mtl: Mtl, listed: dict[str, Any], bad: Path) -> None:
    assert listed["acme-slow"]["import_seconds"] >= 0.3
    row = next(
        line for line in mtl("plugins", sites=[bad]).stdout.splitlines() if line.startswith("acme-slow ")
    )
    assert re.search(r"\b0\.[3-9]\d* s\b|\b[1-9]\.\d+ s\b", row), row
    assert "import" in mtl("plugins", "show", "acme-slow", sites=[bad]).stdout


def test_what_one_prints_does_not_reach_the_results(mtl: Mtl, ours: Path, bad: Path) -> None:
    name = ("--set", 'tasks.LM.LMTask.representation={"Loud": {}}')
    assert json.loads(mtl("config", "show", ours, *name, sites=[bad]).stdout)
    assert json.loads(mtl("plugins", "show", "Loud", "--json", sites=[bad]).stdout)
    folder = ours.parent / "loud"
    printed = mtl("train", ours, "--output", folder, *name, "--set", "trainer.epochs=1", sites=[bad])
    assert "loud" in printed.stderr and not re.search("^loud$", printed.stdout, flags=re.M)
    asked = mtl("predict", folder, "--task", "LM", stdin="a film\n", sites=[bad])
    assert "loud" in asked.stderr
    [answer] = map(json.loads, asked.stdout.splitlines())
    assert answer


NAMED = {
    "Raises": "acme_raises of acme-raises is broken: RuntimeError: no licence file",
    "Future": "acme_future of acme-future is incompatible: it is for plugin API >=2,<3",
    "Twin": "'Twin' is provided by acme-one (entry point 'acme_one') and acme-two (entry point 'acme_two')",
    "acme-two:Twin": "",
    "Annotations": "'Annotations' of acme-annotations 0.3.1: the type hints of Config cannot be read",
    "Default": "'Default' of acme-default 0.3.1: Config.dim has a default that is not JSON: TypeError",
    "Factory": "'Factory' of acme-factory 0.3.1: Config.dim has a default that is not JSON:"
    " ZeroDivisionError",
    "Config": "'Config' of acme-config 0.3.1: its config class failed: KeyError: 'oh'",
    "Declares": "'Declares' of acme-declares 0.3.1: its `output` failed: ZeroDivisionError",
    "Import": "'Import' of acme-import 0.3.1: acme_import_parts:Config cannot be loaded: SystemExit: 6",
}


@pytest.mark.parametrize("name", NAMED)
def test_naming_a_broken_one_gives_its_error(name: str, mtl: Mtl, ours: Path, bad: Path) -> None:
    override = f"tasks.LM.LMTask.representation={json.dumps({name: {}})}"
    done = mtl("config", "validate", ours, "--set", override, sites=[bad], status=2 if NAMED[name] else 0)
    assert NAMED[name] in done.stderr
    if done.returncode:
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(f"mtl: (1 problem in {ours}|.* \\(a defect of acme-.*\\))", last)


def test_a_factory_that_cannot_be_imported_ends_the_run_that_needs_it(
    mtl: Mtl, ours: Path, bad: Path
) -> None:
    override = ("--set", 'tasks.LM.LMTask.representation={"Model": {}}')
    said = mtl("plan", ours, *override, sites=[bad], status=2).stderr
    assert "acme_model_model:Model cannot be loaded: RuntimeError: no kernel" in said


# --- one that was there when the run was trained -------------------------------------------------


@pytest.fixture(scope="session")
def rated(mtl: Mtl, good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a third party's task over its encoder; beside it the config."""
    folder = tmp_path_factory.mktemp("rated")
    rows = "".join(f"a {word} film\t{stars}\n" for stars, word in enumerate(["dull", "weak", "good"] * 4))
    (folder / "rows.tsv").write_text("text\trating\n" + rows)
    task = {"data": dict.fromkeys(("train_path", "eval_path", "test_path"), "rows.tsv")}
    config = {"tasks": {"SENT": {"RatingTask": task}}, "trainer": {"epochs": 1}, "device": "cpu"}
    (folder / "config.json").write_text(json.dumps(config))
    mtl("train", folder / "config.json", "--output", folder / "run", sites=[good])
    return folder / "run"


WORK: Mapping[str, Callable[[Path], tuple[object, ...]]] = {
    "predict": lambda run: ("predict", run),
    "test": lambda run: ("test", run),
    "resume": lambda run: ("train", run.parent / "config.json", "--output", run, "--resume"),
}


@pytest.mark.parametrize("work", WORK)
def test_one_that_was_uninstalled_is_named_with_its_version(work: str, mtl: Mtl, rated: Path) -> None:
    said = mtl(*WORK[work](rated), stdin="a film\n", status=2).stderr
    assert said == (
        f"mtl: {rated}: the task 'RatingTask' and representation 'AcmeGRU' of this run were made by"
        " acme-ratings 1.2.0, which is not installed (`pip install 'acme-ratings==1.2.0'`)\n"
    )


def test_one_that_broke_since_is_named_with_its_cause(
    mtl: Mtl, rated: Path, good: Path, tmp_path: Path
) -> None:
    site = shutil.copytree(good, tmp_path / "site")
    (site / "acme_ratings/plugin.py").write_text("raise RuntimeError('no licence file')")
    said = mtl("predict", rated, stdin="a film\n", sites=[site], status=2).stderr
    assert "made by acme-ratings 1.2.0, which is broken: RuntimeError: no licence file" in said


def test_one_that_dropped_what_the_run_needs_is_named_with_both_versions(
    mtl: Mtl, rated: Path, tmp_path: Path
) -> None:
    site = install(tmp_path / "site", project(tmp_path, "acme-ratings", {"": HEAD}, version="2.0"))
    said = mtl("predict", rated, stdin="a film\n", sites=[site], status=2).stderr
    assert "made by acme-ratings 1.2.0, but 2.0 is installed, which has none" in said
    assert "pip install 'acme-ratings==1.2.0'" in said


def test_a_run_keeps_to_the_distribution_that_made_it(
    mtl: Mtl, rated: Path, good: Path, tmp_path: Path
) -> None:
    code = bring("AcmeGRU", "acme_late")
    late = install(tmp_path / "site", project(tmp_path, "acme-late", {"": code, "_parts": PARTS}))
    assert "rating" in json.loads(mtl("predict", rated, stdin="a film\n", sites=[good, late]).stdout)
    assert "complete" in mtl(*WORK["resume"](rated), sites=[good, late]).stderr
    refused = mtl("config", "validate", rated.parent / "config.json", sites=[good, late], status=2)
    assert "'AcmeGRU' is provided by acme-late" in refused.stderr
