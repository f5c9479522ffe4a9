"""Tiny random models of each family, with tokenizers trained on a few sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    DebertaV2Config,
    GPT2Config,
    ModernBertConfig,
    RobertaConfig,
)

SENTENCES = [
    "the film is a very good film with unforgettable characters",
    "a dull and predictable story that nobody needed",
    "the actors are wonderful and the music is better",
    "it is not funny , not sad , and not short",
    "characterization 's unpredictability is wonderfully funny",
]
FAMILIES = ("bert", "roberta", "deberta-v2", "modernbert", "gpt2")
TOKENIZER_CLASSES = {"roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer"}
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL: dict[str, Any] = {**SIZES, "intermediate_size": 24, "max_position_embeddings": 64}


def _wordpiece() -> tuple[Tokenizer, dict[str, str]]:
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=list(names.values()))
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")],
    )
    return tokenizer, names


def _byte_level(*, marks: bool) -> tuple[Tokenizer, dict[str, str]]:
    roberta = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    names = roberta if marks else {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(dict.fromkeys(names.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if marks:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, names


def _unigram() -> tuple[Tokenizer, dict[str, str]]:
    names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=100, special_tokens=list(names.values()), unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")],
    )
    return tokenizer, names


def _parts(family: str) -> tuple[Tokenizer, dict[str, str], type[Any], dict[str, Any]]:
    if family == "bert":
        return *_wordpiece(), BertConfig, SMALL
    if family == "roberta":
        return *_byte_level(marks=True), RobertaConfig, SMALL | {"max_position_embeddings": 66}
    if family == "deberta-v2":
        relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
        return *_unigram(), DebertaV2Config, SMALL | relative
    if family == "modernbert":
        return (
            *_wordpiece(),
            ModernBertConfig,
            SMALL | {"global_attn_every_n_layers": 2, "local_attention": 8},
        )
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return *_byte_level(marks=False), GPT2Config, sizes


def make_model(folder: Path, family: str, *, head: bool = True) -> Path:
    """Write a tiny random model of a family into a folder, with or without its language model head."""
    tokenizer, names, config_class, settings = _parts(family)
    numbers = {name: tokenizer.token_to_id(token) for name, token in names.items()}
    ids = {f"{name}_token_id": numbers.get(name, numbers.get("eos")) for name in ("pad", "bos", "eos")}
    if family in ("bert", "deberta-v2", "modernbert"):
        ids |= {"bos_token_id": numbers["cls"], "eos_token_id": numbers["sep"]}
        if family == "modernbert":
            ids |= {"cls_token_id": numbers["cls"], "sep_token_id": numbers["sep"]}
    config = config_class(vocab_size=tokenizer.get_vocab_size(), **settings, **ids)
    torch.manual_seed(7)
    auto = AutoModelForCausalLM if family == "gpt2" else AutoModelForMaskedLM
    model = auto.from_config(config)
    for parameter in model.parameters():
        # As they are drawn, layers of this size make vectors that hardly differ.
        if parameter.dim() > 1:
            parameter.data.normal_(std=0.3)
    (model if head else model.base_model).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {f"{name}_token": token for name, token in names.items()}
    named["tokenizer_class"] = TOKENIZER_CLASSES.get(family, "PreTrainedTokenizerFast")
    (folder / "tokenizer_config.json").write_text(json.dumps(named), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a folder with a tiny model of a family, made once."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = make_model(tmp_path_factory.mktemp(family), family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def headless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT without the layers of its language model."""
    return make_model(tmp_path_factory.mktemp("headless"), "bert", head=False)
