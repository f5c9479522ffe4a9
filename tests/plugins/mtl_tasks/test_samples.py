"""The generated samples: each task finds one that it can be tried on, as `mtl plugins check` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.plugins import discover
from mtl.testing.plugin import PluginBench
from mtl.testing.trials import _fitting, _samples
from mtl_tasks import sample

FITTING = {
    "PairClassificationTask": "RTE/train.tsv",
    "RegressionTask": "CoLA/train.tsv",
    "MultiLabelTask": "CoLA/train.tsv",
    "TaggingTask": "UD-LinES/en_lines-ud-train.conllu",
    "SimilarityTask": "CoLA/train.tsv",
    "SpanTask": "SQuAD/train-v2.0.json",
}


def test_each_task_is_tried_on_a_sample_that_fits(tmp_path: Path) -> None:
    plugins = discover()
    components = list(PluginBench(plugins, "mtl-tasks").provided())
    samples = _samples(components, tmp_path)
    found = {}
    for provided in components:
        if provided.kind == "task":
            example = _fitting(plugins, provided, samples)
            assert example is not None
            found[provided.spec.name] = example.settings["data"]["train_path"]
    assert found == FITTING


@pytest.mark.parametrize("seed", [0, 1])
def test_files_are_those_of_their_seed_and_end_with_a_line(seed: int) -> None:
    files = sample.files(seed)
    assert files == sample.files(seed) != sample.files(seed + 1)
    assert all(text.endswith("\n") for text in files.values())
