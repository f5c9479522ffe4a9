"""The plugin and its configs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mtl.components import KINDS
from pytext_plugins_lm import plugin


def test_each_spec_names_a_config_of_its_kind_and_a_factory() -> None:
    kinds = {kind.hook: kind for kind in KINDS.values()}
    for hook in ("mtl_tasks", "mtl_datasets"):
        for spec in getattr(plugin, hook)():
            assert issubclass(spec.load_config(), kinds[hook].config)
            assert callable(spec.load_factory())


def test_plugin_and_config_import_no_torch() -> None:
    program = "import sys, pytext_plugins_lm.plugin, pytext_plugins_lm.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pytext_plugins_lm.config" in loaded
    assert not loaded & {"torch", "polars", "torchmetrics"}


def test_the_dataset_has_an_address_and_a_sample_for_each_file() -> None:
    [spec] = plugin.mtl_datasets()
    dataset = spec.load_factory()(spec.load_config()())
    [download] = dataset.downloads()
    assert len(download.md5) == 32
    assert set(download.files.values()) == set(dataset.sample(0))


@pytest.mark.parametrize(
    ("lstm", "objective"),
    [
        ({}, "both-directions"),
        ({"bidirectional": False}, "next-word"),
        ({"bidirectional": False, "num_layers": 2}, "next-word"),
        ({"num_layers": 2}, "masked"),
    ],
)
def test_the_objective_follows_from_what_the_representation_declares(
    kit: Any, lstm: dict[str, Any], objective: str
) -> None:
    config = kit.config(lstm=lstm)
    assert config.resolved_objective == objective
    assert list(config.check()) == []


DEEP, CAUSAL = {"num_layers": 2}, {"bidirectional": False}
MIXED = {"featurizers": ["word_feat", "char_feat"], "objective": "masked"}


@pytest.mark.parametrize(
    ("lstm", "settings", "path", "words"),
    [
        (DEEP, {"objective": "next-word"}, "objective", "causal or split, but BiLSTM here is bidirectional"),
        (DEEP, {"objective": "both-directions"}, "objective", "split, but BiLSTM here is bidirectional"),
        (CAUSAL, {"objective": "both-directions"}, "objective", "split, but BiLSTM here is causal"),
        (
            {},
            {"featurizers": ["char_feat"]},
            "features",
            "must name one featurizer whose tokens",
        ),
        ({}, MIXED, "features.char_feat", "but char_feat still shows them"),
        ({}, {"long_lines": "truncate"}, "long_lines", "needs `max_tokens`"),
        ({}, {"long_lines": "truncate", "max_tokens": 9, "rows": "stream"}, "long_lines", '`rows` "lines"'),
    ],
)
def test_settings_that_contradict_are_refused(
    kit: Any, lstm: dict[str, Any], settings: dict[str, Any], path: str, words: str
) -> None:
    [problem] = kit.config(lstm=lstm, **settings).check()
    assert problem.path == path
    assert words in problem.message


@pytest.mark.parametrize("lstm", [{}, {"bidirectional": False}, {"num_layers": 2}])
@pytest.mark.parametrize("objective", ["masked", "unmasked"])
def test_masked_and_unmasked_take_any_direction(kit: Any, lstm: dict[str, Any], objective: str) -> None:
    assert list(kit.config(lstm=lstm, objective=objective).check()) == []


def test_windows_of_the_stream_have_a_default_size(kit: Any) -> None:
    assert kit.config().row_tokens is None
    assert kit.config(rows="stream").row_tokens == 35
    assert kit.config(rows="stream", max_tokens=7).row_tokens == 7


def test_lower_perplexity_is_better(kit: Any) -> None:
    metric = kit.config().metric
    assert (metric.name, metric.higher_is_better) == ("perplexity", False)
