"""The files of a pretrained model: found in a folder or on the Hub, and checked before anything reads them.

Free of torch and transformers: a config is checked before they are imported.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SPECIAL_NAMES = ("special_tokens_map.json", "tokenizer_config.json")
"""Files that name special tokens; the last one has the last word."""
DESCRIPTIONS = (CONFIG, TOKENIZER, *SPECIAL_NAMES)
READ = (*DESCRIPTIONS, WEIGHTS, INDEX, "model-*.safetensors")
"""What is read of a model; whatever else it comes with, such as pickled weights or code, is left alone."""
STATIC = ("embeddings", "embedding.weight")
"""How files of static vectors call their table."""
LARGEST_JSON = 64 * 2**20
DECODERS = frozenset(
    {
        "bloom", "codegen", "falcon", "gemma", "gemma2", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj",
        "llama", "mistral", "mpt", "olmo", "opt", "phi", "phi3", "qwen2", "qwen3", "stablelm", "starcoder2",
    }
)  # fmt: skip
"""Architectures in which a piece sees only those before it."""
WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")
VOCABULARIES = ("vocab_size",)
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")
COUNT_FROM_PADDING = frozenset(
    {"camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod"}
)
"""Architectures that count positions from the padding id + 1."""
LARGEST_SIZE = 2**24


@frozen
class ModelDescription:
    """What a model's config says of it."""

    model_type: str
    hidden_size: int
    positions: int
    vocabulary: int
    causal: bool


def describe_model(model: str, revision: str | None = None) -> ModelDescription:
    """Read what a model's config says of it.

    Raises `ValueError` for a model that cannot be found, is not safe to load, or is neither an encoder nor a
    decoder of text.
    """
    config = read_config(find_file(model, CONFIG, revision), model)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ValueError(f"`model` must name its `model_type` in {CONFIG}, but {model} does not")
    if config.get("is_encoder_decoder") is True:
        raise ValueError(f"`model` must be an encoder or a decoder, but {model} is both ({model_type})")
    sizes = {}
    for what, names in (("width", WIDTHS), ("number of pieces", VOCABULARIES)):
        size = _first_integer(config, names)
        if size is None:
            raise ValueError(
                f"`model` must state its {what} in {CONFIG}, but {model} has none of {', '.join(names)}"
            )
        sizes[what] = size
    positions = _first_integer(config, POSITIONS) or 512
    if model_type in COUNT_FROM_PADDING:
        padding = config.get("pad_token_id")
        positions -= (padding if type(padding) is int and 0 <= padding < positions - 4 else 1) + 1
    return ModelDescription(
        model_type, sizes["width"], positions, sizes["number of pieces"], _is_causal(model_type, config)
    )


def _is_causal(model_type: str, config: dict[str, Any]) -> bool:
    """Whether a piece sees only those before it; embedding models made of decoders may see all."""
    sees_all = config.get("use_bidirectional_attention") or config.get("is_causal") is False
    return not sees_all and (model_type in DECODERS or config.get("is_decoder") is True)


def _first_integer(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and 0 < value <= LARGEST_SIZE), None)


def tokenizer_hash(model: str, revision: str | None = None) -> str:
    """Return the SHA-256 of a model's tokenizer. Raises `ValueError` if it cannot be found."""
    return hashlib.sha256(find_file(model, TOKENIZER, revision).read_bytes()).hexdigest()


def static_shape(model: str, revision: str | None = None) -> tuple[int, int]:
    """Return how many vectors a table of static vectors has, and how wide they are.

    Raises `ValueError` if there is no such table.
    """
    path = fetch_model(model, revision) / WEIGHTS
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > LARGEST_JSON:
                raise ValueError("its header is too long")
            header = json.loads(file.read(size))
        shapes = [header[name]["shape"] for name in STATIC if name in header]
        pieces, width = shapes[0]
        if type(pieces) is int and type(width) is int and min(pieces, width) > 0:
            return pieces, width
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    raise ValueError(
        f"`model` must have a table of vectors called {' or '.join(STATIC)}, but {path} has none"
    )


def find_file(model: str, name: str, revision: str | None = None) -> Path:
    """Return the path of one file of a model. Raises `ValueError` if it cannot be found."""
    folder = Path(model)
    if folder.is_dir():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"`model` must be a folder with {name}, but {folder} has none")
        return path
    if folder.is_absolute() or model.startswith("."):
        raise ValueError(f"`model` must be a folder or a name on the Hub, but {model} does not exist")
    path = _from_hub(model, revision, DESCRIPTIONS) / name
    if not path.is_file():
        raise ValueError(f"`model` must have {name}, but {model} on the Hub has none")
    return path


@cache
def _from_hub(model: str, revision: str | None, names: tuple[str, ...]) -> Path:
    """Return the folder of the Hub's cache with files of these names; the Hub is asked once per process."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(names)))
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"`model` {model} is not in the cache and the Hub cannot be reached: connect once, or name a"
            " folder that holds the model"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"`model` {model} cannot be loaded from the Hub: {reason[0] if reason else type(error).__name__}"
        ) from error


def fetch_model(model: str, revision: str | None = None) -> Path:
    """Return a folder with the files of a model, fetched from the Hub if it is not a folder itself.

    Raises `ValueError` for a model that cannot be found, has no safetensors, or is not safe to load.
    """
    folder = Path(model)
    if not folder.is_dir():
        find_file(model, CONFIG, revision)
        folder = _from_hub(model, revision, READ)
    read_config(folder / CONFIG, model)
    if not (folder / WEIGHTS).is_file() and not (folder / INDEX).is_file():
        pickled = [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        found = f"only {pickled[0]}, a pickle, which could run code" if pickled else "no weights"
        raise ValueError(f"`model` must have its weights as safetensors ({WEIGHTS}), but {model} has {found}")
    return folder


def read_config(path: Path, model: str) -> dict[str, Any]:
    """Read a model's config. Raises `ValueError` for one that is not JSON or asks for code of its own."""
    config = read_json(path)
    if "auto_map" in config:
        raise ValueError(
            f"`model` must be of an architecture of transformers, but {model} brings code of its own"
            f" (`auto_map` in {path.name}), which mtl does not run"
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises `ValueError` with the file's name."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"{path} must have at most {LARGEST_JSON:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON: {type(error).__name__}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold an object, but holds a {type(value).__name__}")
    return value
