"""What the trackers make of configs, and what they import."""

from __future__ import annotations

import subprocess
import sys

from mtl_trackers.tracker import _flat


def test_no_secret_is_written() -> None:
    config = {
        "base_dir": "/data",
        "loggers": [{"Acme": {"api_key": "abc", "url": "https://me:word@acme.example/x", "token": "t"}}],
        "features": {"shared_module_key": "EMBEDDING", "tokenizer": "whitespace", "max_tokens": 5},
    }
    flat = dict(_flat(config))
    assert not {"abc", "t"} & set(flat.values())
    assert flat["loggers[0].Acme.url"] == "https://acme.example/x"
    assert flat["features.shared_module_key"] == "EMBEDDING" and flat["features.tokenizer"] == "whitespace"
    assert flat["features.max_tokens"] == 5


def test_configs_are_free_of_torch_and_of_the_libraries() -> None:
    code = (
        "import sys; from mtl_trackers import plugin, config\n"
        "heavy = {'torch', 'tensorboard', 'wandb', 'mlflow', 'trackio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
