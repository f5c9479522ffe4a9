"""The file as a whole: what data says is text in it, and nothing in it asks for a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from mtl.commands.cli import main
from mtl.errors import UsageError
from mtl.plugins import discover
from mtl_report import write_report
from mtl_report.page import shown
from mtl_report.plots import Plots
from mtl_report.records import Series, mapping, mean, numeric

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></svg></table><iframe src=http://example.org>",
    "{{ 7 * 7 }}{% raw %}",
    "$x^2$ \\frac",
    "a\u202egnp.exe\u2066\x00\x1b[31m\x7f",
    "<!-- ", "]]>", "&lt;b&gt;", "\ud800", "x" * 3000,
)  # fmt: skip
VOID = {"meta"}
SAME_EACH_TIME = [HealthCheck.function_scoped_fixture]


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and its text; fails where an end tag
    does not fit."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(folder: Path) -> str:
    return write_report(folder).read_text()


MadeRun = Callable[..., Path]
MadeComparison = Callable[[Any], Path]


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take the time, and no text from data is in them, as the next test shows. To look for plugins
    takes time, too."""
    plugins = discover()
    monkeypatch.setattr("mtl_report.run.discover", lambda: plugins)
    for name in ("curves", "shares", "interval", "scale"):
        monkeypatch.setattr(Plots, name, lambda *arguments, **named: Markup("<svg></svg>"))


def test_no_text_from_data_is_in_a_plot(made_run: MadeRun) -> None:
    page = report(made_run(["TASKNAME", "OTHERNAME"], labels=["LABELNAME", "x"], module="MODULENAME"))
    plots = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(plots) == 2 * 2 + 3
    assert not any(re.search("[A-Z]{2}NAME", plot) for plot in plots)
    for plot in plots:
        ElementTree.fromstring(plot)
    assert "TASKNAME" in page and "MODULENAME" in page


names = st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=20)


@pytest.mark.usefixtures("no_plots")
@settings(max_examples=20, suppress_health_check=SAME_EACH_TIME)
@given(tasks=st.lists(names, min_size=2, max_size=2, unique=True), label=names, module=names, value=names)
@example(tasks=[HOSTILE[0], HOSTILE[2]], label=HOSTILE[3], module=HOSTILE[1], value=HOSTILE[4])
def test_hostile_texts_add_no_element_and_no_attribute(
    tasks: list[str], label: str, module: str, value: str, make: MadeRun
) -> None:
    def skeleton(tasks: list[str], label: str, module: str, value: str) -> Skeleton:
        with TemporaryDirectory() as name:
            folder = Path(name) / "run"
            make(folder, tasks, labels=[label, f"{label}."], module=module, config={"device": value})
            return Skeleton(report(folder))

    hostile, harmless = skeleton(tasks, label, module, value), skeleton(["A", "B"], "c", "d", "e")
    assert hostile.elements == harmless.elements


def test_texts_are_shown_as_they_are(made_run: MadeRun) -> None:
    page = report(made_run(HOSTILE[:6], labels=HOSTILE[6:8]))
    text = Skeleton(page).text
    assert all(name in text for name in HOSTILE[:6])
    assert "a\\u202egnp.exe\\u2066\\u0000\\u001b[31m\\u007f" in text
    assert shown("a\u202eb") == "a\\u202eb"


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_nothing_leads_to_a_network(
    kind: str, made_run: MadeRun, made_comparison: MadeComparison, found: dict[str, Any]
) -> None:
    page = report(made_run() if kind == "run" else made_comparison(found))
    skeleton = Skeleton(page)
    assert set(re.findall(r"\w+://[^\s\"'<>]*", page)) == {"http://www.w3.org/2000/svg"}
    assert {tag for tag, _ in skeleton.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "base",
    } == set()
    for tag, name, value in skeleton.attributes:
        assert not name.startswith("on"), tag
        assert name not in ("src", "srcset", "action", "xlink:href")
        assert name != "href" or value.startswith("#"), value
    assert set(re.findall(r"url\((.)", page)) <= {"#"} and "@import" not in page
    assert "default-src 'none'" in page


def test_every_id_is_there_once_and_every_link_leads_to_one(made_run: MadeRun) -> None:
    attributes = Skeleton(report(made_run())).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value.removeprefix("#") for _, name, value in attributes if name == "href"}
    links |= {found for _, _, value in attributes for found in re.findall(r"url\(#([\w-]+)\)", value)}
    assert links <= set(ids)


def test_the_same_folder_gives_the_same_bytes_whatever_the_users_settings(made_run: MadeRun) -> None:
    folder = made_run(["A", "B"])
    first = write_report(folder).read_bytes()
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert write_report(folder).read_bytes() == first
        assert matplotlib.rcParams["font.size"] == 30
    again = "from mtl_report import write_report; import sys; write_report(sys.argv[1])"
    subprocess.run([sys.executable, "-c", again, str(folder)], check=True)
    assert (folder / "report.html").read_bytes() == first


