"""`check_data`: what is wrong with the data of a config, or looks as if it were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen

from mtl.components import Split, Task, TaskConfig
from mtl.config.run_config import RunConfig
from mtl.data.cache import notices
from mtl.data.load import SPLITS, TaskData, Tasks, load_data, make_tasks
from mtl.data.pieces import Scratch
from mtl.data.splits import split_tables
from mtl.errors import DataError, MtlError
from mtl.plugins import Plugins, discover
from mtl.runs.baselines import run_baselines
from mtl.runs.given import GivenData
from mtl.runs.inspection import label_notices, label_summary, unknown_notices
from mtl.runs.preparation import Source, load_source, torch_settings
from mtl.runs.texts import LINES_NAMED, ODD, SplitTexts

Verdict = Literal["error", "warning", "note"]
"""An error ends a run or makes its metrics meaningless, a warning is likely to be a fault, and a note is what
a user should know."""

FEW_SHARE = 0.01
"""Repeated rows, or rows in two splits, of a larger share are a warning."""
REPEATED_LINES_SHARE = 0.5
"""Texts without a target, such as lines of a corpus, repeat themselves; a larger share is noticed."""
LONG_FACTOR, LONG_WORDS = 50, 500
"""A row is long if it has more words than this, and more than this many times the median."""
FAR_FACTOR = 10.0
ABSENT_SHARE, ABSENT_ROWS = 0.05, 50
"""A label of this share of the training rows should be among this many evaluation rows."""
NUMBERS_SHARE = 0.5

Texts = Mapping[str, Mapping[Split, SplitTexts]]


@frozen
class Finding:
    """Something about the data of a task, or of one of its splits.

    `rows` counts the rows that it is about, and `lines` are those of the first of them.
    """

    task: str
    split: Split | None
    kind: str
    verdict: Verdict
    message: str
    rows: int | None = None
    lines: Sequence[int] = ()


def check_data(
    source: Source,
    *,
    data: GivenData | None = None,
    base_dir: Path | str | None = None,
    overrides: Sequence[str] = (),
    baseline: bool = False,
    plugins: Plugins | None = None,
) -> dict[str, Any]:
    """Return what the data of a config holds and what is wrong with it, as `mtl data check --json` prints it.

    `data` are rows in place of files, as in `train`. `baseline` adds the scores of simple models of the
    plugins on the evaluation data. No model of the config is built.

    Raises `ConfigError` for a config that is wrong; what is wrong with the data is among the findings.
    """
    plugins = plugins or discover()
    config = load_source(source, plugins, overrides, base_dir, data=data).config
    found: list[Finding] = []
    texts: dict[str, dict[Split, SplitTexts]] = {}
    with torch_settings(config):
        for name, component in config.tasks.items():
            texts[name] = dict(_read(name, component.config, config.seed, found))
        encoded = _encode(config, found)
        for name, splits in texts.items():
            found += _of_task(name, splits, encoded)
        found += _between_tasks(texts)
        found += encoded.findings
    checked: dict[str, Any] = {
        "tasks": {
            name: {
                split: {**each.described(), "labels": label_summary(each.labels)}
                for split, each in splits.items()
            }
            for name, splits in texts.items()
        },
        "findings": [{**attrs.asdict(each), "lines": list(each.lines)} for each in _distinct(found)],
    }
    if baseline:
        checked["baselines"] = run_baselines(config, plugins)
    return checked


def _read(
    name: str, config: TaskConfig, seed: int, found: list[Finding]
) -> Iterator[tuple[Split, SplitTexts]]:
    """Yield the rows of each split; what cannot be read is found."""
    for split in SPLITS:
        if not config.data.config.has(split):
            continue
        texts = SplitTexts()
        try:
            for piece in split_tables(config, split, seed):
                texts.add(piece.table, config)
        except DataError as error:
            found.append(Finding(name, split, "unreadable", "error", str(error)))
        else:
            yield split, texts


def _distinct(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings, errors first, each message once."""
    order: dict[str, int] = {"error": 0, "warning": 1, "note": 2}
    once = {(each.task, each.message): each for each in reversed(found)}
    return sorted(reversed(once.values()), key=lambda each: order[each.verdict])


# --- what the rows hold ------------------------------------------------------------------------------


