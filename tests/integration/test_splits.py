"""Splits from one file: which rows are held out, for every source, and in every command."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mtl
from mtl import ConfigError, DataError, UsageError
from mtl.config.load import load_config
from mtl.data import splits
from mtl.data.splits import split_tables
from mtl.plugins import discover
from mtl.runs import load, read_split

Config = dict[str, Any]
WORDS = "a the film plot is was dull funny brave slow and but never always loved hated".split()


def rows(count: int, seed: int = 1) -> list[dict[str, str]]:
    """Return different rows; the label `x` is of a tenth of them, and each author has about five."""
    draw = random.Random(seed)
    return [
        {
            "text": f"{' '.join(draw.choices(WORDS, k=4))} {number}",
            "label": "x" if number % 10 == 0 else draw.choice("yz"),
            "author": f"author {draw.randrange(count // 5 + 1)}",
        }
        for number in range(count)
    ]


def write_tsv(path: Path, given: list[dict[str, str]]) -> None:
    lines = ["\t".join(each.values()) for each in given]
    path.write_text("text\tlabel\tauthor\n" + "".join(f"{line}\n" for line in lines))


def config(folder: Path, source: str = "TSV", name: str = "rows.tsv", **data: Any) -> Config:
    task = {
        "batch_size": 16,
        "data": {source: {"train_path": name, **data}},
        "features": {"word_feat": {"embed_dim": 4}},
        "representation": {"BiLSTMDocAttention": {"lstm": {"BiLSTM": {"lstm_dim": 3}}}},
    }
    return {
        "base_dir": str(folder),
        "tasks": {"T": {"DocClassificationTask": task}},
        "trainer": {"epochs": 2, "num_threads": 1},
        "device": "cpu",
    }


def divided(given: Config, seed: int = 0) -> dict[str, list[str]]:
    """Return the texts of each split."""
    loaded = load_config(given, plugins=discover()).config
    task = loaded.tasks["T"].config
    return {
        split: [text for piece in split_tables(task, split, seed) for text in piece.table.frame["text"]]
        for split in ("train", "eval", "test")
        if task.data.config.has(split)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tsv(tmp_path / "rows.tsv", rows(200))
    return tmp_path


@pytest.mark.parametrize(("evaluated", "tested"), [(0.1, None), (None, 0.25), (0.2, 0.3), (0.333, 0.333)])
def test_each_row_is_in_one_split_of_the_stated_size(
    folder: Path, evaluated: float | None, tested: float | None
) -> None:
    found = divided(config(folder, eval_fraction=evaluated, test_fraction=tested))

    assert sorted(text for texts in found.values() for text in texts) == sorted(
        each["text"] for each in rows(200)
    )
    for split, fraction in (("eval", evaluated), ("test", tested)):
        assert len(found.get(split, [])) == pytest.approx(200 * (fraction or 0), abs=0.6)


def test_the_seed_alone_decides_which_rows_are_held_out(folder: Path) -> None:
    given = config(folder, eval_fraction=0.2)

    assert divided(given, seed=1) == divided(given, seed=1)
    assert divided(given, seed=1)["eval"] != divided(given, seed=2)["eval"]
    stated = config(folder, eval_fraction=0.2, split_seed=1)
    assert divided(stated, seed=5) == divided(given, seed=1)


def test_the_order_of_the_rows_and_a_new_row_move_hardly_any(folder: Path) -> None:
    before = set(divided(config(folder, eval_fraction=0.2))["eval"])
    shuffled = rows(200)
    random.Random(0).shuffle(shuffled)
    write_tsv(folder / "rows.tsv", shuffled)
    assert set(divided(config(folder, eval_fraction=0.2))["eval"]) == before

    write_tsv(folder / "rows.tsv", [*shuffled, {"text": "new", "label": "y", "author": "n"}])
    assert len(set(divided(config(folder, eval_fraction=0.2))["eval"]) ^ before) <= 2


def test_every_source_holds_out_the_same_rows(folder: Path) -> None:
    given = rows(200)
    frame = pl.DataFrame(given)
    frame.write_parquet(folder / "rows.parquet")
    frame.write_csv(folder / "rows.csv", quote_style="always")
    (folder / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given))
    settings: Config = {
        "eval_fraction": 0.2,
        "test_fraction": 0.1,
        "stratify_by": "label",
        "group_by": "author",
    }
    expected = divided(config(folder, **settings))

    for source, name in (("Parquet", "rows.parquet"), ("CSV", "rows.csv"), ("JSONL", "rows.jsonl")):
        assert divided(config(folder, source, name, **settings)) == expected


def test_a_file_in_pieces_is_divided_as_one_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = divided(config(folder, eval_fraction=0.2, stratify_by="label"))
    monkeypatch.setattr(splits, "KEPT_BYTES", 100)
    monkeypatch.setattr("mtl_text.lines.BLOCK_BYTES", 500)

    assert divided(config(folder, eval_fraction=0.2, stratify_by="label")) == whole


def test_stratified_splits_have_each_value_in_its_share(folder: Path) -> None:
    found = divided(config(folder, eval_fraction=0.2, test_fraction=0.1, stratify_by="label"))
    labels = {each["text"]: each["label"] for each in rows(200)}

    for split, share in (("eval", 0.2), ("test", 0.1)):
        for label in "xyz":
            total = sum(each == label for each in labels.values())
            assert sum(labels[text] == label for text in found[split]) == pytest.approx(total * share, abs=1)


def test_a_value_of_one_row_stays_in_the_training_rows(folder: Path) -> None:
    given = [
        {**each, "label": "once" if number == 7 else each["label"]} for number, each in enumerate(rows(60))
    ]
    write_tsv(folder / "rows.tsv", given)

    for seed in range(20):
        found = divided(config(folder, eval_fraction=0.4, test_fraction=0.4, stratify_by="label"), seed)
        assert given[7]["text"] in found["train"]


@pytest.mark.parametrize("column", ["author", None])
def test_rows_of_a_group_stay_together(folder: Path, column: str | None) -> None:
    given = rows(200)
    if column is None:  # equal texts are a group
        given = [{**each, "text": given[number % 50]["text"]} for number, each in enumerate(given)]
        write_tsv(folder / "rows.tsv", given)
    settings = {} if column is None else {"group_by": column}
    found = divided(config(folder, eval_fraction=0.25, test_fraction=0.25, **settings))
    groups = {each["text"]: each[column or "text"] for each in given}

    held = {split: {groups[text] for text in texts} for split, texts in found.items()}
    assert (
        not held["train"] & held["eval"]
        and not held["train"] & held["test"]
        and not held["eval"] & held["test"]
    )
    for split in ("eval", "test"):
        assert len(found[split]) == pytest.approx(50, abs=6)


@pytest.mark.parametrize("settings", [{}, {"stratify_by": "label"}, {"group_by": "author"}])
@pytest.mark.parametrize("folds", [3, 5])
def test_folds_hold_out_each_row_once(folder: Path, folds: int, settings: Config) -> None:
    found = [
        divided(config(folder, eval_fraction=1 / folds, eval_fold=fold, **settings)) for fold in range(folds)
    ]

    held = [text for each in found for text in each["eval"]]
    assert sorted(held) == sorted(each["text"] for each in rows(200))
    assert all(len(each["train"]) + len(each["eval"]) == 200 for each in found)


def test_folds_leave_the_test_rows_alone(folder: Path) -> None:
    found = [
        divided(config(folder, test_fraction=0.2, eval_fraction=0.4, eval_fold=fold)) for fold in range(2)
    ]

    assert found[0]["test"] == found[1]["test"]
    assert not set(found[0]["eval"]) & {*found[1]["eval"], *found[0]["test"]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"eval_fraction": 0.1, "eval_path": "other.tsv"}, "`eval_fraction` takes rows of `train_path`, but"),
        ({"test_fraction": 0.1, "test_path": "other.tsv"}, "`test_fraction` takes rows of `train_path`, but"),
        ({"eval_fraction": 0.6, "test_fraction": 0.4}, "must leave rows to train on, but add up to 1"),
        ({"eval_fraction": 1.5}, "must be above 0 and below 1"),
        ({"eval_fraction": 0.0}, "must be above 0"),
        ({"eval_fraction": 0.1, "test_path": "rows.tsv"}, "`test_path` must not name a file of `train_path`"),
        ({"eval_fold": 1}, "`eval_fold` needs an `eval_fraction`"),
        ({"eval_fraction": 0.25, "eval_fold": 4}, "`eval_fold` must be below 4"),
        ({"stratify_by": "label"}, "`stratify_by` needs `eval_fraction` or `test_fraction`"),
        ({"split_seed": 3}, "`split_seed` needs"),
        ({"eval_fraction": 0.1, "group_by": "line"}, "`line` is the number of the row"),
    ],
)
def test_impossible_combinations_are_refused_before_data_is_read(
    folder: Path, data: Config, said: str
) -> None:
    write_tsv(folder / "other.tsv", rows(5))
    with pytest.raises(ConfigError, match=r"T\.DocClassificationTask\.data\.TSV") as caught:
        load_config(config(folder, **data), plugins=discover())
    assert said in str(caught.value)


def test_a_number_does_not_stratify(folder: Path) -> None:
    given = config(folder, eval_fraction=0.1, stratify_by="score")
    given["tasks"] = {"T": {"RegressionTask": given["tasks"]["T"]["DocClassificationTask"]}}
    with pytest.raises(ConfigError, match="`score` is a number"):
        load_config(given, plugins=discover())


def test_columns_and_rows_that_are_missing_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`nobody` must be there"):
        mtl.plan(config(folder, eval_fraction=0.1, group_by="nobody"))
    write_tsv(folder / "rows.tsv", rows(4))
    with pytest.raises(
        DataError, match=r"`eval_fraction` must give at least one row, but 0\.1 of 4 rows gives none"
    ):
        mtl.plan(config(folder, eval_fraction=0.1))


def test_a_run_says_what_was_held_out_and_tests_it(folder: Path, tmp_path: Path) -> None:
    given = config(folder, eval_fraction=0.2, test_fraction=0.1, stratify_by="label")
    planned = mtl.plan(given)["tasks"]["T"]
    assert {
        split: (planned[split]["rows"], planned[split]["fraction"]) for split in ("train", "eval", "test")
    } == {
        "train": (140, None),
        "eval": (40, 0.2),
        "test": (20, 0.1),
    }

    result = mtl.train(given, output=tmp_path / "run")
    data = result.data["data"]
    assert (
        data["T.test"]["rows"] == 20
        and data["T.test"]["fraction"] == 0.1
        and data["T.test"]["split_seed"] == 0
    )
    assert json.loads((tmp_path / "run/data.json").read_text()) == data
    run = load(tmp_path / "run")
    assert run.test("T")["T"] == result.data["tasks"]["T"]["test"]
    assert read_split(run, "T", "eval").digest() == data["T.eval"]["sha256"]

    write_tsv(folder / "rows.tsv", rows(200, seed=2))
    with pytest.raises(UsageError, match="the rows have changed since the run"):
        run.test("T")


def test_a_run_over_held_out_rows_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    given = config(folder, eval_fraction=0.2, group_by="author")
    whole = mtl.train(given, output=tmp_path / "whole")
    first = {**given, "trainer": {**given["trainer"], "epochs": 1}}
    mtl.train(first, output=tmp_path / "parts")
    again = mtl.train(given, output=tmp_path / "parts", resume=True)

    assert again.data["tasks"]["T"]["eval"] == whole.data["tasks"]["T"]["eval"]
    weights = "model/weights.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    with pytest.raises(UsageError, match=r"eval_fraction: 0\.2 before, 0\.3 now"):
        mtl.train(
            given,
            output=tmp_path / "parts",
            resume=True,
            overrides=["tasks.T.DocClassificationTask.data.TSV.eval_fraction=0.3"],
        )


def test_skipped_rows_are_counted_once(folder: Path) -> None:
    with (folder / "rows.tsv").open("a") as file:
        file.write("no label\n")
    given = config(folder, eval_fraction=0.2, on_bad_row="skip")
    planned = mtl.plan(given)["tasks"]["T"]

    assert (planned["train"]["skipped"], planned["eval"]["skipped"]) == (1, 0)


def test_a_cached_split_belongs_to_its_seed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("mtl.data.cache.WORTH_SECONDS", 0.0)
    given = config(folder, eval_fraction=0.2)

    digests = [
        mtl.train(given, output=tmp_path / f"run{number}", seed=seed).data["data"]["T.eval"]["sha256"]
        for number, seed in enumerate((1, 2, 1))
    ]
    assert digests[0] == digests[2] != digests[1]


def test_a_language_model_holds_out_lines(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"{' '.join(WORDS[:5])} {number}\n" for number in range(50)))
    task = {
        "data": {"train_path": "text.txt", "eval_fraction": 0.2},
        "features": {"word_feat": {"embed_dim": 3}},
    }
    planned = mtl.plan({"base_dir": str(tmp_path), "tasks": {"LM": {"LMTask": task}}})["tasks"]["LM"]

    assert (planned["train"]["rows"], planned["eval"]["rows"]) == (40, 10)


def test_a_run_with_balanced_labels_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    given = config(folder, eval_fraction=0.2)
    given["tasks"]["T"]["DocClassificationTask"] |= {
        "class_sampling": "balanced",
        "class_weights": "balanced",
    }
    whole = mtl.train(given, output=tmp_path / "whole")
    mtl.train({**given, "trainer": {**given["trainer"], "epochs": 1}}, output=tmp_path / "parts")
    mtl.train(given, output=tmp_path / "parts", resume=True)

    weights = "model/weights.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert load(tmp_path / "whole").tasks.state()["tasks"]["T"]["class_weights"].keys() == {"x", "y", "z"}
    assert 0 < whole.data["tasks"]["T"]["rows_seen"] <= 160
