"""The documents of the project as blocks of code, and the commands in them as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(
    r"^## (?P<heading>[^\n]+)$|"
    r"(?:^<!-- (?P<mark>file|not run): (?P<said>[^\n]+) -->\n)?"
    r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


@frozen
class Block:
    """A block: its language, its text, where it is, the heading above it, the file that it is, and whether
    it is run.

    A comment before it says so, `<!-- file: NAME -->` or `<!-- not run: WHY -->`, or its first line
    names the file, `# NAME`.
    """

    language: str
    text: str
    place: str
    heading: str
    file: str | None
    runs: bool


def blocks(path: str) -> Iterator[Block]:
    """The blocks of a document of the project, in order."""
    document = (ROOT / path).read_text()
    heading = ""
    for found in _BLOCK.finditer(document):
        if found["heading"]:
            heading = found["heading"]
            continue
        text = found["text"]
        first = re.match(r"# (\S+\.\w+)\n", text)
        yield Block(
            language=found["language"],
            text=text,
            place=f"{path}:{document.count(chr(10), 0, found.start('text')) + 1}",
            heading=heading,
            file=found["said"] if found["mark"] == "file" else first and first[1],
            runs=found["language"] == "sh" and found["mark"] != "not run",
        )


def any_block(block: Block) -> bool:
    """Every block of a document."""
    return True


def write_files(document: str, folder: Path, which: Callable[[Block], bool] = any_block) -> None:
    """Write the blocks that are files."""
    for block in filter(which, blocks(document)):
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script in `folder`, with `mtl` and the plugins in `folder` at hand; pip installs there."""
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        "PATH": commands,
        # Python reads the paths of editable installations in its own folders only.
        "PYTHONPATH": os.pathsep.join(map(str, [folder, *folder.glob("*/src")])),
        "OMP_NUM_THREADS": "1",
        "PIP_TARGET": str(folder),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip spells yes
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def run_all(document: str, folder: Path, which: Callable[[Block], bool] = any_block) -> str:
    """Run the shell blocks of a document in order; gives what they print."""
    printed = ""
    for block in filter(which, blocks(document)):
        if block.runs:
            done = run(block.text, folder)
            assert done.returncode == 0, f"{block.place}:\n{block.text}\n{done.stdout}\n{done.stderr}"
            printed += done.stdout
    return printed
