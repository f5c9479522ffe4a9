"""mtl_text as a plugin: what it announces is there, and announcing it costs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mtl_text
from mtl import ComponentSpec
from mtl.components import KINDS
from mtl_text import plugin

SPECS = [
    (kind.name, spec)
    for kind in KINDS.values()
    if hasattr(plugin, kind.hook)
    for spec in getattr(plugin, kind.hook)()
]


def test_everything_is_announced() -> None:
    assert {spec.name for _, spec in SPECS} == {
        "TSV", "JSONL", "TextLines", "word_feat", "char_feat", "ngram_feat", "ConcatPool",
        "BiLSTM", "BiLSTMDocAttention", "DocNN",
        "PooledRepresentation", "Stack", "Transformer",
        "SelfAttention", "MaxPool", "MeanPool", "LastStep", "Compare", "MLPDecoder",
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "spec"), SPECS, ids=lambda value: getattr(value, "name", value))
def test_announced_components_are_there(kind: str, spec: ComponentSpec) -> None:
    assert issubclass(spec.load_config(), KINDS[kind].config)
    assert callable(spec.load_factory())
    assert spec.summary


def test_public_names_are_there() -> None:
    assert [name for name in mtl_text.__all__ if not hasattr(mtl_text, name)] == []


def test_configs_are_free_of_torch_and_polars() -> None:
    code = (
        "import sys; from mtl_text import plugin, data_config, model_config\n"
        "heavy = {'torch', 'polars', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
