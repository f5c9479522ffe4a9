"""Each data source passes the kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtl.testing import check_data_source

FILES = {
    "CSV": 'text,label\n"a ""fine"" film",1\n"a dull,\nlong one",0\nshort,1\n',
    "CoNLL": "Ada B-PER\nslept O\n\nRome B-LOC\n\nwords O\nonly O\n",
}


def outcomes(name: str, config: dict[str, Any], **more: Any) -> list[str]:
    return [str(check) for check in check_data_source(name, config=config, **more) if not check.passed]


@pytest.mark.parametrize("name", FILES)
def test_a_source_of_text_passes_the_kit(name: str) -> None:
    assert outcomes(name, {"train_path": "rows"}, files={"rows": FILES[name]}) == []


@pytest.mark.parametrize("write", ["write_parquet", "write_ipc"])
def test_parquet_passes_the_kit(tmp_path: Path, write: str) -> None:
    frame = pl.DataFrame({"text": ["a film", "dull", "fine"], "label": [1, 0, 1]})
    getattr(frame, write)(tmp_path / "rows")
    assert outcomes("Parquet", {"train_path": str(tmp_path / "rows")}) == []
