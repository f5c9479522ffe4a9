"""Models that are missing, unsafe or damaged end in one message; nothing of theirs is run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl import Builder
from mtl.errors import ConfigError, UsageError
from mtl.testing import check_featurizer, check_plugin, check_pooling, check_representation
from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.featurizer import PretrainedFeat

Models = Callable[[str], Path]


def use(folder: Path | str, **options: Any) -> None:
    """Do all that a run does with a model."""
    featurizer = PretrainedFeat(PretrainedFeatConfig(model=str(folder), **options).resolve())
    featurizer.encode(pl.Series("text", [["a", "funny", "film"], []], dtype=pl.List(pl.String)))
    featurizer.build_embedding(Builder())


@pytest.fixture
def model(model_folder: Models, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("bert"), tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_t4_pickled_weights_are_refused(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"safetensors.*only pytorch_model\.bin, a pickle"):
        use(model)


def test_t4_code_is_refused(model: Path) -> None:
    edit(model / "config.json", auto_map={"AutoModel": "evil.Model"})
    (model / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(ValueError, match="auto_map"):
        use(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_encoder_decoder": True}, "an encoder or a decoder"),
        ({"model_type": None}, "`model_type`"),
        ({"hidden_size": "wide"}, "state its width"),
        ({"vocab_size": -1}, "number of pieces"),
        ({"vocab_size": 9}, "gives the id"),
        ({"model_type": "no-such-model"}, "cannot be loaded"),
    ],
)
def test_an_unusable_config_is_named(model: Path, changes: dict[str, Any], message: str) -> None:
    edit(model / "config.json", **changes)
    with pytest.raises((ConfigError, ValueError), match=message):
        use(model)


def test_a_folder_without_a_fast_tokenizer_is_named(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        use(model)


def test_lora_needs_layers_that_there_are(model: Path) -> None:
    from mtl_transformers.config import LoRAConfig

    with pytest.raises(ConfigError, match="no_such_layer"):
        use(model, lora=LoRAConfig(target_modules=["no_such_layer"]))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value within a JSON value, of lists the first few items alone."""
    yield path
    items = dict(enumerate(value[:3])) if isinstance(value, list) else value
    for key, inner in items.items() if isinstance(items, dict) else ():
        yield from places(inner, (*path, key))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 7, 2**31, 2**63, 1e308, "", "a", "../x", [], {}, [[]], {"type": "ByteLevel"}]),
)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), junk=JUNK)
def test_t4_hostile_files_give_messages(model_folder: Models, name: str, seed: int, junk: Any) -> None:
    original = model_folder("bert")
    folder = original.with_name("hostile")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    document = json.loads((folder / name).read_text())
    *outer, last = random.Random(seed).choice([path for path in places(document) if path])
    holder = document
    for key in outer:
        holder = holder[key]
    if name == "config.json" and isinstance(junk, int | float) and junk > 2**20:
        junk = -7  # a model that is too large for memory is not what this is about
    holder[last] = junk
    (folder / name).write_text(json.dumps(document))
    try:
        use(folder)
    except (UsageError, ValueError) as error:
        assert not isinstance(error, UnicodeError)


@given(data=st.binary(max_size=40))
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_t4_files_of_bytes_give_messages(model_folder: Models, name: str, data: bytes) -> None:
    original = model_folder("bert")
    folder = original.with_name("hostile")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    (folder / name).write_bytes(data)
    with pytest.raises((ConfigError, ValueError)):
        use(folder)


# --- the Hub ---------------------------------------------------------------------------------------


@pytest.fixture
def hub(model: Path) -> Iterator[str]:
    """A Hub with one model, `acme/tiny`."""
    commit = "a" * 40

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            content, kind = None, "application/octet-stream"
            if path.startswith("/api/models/acme/tiny"):
                names = [each.name for each in model.iterdir()]
                files = [{"rfilename": name} for name in names]
                said: Any = {"id": "acme/tiny", "sha": commit, "siblings": files}
                if "/tree/" in path:
                    said = [{"type": "file", "path": name, "size": 1, "oid": "b" * 40} for name in names]
                content, kind = json.dumps(said).encode(), "application/json"
            elif path.startswith("/acme/tiny/resolve/") and (model / path.rpartition("/")[2]).is_file():
                content = (model / path.rpartition("/")[2]).read_bytes()
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:x}"')
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if "/tiny" in path else "RepoNotFound")
            self.end_headers()
            if body:
                self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


PROGRAM = """
import sys
from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.featurizer import PretrainedFeat
from mtl import Builder
try:
    PretrainedFeat(PretrainedFeatConfig(model=sys.argv[1]).resolve()).build_embedding(Builder())
except ValueError as error:
    print(error)
else:
    print("loaded")
"""


@pytest.mark.slow
def test_a_model_comes_from_the_hub_or_its_cache(hub: str, tmp_path: Path) -> None:
    def load(name: str, **variables: str) -> str:
        environment = {
            **os.environ,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_ENDPOINT": hub,
            "NO_PROXY": "*",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "not in the cache" in load("acme/tiny", HF_HUB_OFFLINE="1")
    assert "acme/other cannot be loaded from the Hub" in load("acme/other")
    assert load("acme/tiny") == "loaded\n"
    assert load("acme/tiny", HF_HUB_OFFLINE="1") == "loaded\n"


# --- the plugin ------------------------------------------------------------------------------------


def test_the_plugin_passes_the_kit(model_folder: Models) -> None:
    check_plugin("mtl-transformers")
    check_representation("Identity")
    check_pooling("FirstToken")
    check_featurizer("pretrained_feat", config={"model": str(model_folder("bert"))})
    check_featurizer("pretrained_feat", config={"model": str(model_folder("gpt2")), "align": None})


@pytest.mark.parametrize("arguments", [["--help"], ["config", "validate", "config.json"]])
def test_commands_import_neither_torch_nor_transformers(
    model: Path, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "rows.tsv").write_text("text\tlabel\na\t1\nb\t0\n")
    task = {
        "data": {"train_path": "rows.tsv"},
        "features": {"pretrained_feat": {"model": "model", "align": None}},
        "representation": {"PooledRepresentation": {"encoder": "Identity", "pooling": "FirstToken"}},
    }
    (tmp_path / "config.json").write_text(json.dumps({"tasks": {"Films": {"DocClassificationTask": task}}}))
    program = (
        "import sys\nfrom mtl.commands import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print([name for name in ('torch', 'transformers', 'tokenizers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