def _of_task(name: str, splits: Mapping[Split, SplitTexts], encoded: Encoded) -> Iterator[Finding]:
    for split, texts in splits.items():
        if not texts.rows:
            verdict: Verdict = "error" if split == "train" else "warning"
            yield Finding(name, split, "empty", verdict, f"{texts.path or split}: there are no rows")
            continue
        yield from _of_split(name, split, texts)
    train = splits.get("train")
    if train is not None and train.rows:
        labels = encoded.label_counts.get(name, {})
        for notice in label_notices(labels.get("train") or train.labels):
            yield Finding(name, "train", "labels", "warning", notice)
        for split in ("eval", "test"):
            if split in splits:
                yield from _overlap(name, split, splits[split], "the training data", train)
                if not encoded.succeeded:  # else the task maps these labels, or leaves their rows out
                    yield from _unseen_labels(name, split, splits[split], train)
                known, given = (labels.get(each) or splits[each].labels for each in ("train", split))
                yield from _absent_labels(name, split, splits[split], known, given)
    if "eval" in splits and "test" in splits:
        yield from _overlap(name, "test", splits["test"], "the evaluation data", splits["eval"])


def _of_split(name: str, split: Split, texts: SplitTexts) -> Iterator[Finding]:
    def finding(kind: str, verdict: Verdict, message: str, lines: Sequence[int]) -> Finding:
        return Finding(
            name, split, kind, verdict, f"{texts.path}: {message}", len(lines), lines[:LINES_NAMED]
        )

    if texts.skipped:
        rows = _rows(texts.skipped, "is bad and skipped", "are bad and skipped")
        yield Finding(name, split, "bad rows", "warning", f"{texts.path}: {rows}", texts.skipped)
    for kind, lines in texts.odd.items():
        has = _rows(len(lines), "has", "have")
        yield finding("characters", _by_share(lines, texts), f"{has} {ODD[kind]}", lines)
    again, other = texts.repeated()
    has_target = bool(texts.labels or texts.numbers)
    if other and has_target:
        said = _rows(len(other), "has the text of an earlier row", "have the texts of earlier rows")
        yield finding("contradictions", _by_share(other, texts), f"{said}, but another target", other)
    if again and (has_target or len(again) > REPEATED_LINES_SHARE * texts.rows):
        said = _rows(len(again), "repeats the text of an earlier row", "repeat the texts of earlier rows")
        yield finding("duplicates", _by_share(again, texts), said, again)
    described = texts.described()["words"]
    limit = max(LONG_FACTOR * described["median"], LONG_WORDS)
    long = [line for line, words in zip(texts.lines, texts.words, strict=True) if words > limit]
    if long:
        said = f"{_rows(len(long), 'has', 'have')} more than {limit:,.0f} words, the median being"
        yield finding("length", "warning", f"{said} {described['median']:g}; were rows joined?", long)
    if texts.all_numbers > NUMBERS_SHARE * texts.rows:
        said = _rows(texts.all_numbers, "has no letter", "have no letter")
        yield finding("texts", "warning", f"{said} in the texts; is this the column of texts?", [])
    yield from _numbers(name, split, texts)


def _numbers(name: str, split: Split, texts: SplitTexts) -> Iterator[Finding]:
    """Yield what is odd about targets that are numbers."""
    if texts.numbers and min(texts.numbers) == max(texts.numbers):
        message = f"{texts.path}: all rows have the target {texts.numbers[0]:g}"
        yield Finding(name, split, "targets", "error" if split == "train" else "warning", message)
    far = texts.outliers(FAR_FACTOR)
    if far:
        message = f"{_rows(len(far), 'has', 'have')} a target far from all others; is it a mark for no value?"
        lines = far[:LINES_NAMED]
        yield Finding(name, split, "targets", "warning", f"{texts.path}: {message}", len(far), lines)


def _unseen_labels(name: str, split: Split, texts: SplitTexts, train: SplitTexts) -> Iterator[Finding]:
    unseen = {label: count for label, count in texts.labels.items() if label not in train.labels}
    if unseen:
        labels = ", ".join(f"`{label}` ({count:,})" for label, count in unseen.items())
        message = f"{texts.path}: no training row has the {_plural(len(unseen), 'label')} {labels}"
        yield Finding(name, split, "unseen labels", "error", message, sum(unseen.values()))


