"""Configs of the data sources. Free of torch."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from attrs import Factory

from mtl import ColumnType, DatasetConfig, DataSourceConfig, FolderOrName, configclass, option
from mtl_text.data_config import LineSourceConfig, TableConfig, check_distinct


@configclass
class CSVConfig(TableConfig):
    """Rows of cells that may stand in double quotes (RFC 4180); columns are found as in any table.

    A cell in quotes may hold delimiters and line breaks; two quotes in it stand for one.
    """

    endings: ClassVar[tuple[str, ...]] = (".csv",)

    delimiter: str | None = option(
        None, "The character between two cells; a comma, semicolon, tab or bar is found if absent."
    )

    def __attrs_post_init__(self) -> None:
        TableConfig.__attrs_post_init__(self)
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n\0'):
            raise ValueError(
                f"`delimiter` must be one character, no quote and no line break, but is {self.delimiter!r}"
            )


@configclass
class CoNLLConfig(LineSourceConfig):
    """A word per line with its columns; blank lines end sentences.

    CoNLL-U is recognised: its columns have names, multi-word tokens and empty nodes are left out. So are
    comments and `-DOCSTART-` lines.
    """

    endings: ClassVar[tuple[str, ...]] = (".conll", ".conllu", ".bio", ".iob2")

    columns: dict[str, str | int] = option(
        Factory(dict),
        "Where each of the task's columns is: a name of CoNLL-U such as `UPOS`, a name in"
        " `# global.columns`, or a position from 0, or from the end if negative. If absent, `words` or"
        " `text` are `FORM` in CoNLL-U, else the first column, and `tags` are `UPOS`, else the last.",
    )
    delimiter: Literal["auto", "tab", "space"] = option(
        "auto", "What stands between two columns; `auto` takes tabs if the first word's line has one."
    )
    comment: str | None = option(
        None,
        "Lines before a sentence's first word that begin with this are comments. If absent, those that begin"
        " with `#` in CoNLL-U, and elsewhere those that do and have other than the usual number of columns.",
    )

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """Lists, and text: the words joined by spaces."""
        return frozenset({ColumnType.TEXTS, ColumnType.INTEGERS, ColumnType.TEXT})

    def __attrs_post_init__(self) -> None:
        LineSourceConfig.__attrs_post_init__(self)
        check_distinct(self.columns)
        if self.comment == "":
            raise ValueError("`comment` must be text, but is empty")


@configclass
class ParquetConfig(DataSourceConfig):
    """A row per row of a Parquet or Arrow file."""

    endings: ClassVar[tuple[str, ...]] = (".parquet", ".arrow", ".feather")

    columns: dict[str, str] = option(
        Factory(dict),
        "The name of each of the task's columns in the file, dotted for a field of a struct; `text` (or"
        " `sentence`) and `label` if absent.",
    )

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """All."""
        return frozenset(ColumnType)

    def __attrs_post_init__(self) -> None:
        check_distinct(self.columns)


@configclass
class SQuADConfig(DataSourceConfig):
    """A row per question of a file in SQuAD's JSON, version 1.1 or 2.0.

    Files may be compressed as in other sources. Messages count questions as rows.
    """

    endings: ClassVar[tuple[str, ...]] = (".json",)

    columns: dict[str, Literal["question", "context", "answers", "starts", "title", "id"]] = option(
        Factory(dict),
        "Which part of a question each of the task's columns is, if it has another name; `answers` are the"
        " texts and `starts` their first characters in `context`.",
    )

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """Text, and lists for the answers."""
        return frozenset({ColumnType.TEXT, ColumnType.TEXTS, ColumnType.INTEGERS})

    def __attrs_post_init__(self) -> None:
        check_distinct({name: str(part) for name, part in self.columns.items()})


@configclass
class PublicDatasetConfig(DatasetConfig):
    """A public dataset as its authors, or those of a benchmark, publish it."""


_TREEBANK = re.compile(r"UD_[A-Z][A-Za-z_]*-[A-Za-z0-9]+")


@configclass
class UDConfig(DatasetConfig):
    """A treebank of Universal Dependencies."""

    treebank: str = option(
        "UD_English-LinES", "The treebank, as its repository is called: `UD_LANGUAGE-NAME`."
    )

    def __attrs_post_init__(self) -> None:
        if not _TREEBANK.fullmatch(self.treebank):
            raise ValueError(
                "`treebank` must be called like UD_English-LinES, as its repository is, but is"
                f" {self.treebank!r}"
            )

    @classmethod
    def named(cls, name: str) -> Self | None:
        """Return the config of the treebank `UD_LANGUAGE-NAME`."""
        return cls(treebank=name) if _TREEBANK.fullmatch(name) else None


@configclass
class HFDatasetConfig(DataSourceConfig):
    """A row per row of a dataset of the Hugging Face Hub, or of a folder in one of its formats.

    `train_path`, `eval_path` and `test_path` name splits. No code of a dataset is run.
    """

    dataset: FolderOrName = option(
        help="A folder with a dataset, or the name of one on the Hugging Face Hub."
    )
    subset: str | None = option(None, "Subset (configuration) of the dataset, such as `sst2` of GLUE.")
    revision: str | None = option(None, "Branch, tag or commit of a dataset on the Hub.")
    streaming: bool = option(
        True,
        "Read rows as they arrive; otherwise the dataset is downloaded into the library's cache, from where"
        " it can be read without network.",
    )
    train_path: str = option("train", "Split to train on.")  # type: ignore[assignment]
    eval_path: str | None = option(None, "Split that chooses the best model.")  # type: ignore[assignment]
    test_path: str | None = option(  # type: ignore[assignment]
        None, "Split that is scored once, with the best model."
    )
    columns: dict[str, str] = option(
        Factory(dict),
        "The name of each of the task's columns in the dataset, dotted for a field of a struct; `text` (or"
        " `sentence`) and `label` if absent.",
    )

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """All."""
        return frozenset(ColumnType)

    def __attrs_post_init__(self) -> None:
        check_distinct(self.columns)


@configclass
class TaskSamplesConfig(DatasetConfig):
    """Generated files for each task; `mtl data sample` writes them."""