def test_many_tasks_are_legible_and_small(made_run: MadeRun) -> None:
    page = report(made_run([f"task-{place:02}" for place in range(34)], labels=[str(n) for n in range(20)]))
    assert len(page) < 1_000_000
    assert "Showing the first 32 of 34 tasks." in page
    assert page.count('<svg viewBox="0 0 460') == 2 * 32 + 2
    legends = re.findall(r'<ul class="legend">.*?</ul>', page, re.S)
    assert max(legend.count("<li>") for legend in legends) == 8
    assert "most frequent mistakes among 20 labels" in page


# --- the command -----------------------------------------------------------------------------------


def test_the_command_prints_where_the_file_is(
    made_run: MadeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made_run(["A"])
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    other = tmp_path / "new/other.html"
    assert main(["report", str(folder), "--output", str(other)]) == 0
    assert capsys.readouterr().out == f"{other}\n"
    assert other.read_bytes() == (folder / "report.html").read_bytes()


def damaged() -> Iterator[Any]:
    line = '{"kind": "train", "step": 1, "epoch": 1, "task": "A"}\n'
    yield "config.json", "[]", "config.json: a JSON object was expected"
    yield "result.json", "{", "result.json: cannot be read"
    yield "metrics.jsonl", f"{line}no\n{line}", "metrics.jsonl:2: must be a JSON object, but is not JSON"
    yield "metrics.jsonl", f"{line}[1]\n", "metrics.jsonl:2: must be a JSON object, but is `[1]`"
    step = '{"kind": "train", "step": "1", "task": "A"}\n'
    yield "metrics.jsonl", step, "metrics.jsonl:1: `step` must be an integer, but is `'1'`"
    yield "compare.json", '{"format": 9}', "compare.json: `format` must be 1, but is 9"


@pytest.mark.parametrize(("name", "text", "said"), [*damaged()])
def test_a_damaged_folder_is_named(
    name: str, text: str, said: str, made_run: MadeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made_run(["A"])
    (folder / name).write_text(text)
    assert main(["report", str(folder)]) == 2
    assert f"{folder}/{said}" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_any_other_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "must be a run folder, with a config.json, or a comparison" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(
    made_run: MadeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file/report.html"
    assert main(["report", str(made_run(["A"])), "--output", str(target)]) == 1
    assert f"{target}: cannot be written: " in capsys.readouterr().err


def test_help_imports_neither_plots_nor_templates() -> None:
    check = (
        "import sys; from mtl.commands.cli import main; main(['report', '--help']);"
        "print(sorted(sys.modules.keys() & {'torch', 'matplotlib', 'jinja2', 'numpy', 'polars'}))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n") and "--no-data" in done.stdout


# --- figures ---------------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(anything)
def test_a_metric_is_a_number_or_nothing(value: Any) -> None:
    found = numeric(value)
    assert found is None or (isinstance(value, int | float) and found == float(value))
    assert mapping(value) == (value if isinstance(value, dict) else {})


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=200), st.integers(1, 30))
def test_a_thinned_curve_has_the_same_mean_and_the_same_end(values: list[float | None], most: int) -> None:
    series = Series(tuple(range(len(values))), tuple(values))
    thinned = series.thinned(most)
    assert len(thinned) <= most or len(thinned) == len(series) <= most
    assert thinned.steps[-1:] == series.steps[-1:]
    whole = mean(series.values)
    assert (mean(thinned.values) is None) == (whole is None)
    if whole is not None:
        assert min(series.defined) - 1e-6 <= min(thinned.defined) <= max(thinned.defined)
        assert max(thinned.defined) <= max(series.defined) + 1e-6


def test_a_comparison_of_another_version_is_refused(made_comparison: MadeComparison) -> None:
    with pytest.raises(UsageError, match="`format` must be 1, but is None"):
        write_report(made_comparison({"tasks": {}}))


@pytest.mark.usefixtures("no_plots")
@settings(max_examples=40, suppress_health_check=SAME_EACH_TIME)
@given(data=st.data())
def test_strange_json_still_makes_a_report(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps({"tasks": {"A": {}}}))
        keys = ("status", "steps", "best", "tasks", "seconds", "peak_rss_bytes")
        result: dict[str, Any] = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(keys, anything)))
        metrics = data.draw(st.fixed_dictionaries({"confusion_matrix": anything, "loss": anything}))
        result["tasks"] = {"A": {"eval": metrics, "steps": data.draw(anything)}}
        (folder / "result.json").write_text(json.dumps(result))
        records = [
            {
                "kind": kind,
                "step": step,
                "task": "A",
                "loss": data.draw(anything),
                "other": "B",
                "module": "m",
            }
            for step, kind in enumerate(("train", "train", "eval", "eval", "gradients"), start=1)
        ]
        records[-1]["cosine"] = data.draw(anything)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        Skeleton(report(folder))
