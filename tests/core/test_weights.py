"""Weights in files: rows follow their names, and what cannot be matched is refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mtl.errors import ComponentError, UsageError
from mtl.training.checkpoint import flatten_optimizer, restore_optimizer
from mtl.weights import (
    ALIASES,
    ROW_NAMES,
    Weights,
    load_module,
    load_named,
    row_names,
    save_module,
    unique_tensors,
    write_tensors,
)

# Words of any script; half of a surrogate pair among them, as JSON may have one in a label.
names = st.lists(st.text(st.characters(), max_size=4), min_size=1, max_size=8, unique=True)


class Named(nn.Module):
    """A layer whose outputs have names, and one whose outputs have none."""

    def __init__(self, labels: Sequence[str] | None, size: int | None = None, dim: int = 3) -> None:
        super().__init__()
        self.labels = labels
        self.inner = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, len(labels) if labels is not None else size or 1)

    def row_names(self) -> dict[str, Sequence[str]]:
        tensors = ("output.weight", "output.bias")
        return {} if self.labels is None else dict.fromkeys(tensors, self.labels)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


@given(names, names)
def test_rows_follow_their_names_in_any_order(old: list[str], new: list[str]) -> None:
    saved, loaded = Named(old), Named(new)
    fresh = loaded.output.weight.detach().clone()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        save_module(saved, path)
        if not set(old) & set(new):
            with pytest.raises(UsageError, match=r"output\.weight has a row for each of"):
                load_module(loaded, path)
            return
        match = load_module(loaded, path)
    for row, name in enumerate(new):
        known = name in old
        expected = saved.output.weight[old.index(name)] if known else fresh[row]
        assert torch.equal(loaded.output.weight[row], expected)
        if known:
            assert loaded.output.bias[row] == saved.output.bias[old.index(name)]
    assert torch.equal(loaded.inner.weight, saved.inner.weight)
    kept = sum(name in old for name in new)
    assert match.new == len(new) - kept and match.dropped == len(old) - kept
    assert match.moved == sum(name in old and old.index(name) != row for row, name in enumerate(new))


@given(names, st.randoms(use_true_random=False))
def test_what_an_optimizer_knows_of_a_row_moves_with_it(old: list[str], random: Any) -> None:
    new = [*old, "another"] if "another" not in old else list(old)
    random.shuffle(new)
    modules = {"old": Named(old), "new": Named(new)}
    optimizers = {name: torch.optim.Adam(module.parameters()) for name, module in modules.items()}
    inputs = torch.arange(6.0).view(2, 3)
    (modules["old"].output(inputs).square().sum() + modules["old"].inner(inputs).sum()).backward()
    optimizers["old"].step()
    stored = Weights.of(dict(unique_tensors(modules["old"])), row_names(modules["old"]), "old")
    match = load_named(modules["new"], stored)
    rows = {id(p): match.maps[n] for n, p in unique_tensors(modules["new"]) if n in match.maps}
    restore_optimizer(optimizers["new"], *flatten_optimizer(optimizers["old"]), rows)
    before = optimizers["old"].state[modules["old"].output.weight]["exp_avg"]
    after = optimizers["new"].state[modules["new"].output.weight]["exp_avg"]
    for row, name in enumerate(new):
        expected = before[old.index(name)] if name in old else torch.zeros(3)
        assert torch.equal(after[row], expected)


def test_a_file_that_does_not_name_its_rows_is_refused_with_what_to_do(path: Path) -> None:
    save_file(Named(["a", "b"]).state_dict(), path)
    with pytest.raises(
        UsageError,
        match=r"output\.bias has a row for each of 'a', 'b', but there its rows have no names.*`save_path`",
    ):
        load_module(Named(["a", "b"]), path)


def test_names_that_the_module_does_not_have_are_refused(path: Path) -> None:
    save_module(Named(["a", "b"]), path)
    with pytest.raises(UsageError, match="a row for each of 'a', 'b', but here its rows have no names"):
        load_module(Named(None, 2), path)


def test_a_module_without_names_is_loaded_by_shape(path: Path) -> None:
    saved, loaded = Named(None, 2), Named(None, 2)
    save_module(saved, path)
    assert not load_module(loaded, path).maps and torch.equal(saved.output.weight, loaded.output.weight)
    with pytest.raises(UsageError, match=r"has shape \[2, 3\], but must have \[4, 3\]"):
        load_module(Named(None, 4), path)


def test_named_rows_of_another_width_are_refused(path: Path) -> None:
    save_module(Named(["a", "b"], dim=4), path)
    with pytest.raises(UsageError, match=r"output\.weight has shape \[2, 4\], but must have \[3, 3\]"):
        load_module(Named(["a", "b", "c"]), path)


@pytest.mark.parametrize(
    "stored",
    ["no json", "3", "[]", '{"output.weight": "ab"}', '{"output.weight": ["a"]}', '{"x": ["a", "b"]}',
     '{"output.weight": ["a", "a"]}', '{"output.weight": ["a", 1]}', '{"output.weight": 2}', "[" * 100_000],
)  # fmt: skip
def test_names_from_a_stranger_are_checked(path: Path, stored: str) -> None:
    save_file(Named(["a", "b"]).state_dict(), path, {ROW_NAMES: stored})
    with pytest.raises(UsageError, match=ROW_NAMES):
        load_module(Named(["a", "b"]), path)


@pytest.mark.parametrize("wrong", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_a_module_with_wrong_row_names_is_named(wrong: list[str]) -> None:
    module = Named(["a", "b"])
    module.labels = wrong
    with pytest.raises(ComponentError, match=r"Named .* failed to name its rows"):
        row_names(module)


def test_a_tensor_in_two_places_has_the_names_of_its_first(path: Path) -> None:
    outer = nn.ModuleDict({"plain": nn.Linear(3, 2), "named": Named(["a", "b"])})
    named = outer["named"]
    assert isinstance(named, Named)
    outer["plain"].weight = named.output.weight
    assert row_names(outer) == {"plain.weight": ("a", "b"), "named.output.bias": ("a", "b")}
    save_module(outer, path)
    with safe_open(path, framework="pt") as stored:
        assert set(json.loads(stored.metadata()[ROW_NAMES])) == {"plain.weight", "named.output.bias"}
    assert len(load_file(path)) == 5


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True))
def test_equal_weights_are_equal_files(names: list[str]) -> None:
    tensors = {name: torch.zeros(1) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        written = set()
        for _ in range(8):
            rows = {name: ["row"] for name in names}
            write_tensors(tensors, file, {ROW_NAMES: rows, ALIASES: {"alias": names[0]}})
            written.add(file.read_bytes())
        assert len(written) == 1
        assert load_file(file).keys() == tensors.keys()
