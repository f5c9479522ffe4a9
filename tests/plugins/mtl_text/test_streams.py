"""Files in other encodings and compressed, and what they are called if they cannot be read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl import DataError
from mtl_text import TSVConfig, streams
from mtl_text.lines import read_blocks, read_lines


def zipped(*contents: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"part{number}.tsv", content)
    return file.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.compress,
    "zip": zipped,
}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "gb18030"]
ROW = st.text(st.sampled_from("ab é\tß"), max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW, min_size=1, max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(ENCODINGS),
    compression=st.sampled_from(list(COMPRESS)),
)
def test_lines_are_those_of_plain_text(
    rows: list[str], end: str, encoding: str, compression: str, tmp_path: Path
) -> None:
    text = "".join(row + end for row in rows)
    (tmp_path / "plain").write_bytes(text.encode())
    (tmp_path / "other").write_bytes(COMPRESS[compression](text.encode(encoding)))
    expected = read_lines(tmp_path / "plain")
    [found] = read_blocks(tmp_path / "other", encoding)
    assert found.texts.to_list() == expected.texts.to_list() and not found.bad


def test_carriage_returns_end_lines_where_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"a\t1\rb\t0\r")
    assert read_lines(path).texts.to_list() == ["a\t1", "b\t0"]
    path.write_bytes(b"a\rb\t1\nc\t0\n")
    assert read_lines(path).texts.to_list() == ["a\rb\t1", "c\t0"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_other_unicode_is_named_once(encoding: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(COMPRESS[compression](("a warm film\t1\n" * 9).encode(encoding)))
    with pytest.raises(DataError) as caught:
        read_lines(path)
    said = f'looks like {encoding.upper()}; set `"encoding": "{encoding}"`'
    assert str(caught.value) == f"{path}: must be UTF-8, but {said}"


def test_text_in_another_encoding_than_stated_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"a\nb\n\xff\n")
    with pytest.raises(DataError, match=r"rows: must be ascii, but after line \d is not"):
        read_lines(path, "ascii")
    for name in ("hex", "none", "\0"):
        with pytest.raises(ValueError, match="`encoding` must be a text encoding that Python knows"):
            TSVConfig(train_path=(path,), encoding=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", [name for name in COMPRESS if name != "plain"])
def test_a_file_that_was_cut_off_is_named(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    whole = COMPRESS[compression](b"".join(b"row %d\t%d\n" % (n * n, n) for n in range(2000)))
    for cut in (10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=rf"rows: must be a whole {compression} file, but: "):
            read_lines(path)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), compression=st.sampled_from([name for name in COMPRESS if name != "plain"]))
def test_a_damaged_file_is_lines_or_a_data_error(
    data: st.DataObject, compression: str, tmp_path: Path
) -> None:
    whole = bytearray(COMPRESS[compression](b"a warm film\t1\na dull one\t0\n" * 20))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "rows"
    path.write_bytes(bytes(whole))
    try:
        read_lines(path)
    except DataError as error:
        assert str(error).startswith(str(path))


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "EXPANSION_FLOOR", 100_000)
    for name in ("gzip", "xz", "bzip2", "zstd", "zip"):
        path = tmp_path / name
        path.write_bytes(COMPRESS[name](b"\n" * 30_000_000))
        with pytest.raises(DataError, match="must hold at most 200 times its size"):
            read_lines(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(b"a", b"b"), "must be a whole zip file, but: has 2 files; unpack it and name the files"),
        (zipped(*[b"a"] * 3), "must be a whole zip file, but: has 3 files"),
        (b"PAR1" + bytes(40), "must be text, but looks like a Parquet file"),
        (b"SQLite format 3\0" + bytes(40), "must be text, but looks like an SQLite database"),
    ],
)
def test_what_is_no_text_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_lines(tmp_path / "rows")
    assert str(caught.value).startswith(f"{tmp_path}/rows: {message}")
