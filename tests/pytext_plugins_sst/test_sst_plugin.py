"""The plugin and its configs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import pytest

from mtl.components import KINDS
from mtl_text.classification.config import SelectionMetric
from mtl_text.classification.metrics import ClassificationMetrics
from pytext_plugins_sst import plugin


def test_each_spec_names_a_config_of_its_kind_and_a_factory() -> None:
    kinds = {kind.hook: kind for kind in KINDS.values()}
    for hook in ("mtl_tasks", "mtl_datasets"):
        for spec in getattr(plugin, hook)():
            assert issubclass(spec.load_config(), kinds[hook].config)
            assert callable(spec.load_factory())


def test_plugin_and_config_import_no_torch() -> None:
    program = "import sys, pytext_plugins_sst.plugin, pytext_plugins_sst.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pytext_plugins_sst.config" in loaded
    assert not loaded & {"torch", "polars", "torchmetrics"}


def test_the_dataset_has_an_address_and_a_sample_for_each_file() -> None:
    [spec] = plugin.mtl_datasets()
    dataset = spec.load_factory()(spec.load_config()())
    [download] = dataset.downloads()
    assert len(download.md5) == 32
    assert set(download.files.values()) <= set(dataset.sample(0))


def test_the_metric_is_the_one_named(config: Callable[..., Any]) -> None:
    metric = config(selection_metric="macro_f1").metric
    assert (metric.name, metric.higher_is_better) == ("macro_f1", True)


def test_each_selection_metric_is_a_metric_of_the_results() -> None:
    metrics = ClassificationMetrics(["0", "1"]).compute()
    assert set(get_args(SelectionMetric)) == set(metrics) - {"per_class", "confusion_matrix"}


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"labels": ["a"]}, "labels", "at least two labels"),
        ({"labels": ["a", "b", "a"]}, "labels[2]", "'a' is there twice"),
        ({"labels": ["a", " b"]}, "labels[1]", "is ' b'"),
        ({"labels": ["a", ""]}, "labels[1]", "is ''"),
        ({"labels": ["good", "bad"], "class_weights": {"god": 2.0}}, "class_weights.god", "'god' is none"),
        ({"labels": ["a", "b", "c"], "selection_metric": "roc_auc"}, "selection_metric", "there are 3"),
    ],
)
def test_settings_that_do_not_fit_the_labels(
    config: Callable[..., Any], settings: dict[str, Any], path: str, words: str
) -> None:
    [problem] = config(**settings).check()
    assert problem.path == path
    assert words in problem.message


def test_an_unknown_class_weight_suggests_the_nearest_label(config: Callable[..., Any]) -> None:
    [problem] = config(labels=["good", "bad"], class_weights={"god": 2.0}).check()
    assert problem.hint == "did you mean `good`? known: 'bad', 'good'"


def test_labels_not_given_are_not_checked_before_the_data_is_read(config: Callable[..., Any]) -> None:
    assert not list(config(class_weights={"god": 2.0}, selection_metric="roc_auc").check())
