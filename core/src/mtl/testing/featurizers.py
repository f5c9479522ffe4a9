"""Rules for featurizers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import polars as pl
import torch
from attrs import frozen
from torch import Tensor, nn

from mtl.builder import Builder
from mtl.components import Direction, Featurizer, Unit
from mtl.data.columns import Batch, Column, Ragged, Rows
from mtl.testing.checks import Failed, equal_json, rule
from mtl.testing.modules import MODULE, ModuleBench, call, differs, inside, scored
from mtl.weights import load_module, save_module

TRAINING = (
    ["the", "film", "is", "good", "and", "the", "cast", "is", "better"],
    ["a", "dull", "film"],
    ["good"],
    ["the", "cast", "is", "a", "joke", "."],
    ["better", "dull"],
)
OTHER_TASK = (["prices", "rose", "again"], ["the", "markets", "fell"])
UNSEEN: tuple[list[str], ...] = (["Überraschung", "🎬", "x" * 50, "film"], ["..."], [])
"""Rows of words that are not in the training rows, and an empty row."""


def column_of(rows: Sequence[Sequence[str]]) -> pl.Series:
    """Return rows of tokens, as a featurizer gets them."""
    return pl.Series("text", rows, dtype=pl.List(pl.String))


@frozen(slots=False)
class FeaturizerBench(ModuleBench):
    """A featurizer fitted to a few rows, and its embedding."""

    def fitted(self, **corpora: Sequence[Sequence[str]]) -> Featurizer[object]:
        """Return a featurizer fitted to rows of tokens by task, by default those of one task."""
        featurizer = self.factory(self.config)
        if not isinstance(featurizer, Featurizer):
            raise Failed(f"the factory must return a Featurizer, but returned {type(featurizer).__name__}")
        given = corpora or {"one": TRAINING}
        featurizer.fit({task: [column_of(rows)] for task, rows in given.items()})
        return featurizer

    @cached_property
    def featurizer(self) -> Featurizer[object]:
        """The featurizer, fitted."""
        return self.fitted()

    def make(self, build: Builder) -> nn.Module:
        return self.featurizer.build_embedding(build)

    def batch(self, rows: Sequence[Sequence[str]] = TRAINING) -> Batch:
        """Return rows of words as one batch."""
        return _batch(self.featurizer, rows)

    def run(self, module: nn.Module) -> Tensor:
        return call(module, self.batch().tensors)[inside(self.lengths(TRAINING))]

    def length_column(self, columns: Iterable[str]) -> str:
        """Return which of the ragged columns has one item per vector."""
        return self.featurizer.length_column or next(iter(columns))

    def lengths(self, rows: Sequence[Sequence[str]]) -> Tensor:
        """Return the number of vectors of each row, `[rows]`."""
        lengths = self.batch(rows).lengths
        return lengths[self.length_column(lengths)]


def _batch(featurizer: Featurizer[object], rows: Sequence[Sequence[str]]) -> Batch:
    numbers = torch.arange(len(rows)).numpy()
    return Rows(featurizer.encode(column_of(rows)), numbers + 1).batch(numbers)


def same_columns(left: Mapping[str, Column], right: Mapping[str, Column]) -> bool:
    """Return whether two encodings are the same."""
    return left.keys() == right.keys() and all(
        torch.equal(left[name].values, right[name].values) for name in left
    )


@rule("batches are indexed by row, and each word needs its vector")
def encodes_each_row(bench: FeaturizerBench) -> None:
    """`encode` returns `Ragged` columns with one item per word or piece, also for unseen words and
    empty rows."""
    for rows in (TRAINING, UNSEEN):
        columns = bench.featurizer.encode(column_of(rows))
        ragged = {name: column for name, column in columns.items() if isinstance(column, Ragged)}
        if not ragged:
            raise Failed("`encode` returns no Ragged column")
        name = bench.length_column(ragged)
        if ragged[name].unit is not bench.config.unit:
            raise Failed(f"the unit of the column `{name}` is not the one that the config declares")
        for name, column in ragged.items():
            if column.unit is Unit.WORD and column.lengths.tolist() != [len(row) for row in rows]:
                raise Failed(f"the column `{name}` does not have one item per word")


@rule("vectors are concatenated by the width that the config declares")
def embeds_each_token(bench: FeaturizerBench) -> None:
    """The embedding returns `[batch, time, output_dim]`, for unseen words too."""
    module = bench.built()
    for rows in (TRAINING, UNSEEN):
        output = scored(module, bench.batch(rows).tensors)
        shape = [len(rows), int(bench.lengths(rows).max()), bench.config.output_dim]
        if list(output.shape) != shape:
            raise Failed(f"the embedding returns {list(output.shape)}, not {shape}")


@rule("training and `mtl predict` batch rows differently")
def rows_are_independent(bench: FeaturizerBench) -> None:
    """A row alone, without padding, gives the same as in a batch."""
    module = bench.built()
    together = scored(module, bench.batch().tensors)
    lengths = bench.lengths(TRAINING).tolist()
    for number, (row, length) in enumerate(zip(TRAINING, lengths, strict=True)):
        alone = scored(module, bench.batch([row]).tensors)[0]
        if differs(alone, together[number, :length]):
            raise Failed(f"the row of {len(row)} words differs alone and in a batch")


@rule("a loaded model would read other numbers for the same words")
def state_survives(bench: FeaturizerBench) -> None:
    """Restored from `state()`, and from its saved files without the originals, it encodes the same and
    fits the weights."""
    state = json.loads(json.dumps(bench.featurizer.state()))
    with TemporaryDirectory() as folder:
        bench.featurizer.save_files(Path(folder))
        loaded = bench.factory(bench.config)
        if any(Path(folder).iterdir()):
            loaded = bench.factory(_without_files(bench.config))
            loaded.load_files(Path(folder))
        loaded.load_state(state)
        for rows in (TRAINING, UNSEEN):
            if not same_columns(bench.featurizer.encode(column_of(rows)), loaded.encode(column_of(rows))):
                raise Failed("after `load_state`, the same words have other ids")
        shapes = [
            {name: tensor.shape for name, tensor in each.build_embedding(Builder()).state_dict().items()}
            for each in (bench.featurizer, loaded)
        ]
    if shapes[0] != shapes[1]:
        raise Failed("after `load_state`, the embedding has other shapes")


def _without_files(config: Any) -> Any:
    """Return a config whose files are not there."""
    values = {field.name: getattr(config, field.name) for field in attrs.fields(type(config))}
    paths = [name for name, value in values.items() if isinstance(value, Path)]
    return attrs.evolve(config, **dict.fromkeys(paths, Path("/nonexistent/removed")))


@rule("an embedding loaded with other training data would give words the vectors of others")
def follows_its_words(bench: FeaturizerBench) -> None:
    """Weights loaded for the same words in another order of frequency give each word its vector."""
    frequent = (*TRAINING, *[["dull", "better", "joke"]] * 4)
    other = bench.fitted(one=frequent)
    saved = bench.built(seed=1)
    torch.manual_seed(2)
    loaded = other.build_embedding(Builder())
    with TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        save_module(saved, path)
        load_module(loaded, path)
    before = scored(saved, bench.batch().tensors)
    if differs(before, scored(loaded, _batch(other, TRAINING).tensors)):
        raise Failed("words get other vectors; say in `row_names()` of the embedding what its rows are")


@rule("a language model would see the word that it predicts")
def keeps_its_direction(bench: FeaturizerBench) -> None:
    """Another word changes its own vector, and no vector that does not depend on it as declared."""
    if bench.config.unit is not Unit.WORD or bench.config.direction is Direction.BIDIRECTIONAL:
        return
    module, row = bench.built(), TRAINING[0]
    before = scored(module, bench.batch([row]).tensors)[0]
    seen = False
    for place in range(len(row)):
        changed = [*row[:place], "dull", *row[place + 1 :]]
        moved = (scored(module, bench.batch([changed]).tensors)[0] != before).any(dim=-1)
        seen = seen or bool(moved[place])
        later = moved[place + 1 :].any() and bench.config.direction is not Direction.CAUSAL
        if moved[:place].any() or later:
            raise Failed(
                f"its `direction` is {bench.config.direction.value}, but a vector changes with a word"
                f" {'before' if later else 'after'} it"
            )
    if not seen:
        raise Failed("another word never changes its vector")


@rule("a run must be reproducible, including its vocabulary")
def fits_alike(bench: FeaturizerBench) -> None:
    """Fitting twice to the same rows gives the same state, and two featurizers are independent."""
    first = bench.fitted()
    before = json.dumps(first.state())
    second = bench.fitted(other=OTHER_TASK)
    if json.dumps(first.state()) != before:
        raise Failed("fitting a second featurizer changes the first")
    del second
    if json.dumps(bench.fitted().state()) != before:
        raise Failed("two featurizers fitted to the same rows differ")


@rule("large files are read in chunks")
def fits_pieces_alike(bench: FeaturizerBench) -> None:
    """Fitted to rows in chunks, it learns and reports the same as with all rows at once."""
    whole, parted = [column_of(TRAINING)], [column_of(TRAINING[:2]), column_of(TRAINING[2:])]
    featurizer = bench.factory(bench.config)
    featurizer.fit({"one": parted})
    if json.dumps(featurizer.state()) != json.dumps(bench.fitted().state()):
        raise Failed("fitted to two chunks, its state differs from that of all rows")
    if not equal_json(dict(featurizer.report(parted)), dict(featurizer.report(whole))):
        raise Failed("its report on two chunks differs from that on all rows")


@rule("tasks that share an embedding share one vocabulary")
def fits_all_tasks(bench: FeaturizerBench) -> None:
    """Fitted to two tasks, it learns from both, if it learns from data at all."""
    one, other = (json.dumps(bench.fitted(task=rows).state()) for rows in (TRAINING, OTHER_TASK))
    if one == other:
        return
    both = json.dumps(bench.fitted(first=TRAINING, second=OTHER_TASK).state())
    if both in (one, other):
        raise Failed(f"fitted to two tasks it knows only the {'first' if both == one else 'second'}")


@rule("`mtl plan` prints them, and a run writes them as JSON")
def reports_in_json(bench: FeaturizerBench) -> None:
    """`report` returns numbers by name, and `notices` lines of text."""
    report, notices = bench.featurizer.report([column_of(UNSEEN)]), bench.featurizer.notices()
    json.dumps(report)
    if not all(isinstance(value, int | float) for value in report.values()):
        raise Failed(f"`report` must return numbers, but returns {report}")
    if not all(isinstance(line, str) for line in notices):
        raise Failed(f"`notices` must return lines of text, but returns {notices}")


RULES = (
    encodes_each_row,
    embeds_each_token,
    rows_are_independent,
    state_survives,
    follows_its_words,
    keeps_its_direction,
    fits_alike,
    fits_pieces_alike,
    fits_all_tasks,
    reports_in_json,
    *MODULE,
)
