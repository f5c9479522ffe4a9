"""The report in a browser: everything within the page, nothing over anything else, at three widths and in
print."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl_report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<script>
const problems = [], box = (element) => element.getBoundingClientRect();
const name = (element) => `${element.tagName}.${element.className} ${element.textContent.trim().slice(0, 9)}`;
document.querySelectorAll("details").forEach((each) => { each.open = true; });
const page = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > page) problems.push(`the page is wider: ${
  document.documentElement.scrollWidth} of ${page}`);
const boxes = ".card, .tile, .fits, .matrix, .verdict, .verdict p, figure, h1, h2, h3";
for (const each of document.querySelectorAll(boxes))
  if (box(each).right > page + 1 || box(each).left < -1) problems.push(`${name(each)} leaves the page`);
for (const each of document.querySelectorAll(".fits"))
  if (each.querySelector("table").offsetWidth > each.clientWidth + 1) problems.push(`${name(each)} is cut`);
for (const group of document.querySelectorAll(".pairs, .tiles, main, .card")) {
  const inside = [...group.children].filter((each) => box(each).width && box(each).height);
  inside.forEach((one, place) => inside.slice(place + 1).forEach((other) => {
    const [a, b] = [box(one), box(other)];
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
      problems.push(`${name(one)} lies over ${name(other)}`);
  }));
}
document.body.setAttribute("data-problems", JSON.stringify(problems));
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def page(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run with confusion matrices of five and of fourteen labels with long names."""
    folder = tmp_path_factory.mktemp("layout") / "a-run-with-a-long-name"
    mtl.train(tiny_config, output=folder, quiet=True)
    result = json.loads((folder / "result.json").read_text())
    for task, labels in (("SST2", 5), ("LM", 14)):
        names = [f"category-{'abcdefghijklmn'[place]}" for place in range(labels)]
        matrix = [
            [1000 + place if row == place else row * place for place in range(labels)]
            for row in range(labels)
        ]
        per_class = {each: {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "rows": 120} for each in names}
        for split in ("eval", "test"):
            result["tasks"][task][split] |= {
                "confusion_matrix": {"labels": names, "matrix": matrix},
                "per_class": per_class,
            }
    (folder / "result.json").write_text(json.dumps(result))
    return write_report(folder).read_text()


def problems(page: str, width: int, folder: Path) -> list[str]:
    """Return what is wrong with the layout of a page at a width."""
    assert CHROMIUM
    framed = folder / "framed.html"
    # The page forbids scripts; the one that measures it needs leave.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    framed.write_text(page.replace("</body>", f"{MEASURE}</body>"))
    outer = folder / "outer.html"
    # Chromium's windows are not as narrow as phones.
    outer.write_text(
        f'<iframe src="framed.html" style="width: {width}px; height: 900px; border: 0"></iframe><script>'
        'const frame = document.querySelector("iframe");'
        "frame.onload = () => document.body.append(frame.contentDocument.body.dataset.problems);</script>"
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [
        f"--window-size={width + 100},1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
        outer.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"</script>(\[.*\])", done.stdout, re.DOTALL)
    assert found, done.stdout[-500:]
    told: list[str] = json.loads(found[1].replace("&amp;", "&").replace("&gt;", ">").replace("&lt;", "<"))
    return told


@pytest.mark.parametrize("width", [400, 1280, 1680])
def test_everything_is_within_the_page(width: int, page: str, tmp_path: Path) -> None:
    assert problems(page, width, tmp_path) == []


def test_nothing_lies_over_anything_in_print(page: str, tmp_path: Path) -> None:
    printed = page.replace("@media print", "@media all")
    assert printed != page
    assert problems(printed, 695, tmp_path) == []  # the width of A4 without its margins


def test_the_measure_finds_what_leaves_the_page_and_what_overlaps(page: str, tmp_path: Path) -> None:
    wide = page.replace(
        "</style>", ".tile { width: 3000px } .card > .pairs > * + * { margin-top: -90px }</style>", 1
    )
    found = " ".join(problems(wide, 1280, tmp_path))
    assert "the page is wider" in found and "leaves the page" in found and "lies over" in found


def test_errors_and_provenance_are_in_the_report(page: str) -> None:
    assert re.search(r"\d+ of 9 rows are wrong; expected calibration error", page)
    assert "Data files and their SHA-256" in page and "CPU threads" in page
