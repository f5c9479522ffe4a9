"""`mtl plugins new`: what it writes is whole, of every kind and under every name."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.commands import main
from mtl.components import KINDS
from mtl.errors import UsageError
from mtl.plugins import API_VERSION, Plugins, discover
from mtl.scaffold import PARTS, render_plugin, write_plugin

ROOT = Path(__file__).parents[3]
LONGEST = "abcdefghijklmnopqrstuvwxyz0123"
SEVERAL = ["task", "pooling", "data_source", "dataset", "logger", "command"]
FOLDERS = [*PARTS, "several"]
WORDS = "the cat sat on the mat and the dog sat on the cat".split()


def run(*command: object, folder: Path, **variables: str) -> str:
    """What a command that succeeds prints."""
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": scripts, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each kind, `{kind}/`, called `acme-{kind}`, and one of several."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in PARTS:
        write_plugin(f"acme_{kind}", kind, folder / kind)
    write_plugin("acme_several", SEVERAL, folder / "several")
    return folder


@pytest.fixture(scope="module")
def fresh(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with all of them installed; everything else it has from ours."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=written)
    ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    next(folder.glob("lib/python*/site-packages")).joinpath("ours.pth").write_text(ours)
    python = folder / "bin/python"
    options = "--quiet --no-deps --no-index --no-build-isolation --disable-pip-version-check".split()
    pip = (sys.executable, "-m", "pip", "--python", python, "install", *options)
    run(*pip, *(f"./{name}" for name in FOLDERS), folder=written)
    return python


def test_there_is_one_of_each_kind_that_anything_calls() -> None:
    assert list(PARTS) == [*KINDS, "command"]
    guide = (ROOT / "docs/plugin-guide.md").read_text()
    assert [kind for kind in PARTS if f"`{kind}`" not in guide and kind != "task"] == []


def joint_config(kind: str, plugin: Path, lines: Path) -> dict[str, Any]:
    """The config of a new plugin, with our language model beside its task."""
    config: dict[str, Any] = json.loads((plugin / "config.json").read_text())
    config["base_dir"] = str(plugin / "data")
    config["tasks"]["LM"] = {
        "LMTask": {
            "data": {"train_path": str(lines), "eval_path": str(lines)},
            "features": {"shared_module_key": "WORDS"},
            "representation": {"lstm_dim": 4},
        }
    }
    (reviews,) = config["tasks"]["Reviews"].values()
    reviews.setdefault("features", {"word_feat": {}})["shared_module_key"] = "WORDS"
    config["trainer"]["epochs"] = 1
    return config


TRAIN = """
import json, sys
from pathlib import Path
import mtl
for config in map(Path, sys.argv[1:]):
    try:
        result = mtl.train(config, output=config.with_suffix(""), device="cpu").data
        print(json.dumps([config.stem, result["status"], sorted(result["tasks"])]))
    except Exception as error:
        print(json.dumps([config.stem, f"{type(error).__name__}: {error}", []]))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_kind_trains_beside_our_language_model_once_it_is_installed(
    written: Path, fresh: Path, tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("".join(" ".join(WORDS[start:]) + "\n" for start in range(6)) * 2)
    run(fresh, "-m", "mtl", "data", "sample", "data", folder=written / "dataset")
    for kind in PARTS:
        config = joint_config(kind, written / kind, tmp_path / "lines.txt")
        (tmp_path / f"{kind}.json").write_text(json.dumps(config))
    configs = [tmp_path / f"{kind}.json" for kind in PARTS]
    trained = run(fresh, "-c", TRAIN, *configs, folder=tmp_path).splitlines()
    assert [json.loads(line) for line in trained] == [
        [kind, "completed", ["LM", "Reviews"]] for kind in PARTS
    ]


def test_what_a_plugin_says_is_free_of_torch(written: Path) -> None:
    modules = [
        f"acme_{kind}.{name}"
        for kind in PARTS
        for name in ("plugin", "config")
        if (kind, name) != ("command", "config")
    ]
    script = f"import sys, {', '.join(modules)}; print(*{{'torch', 'polars'}} & sys.modules.keys())"
    paths = os.pathsep.join(str(written / kind / "src") for kind in PARTS)
    assert run(sys.executable, "-c", script, folder=written, PYTHONPATH=paths).strip() == ""


@pytest.mark.parametrize("name", ["a", LONGEST, "acme-words"])
def test_its_style_is_clean_whatever_its_name(name: str, tmp_path: Path) -> None:
    for kind in PARTS:
        write_plugin(name, kind, tmp_path / kind)
    write_plugin(name, list(PARTS), tmp_path / "several")
    run("ruff", "check", "--no-cache", ".", folder=tmp_path)
    run("ruff", "format", "--no-cache", "--check", ".", folder=tmp_path)


@pytest.mark.slow
def test_its_types_are_clean(written: Path) -> None:
    paths = os.pathsep.join(str(written / kind / "src") for kind in PARTS)
    folders = [f"{kind}/{part}" for kind in PARTS for part in ("src", "tests")]
    cache = ROOT / ".mypy_cache" / "scaffold"
    options = ("--strict", "--explicit-package-bases", "--cache-dir", cache, "--config-file", os.devnull)
    run("mypy", *options, *folders, folder=written, MYPYPATH=paths)
    for name in ("task", "several"):  # by the settings that they come with
        run("mypy", "--cache-dir", cache / name, folder=written / name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_own_tests_pass_once_it_is_installed(written: Path, fresh: Path) -> None:
    installed = json.loads(run(fresh, "-m", "mtl", "plugins", "--json", folder=written))
    mine = {plugin["distribution"]: plugin for plugin in installed["plugins"] if "acme" in plugin["name"]}
    assert len(mine) == len(FOLDERS)
    assert mine["acme-several"]["commands"] == ["acme-several"]
    assert all(plugin["version"] == "0.1.0" and plugin["state"] == "ok" for plugin in mine.values())
    pytest_alone = (fresh, "-m", "pytest", "-c", os.devnull, "--rootdir", written, "-W", "error")
    tests = [f"{name}/tests" for name in FOLDERS]
    assert " passed" in run(*pytest_alone, "--import-mode=importlib", *tests, folder=written)


# --- names ---------------------------------------------------------------------------------------


INSTALLED = discover()


@settings(max_examples=50, deadline=None)
@given(
    name=st.from_regex(r"[a-z][a-z0-9]{0,7}([-_][a-z0-9]{1,5}){0,2}", fullmatch=True),
    kind=st.sampled_from(sorted(PARTS)),
)
def test_every_name_makes_files_that_can_be_read(name: str, kind: str) -> None:
    try:
        rendered = render_plugin(name, kind, INSTALLED)
    except UsageError as error:
        assert "a plugin's name must be free" in str(error)
        return
    for path, text in rendered.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
    assert json.loads(rendered["config.json"])["tasks"]
    project = tomllib.loads(rendered["pyproject.toml"])["project"]
    package = name.replace("-", "_")
    assert project["entry-points"]["mtl.plugins"] == {package: f"{package}.plugin"}
    assert rendered == render_plugin(name, kind, INSTALLED)


def test_the_bounds_are_those_of_the_mtl_that_is_installed() -> None:
    rendered = render_plugin("star-ratings", "task")
    dependencies = tomllib.loads(rendered["pyproject.toml"])["project"]["dependencies"]
    assert "pytext-mtl>=0.1,<0.2" in dependencies
    assert f'mtl_api = ">={API_VERSION},<2"' in rendered["src/star_ratings/plugin.py"]


@pytest.mark.parametrize(
    ("name", "kind", "component"),
    [
        ("star-ratings", "task", "StarRatingsTask"),
        ("mtl-star-ratings", "task", "StarRatingsTask"),
        ("star-ratings-task", "task", "StarRatingsTask"),
        ("task", "task", "TaskTask"),
        ("mtl-2d", "task", "Mtl2dTask"),
        ("word-shape", "featurizer", "word_shape_feat"),
        ("movie-lines", "dataset", "movie-lines"),
    ],
)
def test_the_component_is_called_after_the_plugin(name: str, kind: str, component: str) -> None:
    assert f'name="{component}"' in next(
        text for path, text in render_plugin(name, kind).items() if path.endswith("/plugin.py")
    )


@pytest.mark.parametrize(
    "name", ["", "Star", "2stars", "star ratings", "star--ratings", "../stars", "stärs", "a-"]
)
def test_a_wrong_name_is_refused_with_the_right_form(name: str) -> None:
    with pytest.raises(UsageError, match=r"lower-case words .* such as `star-ratings`.* but is"):
        render_plugin(name, "task")
    with pytest.raises(UsageError, match="at most 30 characters"):
        render_plugin(LONGEST + "4", "task")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mtl-text", "task", "a module `mtl_text` is installed"),
        ("torch", "task", "a module `torch` is installed"),
        ("lambda", "task", "`lambda` is a keyword of Python"),
        ("data", "data_source", "`data` would make a second `DataSource`"),
    ],
)
def test_a_name_that_hides_another_is_refused(name: str, kind: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        render_plugin(name, kind)


def test_without_a_task_to_show_it_in_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="install a plugin with one that reads `text` and `label`"):
        write_plugin("stars", "pooling", tmp_path / "stars", Plugins())
    assert not (tmp_path / "stars").exists()


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, text: str, *, on_a_terminal: bool) -> io.StringIO:
    """Put `text` on standard input."""
    stream = io.StringIO(text)
    monkeypatch.setattr(stream, "isatty", lambda: on_a_terminal)
    monkeypatch.setattr("sys.stdin", stream)
    return stream