def _absent_labels(
    name: str, split: Split, texts: SplitTexts, known: Mapping[str, int], given: Mapping[str, int]
) -> Iterator[Finding]:
    """Yield the labels that many training rows have, but none of a split."""
    total = sum(known.values())
    if texts.rows >= ABSENT_ROWS and given:
        for label, count in known.items():
            if not given.get(label) and count >= ABSENT_SHARE * total:
                part = f"{100 * count / total:.1f} % of the training data"
                message = f"{texts.path}: no row has the label `{label}`, which {part} has"
                yield Finding(name, split, "labels", "warning", message)


def _overlap(name: str, split: Split, texts: SplitTexts, other: str, known: SplitTexts) -> Iterator[Finding]:
    """Yield the rows of a split that another one has, too; lines without a target repeat themselves."""
    lines = texts.also_in(known)
    few = 0 if texts.labels or texts.numbers else REPEATED_LINES_SHARE * texts.rows
    if len(lines) > few:
        share = f"{100 * len(lines) / texts.rows:.1f} %"
        said = _rows(len(lines), "is", "are")
        message = f"{texts.path}: {said} in {other}, too ({share})"
        is_train = len(lines) == texts.rows and other == "the training data"
        verdict = "error" if is_train else _by_share(lines, texts)
        yield Finding(name, split, "overlap", verdict, message, len(lines), lines[:LINES_NAMED])


def _between_tasks(texts: Texts) -> Iterator[Finding]:
    """Yield the evaluation rows of a task that another task trains on."""
    for trained, of_trained in texts.items():
        train = of_trained.get("train")
        for name, splits in texts.items():
            if name == trained or train is None:
                continue
            for split in ("eval", "test"):
                if split in splits and splits[split].rows:
                    yield from _overlap(name, split, splits[split], f"the training data of {trained}", train)


def _by_share(lines: Sequence[int], texts: SplitTexts) -> Verdict:
    return "warning" if len(lines) > FEW_SHARE * texts.rows else "note"


def _rows(number: int, one: str, several: str) -> str:
    return f"1 row {one}" if number == 1 else f"{number:,} rows {several}"


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


# --- what the tasks and featurizers say ----------------------------------------------------------------


@frozen
class Encoded:
    """What tasks and featurizers make of the data: whether they can read all of it, their findings, and how
    many rows of each task and split have each label."""

    succeeded: bool
    findings: Sequence[Finding] = ()
    label_counts: Mapping[str, Mapping[Split, Mapping[str, int]]] = field(factory=dict)


def _encode(config: RunConfig, found: Sequence[Finding]) -> Encoded:
    """Read the data as a run does; `found` are the files that cannot be read at all."""
    if found:
        return Encoded(succeeded=False)
    tasks = make_tasks(config)
    # What is said before data is read is not about the data.
    known: tuple[str, ...] = ()
    with contextlib.suppress(MtlError):
        known = notices(tasks)
    try:
        with Scratch() as scratch:
            data = load_data(config, tasks, scratch)
            counts = {name: _label_counts(task, data[name]) for name, task in tasks.tasks.items()}
            return Encoded(True, list(_noticed(tasks, data, known)), counts)
    except DataError as error:
        names = list(config.tasks)
        task = names[0] if len(names) == 1 else next((name for name in names if name in str(error)), "")
        return Encoded(False, [Finding(task, None, "refused", "error", str(error))])


def _label_counts(task: Task[Any], data: TaskData) -> dict[Split, Mapping[str, int]]:
    return {split: task.label_counts(rows) for split, rows in data.splits.items() if rows is not None}


def _noticed(tasks: Tasks, data: Mapping[str, TaskData], known: Sequence[str]) -> Iterator[Finding]:
    for name, each in data.items():
        for notice in each.notices:
            yield Finding(name, None, "notice", "note", notice)
        for notice in unknown_notices(each.statistics):
            yield Finding(name, None, "unknown words", "warning", notice)
    users = {key: shared.tasks[0] for key, shared in tasks.featurizers.items()}
    for notice in notices(tasks):
        if notice not in known:
            owner, _, said = notice.partition(": ")
            yield Finding(users.get(owner, owner), None, "notice", "warning", said)
