"""The public Python API takes anything: whatever is wrong is an `MtlError` that says what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mtl
from mtl.runs import LoadedRun, Plugins


def hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


KEYS = st.sampled_from(["text", "label", "tasks", "trainer", "seed"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=4)
    | st.sampled_from(["SST2", "text", "label", "auto", "\ud800", "a\0b", "runs", "{", "a film"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.sampled_from(["text", "label", "tasks", "trainer", "seed"]) | inner.filter(hashable), inner
        )
    ),
    max_leaves=8,
)
ANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def expect_mtl_error(call: Any) -> None:
    try:
        list(call() or ())
    except mtl.MtlError as error:
        assert "--" not in str(error), "Python's messages advise no options of commands"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> LoadedRun:
    data = {"train_path": "SST-2/train.tsv", "eval_path": "SST-2/dev.tsv"}
    config = {
        "base_dir": str(corpus),
        "tasks": {"SST2": {"DocClassificationTask": {"data": data}}},
        "trainer": {"max_steps": 2},
    }
    folder = tmp_path_factory.mktemp("api") / "run"
    return mtl.load(mtl.train(config, output=folder).folder)


@ANY
@given(
    rows=VALUES,
    task=st.just("SST2") | VALUES,
    on_bad_row=st.sampled_from(["error", "skip", "report"]) | VALUES,
)
def test_predict(run: LoadedRun, rows: Any, task: Any, on_bad_row: Any) -> None:
    expect_mtl_error(lambda: run.predict(task, rows, on_bad_row=on_bad_row))


@ANY
@given(path=VALUES, task=st.just("SST2") | VALUES)
def test_files(run: LoadedRun, path: Any, task: Any) -> None:
    expect_mtl_error(lambda: run.predict_file(task, path))
    expect_mtl_error(lambda: run.test(task, path) if path is not None else None)


@ANY
@given(folder=VALUES, task=VALUES, device=st.just("auto") | VALUES)
def test_load(plugins: Plugins, folder: Any, task: Any, device: Any) -> None:
    expect_mtl_error(lambda: mtl.load(folder, task=task, device=device, plugins=plugins))


@ANY
@given(
    source=VALUES,
    overrides=st.just(()) | VALUES,
    seed=VALUES,
    device=VALUES,
    base_dir=VALUES,
    output=st.just("{tmp}") | VALUES.filter(lambda value: not isinstance(value, str)),
)
def test_train_and_plan(tmp_path: Path, plugins: Plugins, source: Any, output: Any, **options: Any) -> None:
    output = tmp_path / "run" if output == "{tmp}" else output
    expect_mtl_error(lambda: mtl.train(source, output=output, plugins=plugins, **options))
    options = {name: options[name] for name in ("overrides", "base_dir")}
    expect_mtl_error(lambda: mtl.plan(source, plugins=plugins, **options))


@pytest.mark.parametrize("lines", ["a film", b"a film", 3, None, ["a film"], [None], [b"a film", "dull"]])
def test_lines_are_bytes(run: LoadedRun, lines: Any) -> None:
    with pytest.raises(mtl.UsageError, match=r"must be .*bytes.*, but is"):
        list(run.predict_lines("SST2", lines))


def test_an_impossible_file_name_is_refused(run: LoadedRun) -> None:
    for call in (mtl.load, lambda path: run.test("SST2", path), lambda path: run.predict_file("SST2", path)):
        with pytest.raises(mtl.UsageError, match="must be a path"):
            call("x" * 5000)


def test_rows_without_a_label_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, more = tmp_path / "train.tsv", tmp_path / "more.tsv"
    train.write_text("text\tlabel\na film\t1\ndull\t0\n")
    more.write_text("text\tlabel\na film\t-\ndull\t0\ndull\t-\n")
    task = {"data": {"train_path": str(train)}, "ignore_labels": ["-"]}
    config = {"tasks": {"A": {"DocClassificationTask": task}}, "trainer": {"max_steps": 1}}
    loaded = mtl.load(mtl.train(config, output=tmp_path / "run").folder)
    loaded.test("A", more)
    assert f"A: {more}: 2 rows have no label and are left out (-: 2)" in caplog.text


def test_a_path_may_be_a_text(run: LoadedRun, corpus: Path) -> None:
    path = corpus / "SST-2/dev.tsv"
    assert run.test("SST2", str(path)) == run.test("SST2", path)


def test_ctrl_c_is_no_exception_that_a_loop_swallows() -> None:
    assert issubclass(mtl.Interrupted, KeyboardInterrupt)
    assert not issubclass(mtl.Interrupted, Exception)
