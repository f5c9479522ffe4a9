"""Rows without a label, and documents that are cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mtl
from mtl import DataError

Make = Callable[..., Any]
LABELS = st.sampled_from(["good", "bad", "-", "?", "", " "])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(LABELS, min_size=1), empty=st.booleans())
def test_exactly_the_rows_without_a_label_are_left_out_and_counted(
    task: Make, table: Make, labels: list[str], empty: bool
) -> None:
    made = task(ignore_labels=["-", "?"], ignore_empty_labels=empty)
    rows = table(*((f"text {number}", label) for number, label in enumerate(labels)))
    if not empty and any(not label.strip() for label in labels):
        with pytest.raises(DataError, match="`label` must not be empty"):
            made.prepare(rows)
        return
    frame = made.prepare(rows)
    kept = [(number, label) for number, label in enumerate(labels) if label in ("good", "bad")]
    assert frame["line"].to_list() == [number + 2 for number, _ in kept]
    assert frame["label"].to_list() == [label for _, label in kept]
    made.prepare(rows)  # counts nothing twice
    ignored = Counter(label.strip() for label in labels if label not in ("good", "bad"))
    notices = made.notices()
    assert len(notices) == bool(ignored)
    for notice in notices:
        assert notice.startswith(f"train.tsv: {ignored.total():,} row")
        assert all(f"{label or 'empty'}: {count}" in notice for label, count in ignored.items())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 9), min_size=1), most=st.integers(1, 9))
def test_documents_are_cut_and_what_they_lose_is_counted(
    task: Make, table: Make, lengths: list[int], most: int
) -> None:
    made = task(max_tokens=most)
    frame = made.prepare(table(*((" ".join("abcdefghi"[:length]), "1") for length in lengths)))
    assert frame["text"].to_list() == [list("abcdefghi"[: min(length, most)]) for length in lengths]
    lost = [length - most for length in lengths if length > most]
    assert len(made.notices()) == bool(lost)
    for notice in made.notices():
        are = "1 document is" if len(lost) == 1 else f"{len(lost)} documents are"
        assert notice == (
            f"train.tsv: {are} longer than `max_tokens` ({most}); {sum(lost)} words were cut off"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_labels": ["-"], "labels": ["-", "1"]}, "must name no label of the task, but names '-'"),
        ({"ignore_labels": ["-"], "class_weights": {"-": 2.0}}, "must name no label of the task"),
        ({"ignore_labels": [""]}, "must not be empty"),
    ],
)
def test_labels_that_are_and_are_not_ignored_are_refused(
    config: Make, options: dict[str, Any], message: str
) -> None:
    [problem] = config(**options).check()
    assert problem.path == "ignore_labels[0]"
    assert message in problem.message


def test_tasks_over_the_label_columns_of_one_file_leave_out_their_own_rows(tmp_path: Path) -> None:
    lines = ["text\tmood\ttopic"]
    lines += ["fine film\tgood\t", "dull plot\tbad\tfilm", "rain today\t\tweather", "a storm\t-\tweather"] * 5
    for name in ("train.tsv", "eval.tsv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    def task(column: str) -> dict[str, Any]:
        source = {"train_path": "train.tsv", "eval_path": "eval.tsv", "columns": {"label": column}}
        options = {"ignore_labels": ["-"], "ignore_empty_labels": True, "batch_size": 5}
        return {"DocClassificationTask": {"data": {"TSV": source}, **options}}

    config = {
        "base_dir": str(tmp_path),
        "tasks": {"Mood": task("mood"), "Topic": task("topic")},
        "trainer": {"max_steps": 4},
        "device": "cpu",
    }
    plan = mtl.plan(config)
    for name, rows in {"Mood": 10, "Topic": 15}.items():
        assert [plan["tasks"][name][split]["rows"] for split in ("train", "eval")] == [rows, rows]
        assert [plan["tasks"][name][split]["skipped"] for split in ("train", "eval")] == [0, 0]
    said = "\n".join(plan["notices"])
    assert "Mood: " in said
    assert "10 rows have no label and are left out (empty: 5, -: 5)" in said
    assert "5 rows have no label and are left out (empty: 5)" in said
    mtl.train(config, output=tmp_path / "run")
    answers = list(mtl.load(tmp_path / "run").predict("Topic", [{"text": "a fine storm"}]))
    assert set(answers[0]["probabilities"]) == {"film", "weather"}
