"""DocClassificationTask: rows to labels, labels to predictions."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl import Builder, ConfigError, DataError, Table
from mtl.data.columns import Rows
from mtl_text.classification.labels import MOST_LABELS_FOUND, sort_labels
from pytext_plugins_sst.task import DocClassificationTask

Make = Callable[..., Any]

REVIEWS = [("a fine film", "1"), ("dull", "0"), ("fine and moving", "1"), ("not fine", "0")]


def fitted(task: DocClassificationTask, table: Table) -> DocClassificationTask:
    frame = task.prepare(table)
    for featurizer in task.features.featurizers.values():
        featurizer.fit({"Reviews": [frame["text"]]})
    task.fit([frame])
    return task


def rows_of(task: DocClassificationTask, table: Table) -> Rows:
    frame = task.prepare(table)
    columns = {**task.features.encode({"text": frame["text"]}), **task.encode(frame)}
    return Rows(columns, frame["line"].to_numpy(), table.path)


def batch_of(task: DocClassificationTask, table: Table) -> Any:
    rows = rows_of(task, table)
    return rows.batch(np.arange(len(rows)))


def test_prepares_tokens_labels_and_lines(task: Make, table: Make) -> None:
    frame = task().prepare(table((" a  fine film ", " 1 "), ("dull", "0")))
    assert frame["text"].to_list() == [["a", "fine", "film"], ["dull"]]
    assert frame["label"].to_list() == ["1", "0"]
    assert frame["line"].to_list() == [2, 3]


@pytest.mark.parametrize(
    ("rows", "line", "column", "more"),
    [
        ([("fine", "1"), ("  ", "0")], 3, "text", ""),
        ([("fine", "1"), ("dull", ""), ("flat", " ")], 3, "label", ", and so for 1 more rows"),
    ],
)
def test_d11_a_row_without_text_or_label_is_an_error(
    task: Make, table: Make, rows: list[tuple[str, str]], line: int, column: str, more: str
) -> None:
    message = f"train.tsv:{line}: `{column}` must not be empty, but is{more}"
    with pytest.raises(DataError, match=re.escape(message) + "$"):
        task().prepare(table(*rows))


def test_labels_are_found_in_the_training_rows(task: Make, table: Make) -> None:
    made = fitted(task(), table(("x", "10"), ("y", "9"), ("z", "-1"), ("x", "9")))
    assert made.labels == ["-1", "9", "10"]
    assert batch_of(made, table(("z", "9"), ("x", "-1")))["label"].tolist() == [1, 0]


@given(st.sets(st.integers(-50, 50), min_size=1))
def test_numbers_are_sorted_by_value(numbers: set[int]) -> None:
    assert sort_labels([str(number) for number in numbers]) == [str(number) for number in sorted(numbers)]


@pytest.mark.parametrize("labels", [["nan", "1", "0"], ["10", "9", "none"], ["inf", "1"], ["b", "a"]])
def test_other_labels_are_sorted_by_alphabet(labels: list[str]) -> None:
    assert sort_labels(labels) == sorted(labels)


def test_given_labels_keep_their_order(task: Make, table: Make) -> None:
    made = fitted(task(labels=["1", "0", "2"]), table(*REVIEWS))
    assert batch_of(made, table(*REVIEWS))["label"].tolist() == [0, 1, 0, 1]
    assert made.notices() == ["no training row has the label '2'"]


@pytest.mark.parametrize("labels", [[], ["good", "bad"]])
def test_d14_an_unknown_label_is_an_error_with_file_and_line(
    task: Make, table: Make, labels: list[str]
) -> None:
    made = fitted(task(labels=labels), table(("x", "good"), ("y", "bad")))
    dev = table(("x", "good"), ("y", "god"), ("z", "so"), path="dev.tsv")
    message = (
        "dev.tsv:3: `label` must be one of the task's labels, but is 'god', and so for 1 more rows"
        " (did you mean `good`? known: 'bad', 'good'; list it in `ignore_labels`"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        made.encode(made.prepare(dev))


@pytest.mark.parametrize("labels", [[], ["0", "1"]])
def test_one_label_is_not_enough_to_train_on(task: Make, table: Make, labels: list[str]) -> None:
    with pytest.raises(
        DataError, match=r"train\.tsv: `label` must have at least two values .* all rows say '1'"
    ):
        fitted(task(labels=labels), table(("x", "1"), ("y", "1")))


@pytest.mark.parametrize(("rows", "kinds"), [(30, 30), (3 * MOST_LABELS_FOUND, MOST_LABELS_FOUND + 1)])
def test_d14_a_column_that_holds_no_labels(task: Make, table: Make, rows: int, kinds: int) -> None:
    wrong = table(*(("x", f"text {number % kinds}") for number in range(rows)))
    message = f"`label` must be a column of labels, but it has {kinds} different values in {rows} rows"
    with pytest.raises(DataError, match=message):
        fitted(task(), wrong)
    given = [f"text {number}" for number in range(kinds)]
    assert fitted(task(labels=given), wrong).labels == given


def test_few_rows_may_all_differ(task: Make, table: Make) -> None:
    assert fitted(task(), table(("x", "a"), ("y", "b"), ("z", "c"))).labels == ["a", "b", "c"]


def test_settings_that_do_not_fit_the_labels_found(task: Make, table: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        fitted(task(class_weights={"2": 3.0}), table(*REVIEWS))
    [problem] = caught.value.problems
    assert problem.path == "tasks.Reviews.DocClassificationTask.class_weights.2"


def test_the_model_gives_a_loss_and_every_parameter_a_gradient(task: Make, table: Make) -> None:
    made = fitted(task(class_weights={"1": 3.0}, label_smoothing=0.1), table(*REVIEWS))
    model = made.build_model(Builder())
    loss = model(batch_of(made, table(*REVIEWS))).loss
    assert loss.weight == 2 * 3.0 + 2 * 1.0
    (loss.total / loss.weight).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_model_learns(task: Make, table: Make) -> None:
    torch.manual_seed(0)
    made = fitted(task(), table(*REVIEWS))
    model = made.build_model(Builder())
    batch = batch_of(made, table(*REVIEWS))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model(batch).loss.total.backward()
        optimizer.step()
    metrics = made.metrics()
    with torch.no_grad():
        metrics.update(model.eval()(batch), batch)
    assert metrics.compute()["accuracy"] == 1.0


def test_c2_predictions_name_labels_and_probabilities(task: Make, table: Make) -> None:
    made = fitted(task(labels=["bad", "good", "so-so"]), table(("fine", "good"), ("dull", "bad")))
    model = made.build_model(Builder()).eval()
    plain = table(("dull film", ""), ("fine", ""))
    unlabeled = Table(plain.frame.drop("label"), "input")
    batch = batch_of(made, unlabeled)
    assert "label" not in batch
    with torch.inference_mode():
        answers = made.predictions(model(batch), batch)
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers
    for answer in answers:
        probabilities = answer["probabilities"]
        assert list(probabilities) == ["bad", "good", "so-so"]
        assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-12)
        assert answer["label"] == max(probabilities, key=probabilities.__getitem__)


def test_d4_a_batch_of_one_row_and_a_split_without_rows(task: Make, table: Make) -> None:
    made = fitted(task(), table(*REVIEWS))
    batch = batch_of(made, table(("fine", "1")))
    assert torch.isfinite(made.build_model(Builder())(batch).loss.total)
    assert len(rows_of(made, table())) == 0


def test_the_state_is_all_that_a_loaded_task_needs(task: Make, table: Make) -> None:
    made = fitted(task(), table(*REVIEWS))
    loaded = task()
    loaded.load_state(json.loads(json.dumps(made.state())))
    assert loaded.labels == made.labels
    torch.testing.assert_close(
        loaded.encode(loaded.prepare(table(*REVIEWS)))["label"].values, torch.tensor([1, 0, 1, 0])
    )


@pytest.mark.parametrize("saved", [None, "01", ["0"], ["0", "0"], ["0", 1], [["0"], "1"]])
def test_invalid_saved_labels_are_refused(task: Make, saved: Any) -> None:
    with pytest.raises(DataError, match="`labels` must be a list of at least two different strings"):
        task().load_state({} if saved is None else {"labels": saved})


def test_many_labels_are_checked_in_a_moment(task: Make) -> None:
    config = task(labels=[str(number) for number in range(50_000)]).config
    began = time.process_time()
    assert list(config.check()) == []
    assert time.process_time() - began < 2


LOPSIDED = [(f"film {number}", "1" if number % 4 else "0") for number in range(40)]


def test_labels_are_mapped(task: Make, table: Make) -> None:
    words = task(label_map={"yes": "1", "no": "0"})
    made = fitted(words, table(("x", "yes"), ("y", "no"), ("z", "1"), ("u", "other")))

    assert made.labels == ["0", "1", "other"]
    assert batch_of(made, table(("x", "no"), ("x", "0")))["label"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label_map": {"yes": " "}}, "must map labels without spaces around them"),
        (
            {"label_map": {"yes": "2"}, "labels": ["0", "1"]},
            "must map to labels of the task, but '2' is none",
        ),
    ],
)
def test_a_map_to_no_label_is_refused(task: Make, settings: dict[str, Any], said: str) -> None:
    [problem] = task(**settings).config.check()
    assert problem.path == "label_map.yes" and said in problem.message


def test_balanced_weights_are_those_of_scikit_learn(task: Make, table: Make) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    made = fitted(task(class_weights="balanced"), table(*LOPSIDED))
    labels = [label for _, label in LOPSIDED]
    expected = compute_class_weight("balanced", classes=np.array(["0", "1"]), y=labels)
    assert list(made.class_weights.values()) == pytest.approx(expected.tolist())
    model: Any = made.build_model(Builder())
    assert model.class_weights.tolist() == pytest.approx(expected.tolist())

    loaded = task(class_weights="balanced")
    loaded.load_state(json.loads(json.dumps(made.state())))
    assert loaded.class_weights == made.class_weights
    with pytest.raises(DataError, match="must be a positive number for each label"):
        loaded.load_state({"labels": ["0", "1"], "class_weights": {"0": 1.0, "1": -1.0}})


@pytest.mark.parametrize(("name", "ratio"), [("natural", None), ("square-root", 3**0.5), ("balanced", 3.0)])
def test_rows_of_a_rare_label_are_drawn_more_often(
    task: Make, table: Make, name: str, ratio: float | None
) -> None:
    made = fitted(task(class_sampling=name), table(*LOPSIDED))
    rows = rows_of(made, table(*LOPSIDED))
    weights = made.sampling_weights(rows)
    if ratio is None:
        assert weights is None
        return
    assert weights is not None
    rare = rows.columns["label"].values.numpy() == 0
    assert weights[rare] / weights[~rare][0] == pytest.approx(ratio)
