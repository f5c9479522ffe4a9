"""Columns: a digest of what they hold, and rows that lie on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.columns import Column, Dense, Ragged, Rows
from mtl.data.stored import read_rows, write_rows

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5)


def rows(lists: list[list[int]], dtype: torch.dtype = torch.int32, name: str = "ids") -> Rows:
    offsets = torch.tensor([0, *np.cumsum([len(each) for each in lists])], dtype=torch.int64)
    values = torch.tensor([item for each in lists for item in each], dtype=dtype)
    columns: dict[str, Column] = {
        name: Ragged(values, offsets),
        "label": Dense(torch.arange(len(lists))),
    }
    return Rows(columns, np.arange(len(lists)), "file")


@given(LISTS, LISTS)
def test_rows_have_one_digest_if_and_only_if_they_are_the_same(
    left: list[list[int]], right: list[list[int]]
) -> None:
    assert (rows(left).digest() == rows(right).digest()) is (left == right)


def test_names_types_and_lines_are_part_of_the_digest() -> None:
    one = rows([[1], [2]])
    others = [
        rows([[1], [2]], dtype=torch.int64),
        rows([[1], [2]], name="other"),
        Rows(one.columns, np.array([0, 7]), "file"),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 4


@given(st.lists(LISTS, min_size=1, max_size=3))
def test_pieces_come_back_from_the_disk_as_one(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("rows") / "stored"
    write_rows([rows(lists) for lists in pieces], folder)
    again = read_rows(folder)
    column = again.columns["ids"]
    assert isinstance(column, Ragged)
    whole = [values for lists in pieces for values in lists]
    found = [
        column.values[begin:end].tolist()
        for begin, end in zip(column.offsets[:-1].tolist(), column.offsets[1:].tolist(), strict=True)
    ]
    assert found == whole and len(again) == len(whole)
    if len(pieces) == 1:
        assert again.digest() == rows(pieces[0]).digest()