def test_it_writes_beside_other_files_and_says_what_comes_next(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = answer(monkeypatch, "stars\n", on_a_terminal=False)
    assert main(["plugins", "new", "star-ratings", "--kind", "data-source"]) == 0
    out, err = capsys.readouterr()
    assert "cd star-ratings" in out and "pip install -e '.[test]'" in out and err == ""
    assert stream.tell() == 0
    files = {str(path.relative_to(elsewhere)) for path in elsewhere.rglob("*") if path.is_file()}
    assert files == {f"star-ratings/{path}" for path in render_plugin("star-ratings", "data_source")}


def test_without_a_terminal_it_never_asks(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = answer(monkeypatch, "stars\n", on_a_terminal=False)
    assert main(["plugins", "new"]) == 2
    assert capsys.readouterr().err.startswith("mtl: NAME is missing")
    assert stream.tell() == 0 and not any(elsewhere.iterdir())
    assert main(["plugins", "new", "stars"]) == 0
    assert (elsewhere / "stars/src/stars/task.py").is_file()


def test_on_a_terminal_it_asks_for_what_is_missing(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "stars\npooling\n", on_a_terminal=True)
    assert main(["plugins", "new"]) == 0
    assert "files written to stars\n" in capsys.readouterr().out
    assert (elsewhere / "stars/src/stars/model.py").is_file()
    answer(monkeypatch, "pooling command\n", on_a_terminal=True)
    assert main(["plugins", "new", "suns"]) == 0
    assert (elsewhere / "suns/src/suns/command.py").is_file()
    assert (elsewhere / "suns/src/suns/pooling/model.py").is_file()
    answer(monkeypatch, "\n", on_a_terminal=True)
    assert main(["plugins", "new", "moons"]) == 0
    assert (elsewhere / "moons/src/moons/task.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stars", "--kind", "poolng"], "did you mean `pooling`?"),
        (["stars", "--kind", "exporter"], "must be one of task, representation"),
        (["Stars"], "a plugin's name must be"),
        (["stars", "--output", "full"], "full: must be a new or an empty folder, but has files in it"),
        (["stars", "--output", "full/file"], "full/file: must be a new or an empty folder, but is a file"),
    ],
)
def test_a_mistake_writes_nothing(
    arguments: list[str], message: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "full").mkdir()
    (elsewhere / "full/file").touch()
    assert main(["plugins", "new", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in elsewhere.rglob("*")) == ["file", "full"]


def test_help_names_every_kind(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "new", "--help"]) == 0
    assert set(PARTS) <= set(re.findall(r"\w+", capsys.readouterr().out))


def test_it_does_without_torch(tmp_path: Path) -> None:
    script = "import sys; from mtl.commands import main; main(['plugins', 'new', 'stars'])"
    printed = run(sys.executable, "-c", f"{script}; print('torch' in sys.modules)", folder=tmp_path)
    assert printed.splitlines()[-1] == "False"


def test_an_empty_folder_is_taken(elsewhere: Path) -> None:
    (elsewhere / "mine").mkdir()
    assert main(["plugins", "new", "stars", "--output", "mine"]) == 0
    assert (elsewhere / "mine/pyproject.toml").is_file()


def test_a_task_with_its_model_takes_about_sixty_lines() -> None:
    rendered = render_plugin("stars", "task")
    sources = [rendered[f"src/stars/{name}.py"] for name in ("data", "model", "task")]
    # Without docstrings, comments and imports; a docstring stands in three lines or fewer.
    bare = [ast.unparse(ast.parse(source)) for source in sources]
    lines = [line for source in bare for line in source.splitlines() if line.strip()]
    code = [line for line in lines if not line.lstrip().startswith(("import ", "from ", '"""'))]
    assert len(code) <= 70
