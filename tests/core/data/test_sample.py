"""`mtl.data.datasets.write_sample`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl import UsageError
from mtl.data.datasets import FetchError, write_sample

FILES = {"SST-2/train.tsv": "sentence\tlabel\nfine\t1\n", "wikitext-2/wiki.train.tokens": " = é = \n"}


def test_writes_each_file_and_nothing_else(tmp_path: Path) -> None:
    assert write_sample(FILES, tmp_path / "sample") == list(FILES)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "sample")): path.read_bytes().decode() for path in files} == FILES


def test_a_second_time_writes_nothing(tmp_path: Path) -> None:
    write_sample(FILES, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert write_sample(FILES, tmp_path) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_refuses_to_replace_other_contents_and_then_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2/train.tsv").write_text("mine")
    with pytest.raises(
        UsageError, match=r"SST-2/train\.tsv: there already with other contents; --force replaces it"
    ):
        write_sample(FILES, tmp_path)
    assert (tmp_path / "SST-2/train.tsv").read_text() == "mine"
    assert not (tmp_path / "wikitext-2").exists()
    assert write_sample(FILES, tmp_path, force=True) == list(FILES)
    assert (tmp_path / "SST-2/train.tsv").read_text() == FILES["SST-2/train.tsv"]


def test_a_sample_stays_below_its_folder(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="may write below its folder only"):
        write_sample({"../outside": "x"}, tmp_path / "sample")
    assert not (tmp_path / "outside").exists()
