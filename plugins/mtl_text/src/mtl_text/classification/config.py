"""Settings of classification tasks. Free of torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from attrs import Factory

from mtl import ColumnSpec, Metric, Problem, configclass, did_you_mean, option
from mtl.suggest import as_number
from mtl_text.documents.config import DocumentTaskConfig

SelectionMetric = Literal[
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "micro_precision",
    "micro_recall",
    "micro_f1",
    "matthews_correlation",
    "roc_auc",
]


@configclass
class ClassificationTaskConfig(DocumentTaskConfig):
    """Assigns one of several labels to each row."""

    labels: list[str] = option(
        Factory(list), "Labels in the order of the scores; if empty, those of the training rows, sorted."
    )
    ignore_labels: list[str] = option(
        Factory(list), "Labels that stand for no label, such as `-`: their rows are left out and counted."
    )
    ignore_empty_labels: bool = option(
        False, "Leave out and count rows whose label is empty; otherwise these are bad rows."
    )
    max_tokens: int | None = option(
        None, "Words read of a text; what is cut off is counted. No limit if null.", minimum=1
    )
    label_map: dict[str, str] = option(
        Factory(dict), "Labels of the data to those of the task; a label that is not here stays as it is."
    )
    class_weights: dict[str, float] | Literal["balanced"] = option(
        Factory(dict),
        "Factors of the loss by label, 1 if absent; `balanced` gives each label the same share of the loss of"
        " the training rows.",
        above=0,
    )
    class_sampling: Literal["natural", "square-root", "balanced"] = option(
        "natural",
        "How often training rows of a label are drawn: as often as they occur, by the square root of that, or"
        " each label equally often.",
    )
    label_smoothing: float = option(
        0.0, "Label smoothing: share of the target that is spread evenly over all labels.", minimum=0, below=1
    )
    selection_metric: SelectionMetric = option(
        "accuracy", "The metric that selects the best model; `roc_auc` is for two labels."
    )

    @property
    def metric(self) -> Metric:
        """The metric named by `selection_metric`."""
        minimum = -1.0 if self.selection_metric == "matthews_correlation" else 0.0
        return Metric(self.selection_metric, higher_is_better=True, minimum=minimum, maximum=1.0)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The texts, and the target `label`."""
        label = ColumnSpec("label", input=False, may_be_empty=self.ignore_empty_labels)
        return *map(ColumnSpec, self.texts), label

    def check(self) -> Iterator[Problem]:
        """Find labels that cannot be told apart, and settings that do not fit the labels given here."""
        yield from self._check_map()
        for position, label in enumerate(self.ignore_labels):
            if label in self.labels or label in self._weighted:
                yield Problem(
                    f"ignore_labels[{position}]",
                    f"`ignore_labels` must name no label of the task, but names {label!r}",
                )
            elif label != label.strip() or not label:
                yield Problem(
                    f"ignore_labels[{position}]",
                    f"a label must not be empty or have spaces around it, but is {label!r}",
                    "" if label else "for empty labels there is `ignore_empty_labels`",
                )
        if not self.labels:
            return
        if len(self.labels) == 1:
            yield Problem("labels", "`labels` must name at least two labels, but names one")
        seen: set[str] = set()
        for position, label in enumerate(self.labels):
            if not label or label != label.strip():
                yield Problem(
                    f"labels[{position}]",
                    f"a label must not be empty or have spaces around it, but is {label!r}",
                )
            elif label in seen:
                yield Problem(f"labels[{position}]", f"`labels` must differ, but {label!r} is there twice")
            seen.add(label)
        yield from self.misfits(seen)

    @property
    def _weighted(self) -> Mapping[str, float]:
        """The labels that `class_weights` names."""
        return {} if isinstance(self.class_weights, str) else self.class_weights

    def _check_map(self) -> Iterator[Problem]:
        """Find mapped labels that no row could have."""
        for label, mapped in self.label_map.items():
            if not mapped.strip() or mapped != mapped.strip() or label != label.strip():
                yield Problem(
                    f"label_map.{label}",
                    "`label_map` must map labels without spaces around them to such labels, but maps"
                    f" {label!r} to {mapped!r}",
                )
            elif self.labels and mapped not in self.labels and mapped not in self.ignore_labels:
                yield Problem(
                    f"label_map.{label}",
                    f"`label_map` must map to labels of the task, but {mapped!r} is none",
                    known_labels(mapped, self.labels),
                )

    def misfits(self, labels: Collection[str]) -> Iterator[Problem]:
        """Yield settings that do not fit these labels."""
        for label in self._weighted:
            if label not in labels:
                yield Problem(
                    f"class_weights.{label}",
                    f"`class_weights` must name labels, but {label!r} is none",
                    known_labels(label, labels),
                )
        if self.selection_metric == "roc_auc" and len(labels) > 2:
            yield Problem(
                "selection_metric", f"`roc_auc` needs two labels, but there are {len(labels)}", "try macro_f1"
            )


def known_labels(label: str, labels: Collection[str]) -> str:
    """Return a hint for an unknown label: the nearest ones, then some of the known ones.

    Near a number is what has the same value, not what has the same digits.
    """
    listed = sorted(labels)
    value = as_number(label)
    if value is None:
        hint = did_you_mean(label, labels)
    else:
        equal = [each for each in listed if as_number(each) == value]
        hint = f"did you mean `{equal[0]}`?" if equal else ""
    shown = ", ".join(repr(each) for each in listed[:10]) + (", ..." if len(listed) > 10 else "")
    return f"{hint} known: {shown}".lstrip()
