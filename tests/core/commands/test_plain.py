"""No text, wherever it comes from, is obeyed by a terminal."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

import mtl.runs.planning  # noqa: F401 - before its parts are replaced
from mtl.errors import ConfigError, DataError, Problem
from mtl.render.plain import LONGEST_LINE, escaped, readable
from mtl.render.terminal import terminal

ODD = st.text(st.sampled_from("a \n\t\r\0\x1b\x7f\x9b\u202e\u2028\ud800é[31m") | st.characters())


def is_obeyed(character: str) -> bool:
    turns = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return character not in "\n\t" and (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in turns
        or character in "\u061c\u200e\u200f"
    )


@given(ODD)
def test_what_is_shown_is_never_obeyed_and_the_rest_stays(text: str) -> None:
    shown = readable(text)
    assert not any(map(is_obeyed, shown))
    assert escaped(shown) == shown
    assert shown == "".join(f"\\u{ord(each):04x}" if is_obeyed(each) else each for each in text)


@given(st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(ODD, inner), max_leaves=5))
def test_escaped_json_reads_back_as_it_was(value: Any) -> None:
    assert json.loads(escaped(json.dumps(value, ensure_ascii=False))) == value


@given(ODD)
def test_a_rich_console_obeys_no_text(text: str) -> None:
    stream = io.StringIO()
    terminal(stream).print(Text(text), text, soft_wrap=True)
    assert not any(map(is_obeyed, stream.getvalue()))


def test_long_lines_lose_their_middle() -> None:
    shown = readable(f"rows.tsv:3: `label` is {'x' * 5_000_000}\nand what would be right")
    assert shown.startswith("rows.tsv:3: `label` is xxx")
    assert "x [4,998,023 characters] x" in shown
    assert shown.endswith("xxx\nand what would be right")
    assert len(shown) < 2 * LONGEST_LINE


@pytest.mark.parametrize(
    "error",
    [
        DataError("rows\x1b[2J.tsv:3: `label` is '\ud800'"),
        ConfigError([Problem("tasks.\x1b[2J", "\ud800")], "\x9bx.json"),
        OSError(2, "No such file", "\x1b[2J"),
        RuntimeError("\x1b[2J"),
    ],
)
def test_no_failure_reaches_a_terminal_raw(
    error: Exception, invoke: Any, any_config: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("mtl.runs.planning.plan", fail)
    status, out, err = invoke("plan", "x.json")
    assert status in (1, 2)
    assert "1b[2J" in err
    assert not any(map(is_obeyed, out + err))


def test_a_config_with_thousands_of_mistakes_shows_the_first(tmp_path: Path, invoke: Any) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({f"key {number}": 0 for number in range(3000)}))
    status, _, err = invoke("plan", config)
    assert status == 2
    assert err.splitlines()[-2:] == [f"{config}: and 2,951 more", f"mtl: 3001 problems in {config}"]
    assert len(err.splitlines()) == 52
