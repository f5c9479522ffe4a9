"""Rules for decoders, checked on a few generated vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from attrs import frozen
from torch import Tensor, nn

from mtl.builder import Builder
from mtl.testing.checks import Failed, rule
from mtl.testing.modules import (
    INPUT_DIM,
    MODULE,
    ModuleBench,
    call,
    differs,
    leaves_its_input,
    noise,
    scored,
)
from mtl.weights import load_module, save_module


@frozen(slots=False)
class DecoderBench(ModuleBench):
    """A decoder, on a batch of vectors."""

    output_width = 3

    @cached_property
    def inputs(self) -> Tensor:
        """`[batch, dim]`."""
        return noise(6, INPUT_DIM)

    def make(self, build: Builder) -> nn.Module:
        return self.factory(  # type: ignore[no-any-return]
            self.config, build, input_dim=INPUT_DIM, output_dim=self.output_width
        )

    def run(self, module: nn.Module) -> Tensor:
        return call(module, self.inputs)


@rule("tasks decode documents `[batch, dim]` and sequences `[batch, time, dim]`")
def maps_the_last_dimension(bench: DecoderBench) -> None:
    """It maps `[..., input_dim]` to `[..., output_dim]`, each vector on its own."""
    module = bench.built()
    flat = scored(module, bench.inputs)
    nested = scored(module, bench.inputs.reshape(2, 3, INPUT_DIM))
    if list(flat.shape) != [6, bench.output_width] or list(nested.shape) != [2, 3, bench.output_width]:
        raise Failed(
            f"vectors [6, {INPUT_DIM}] become {list(flat.shape)} and [2, 3, {INPUT_DIM}]"
            f" {list(nested.shape)}, with `output_dim` {bench.output_width}"
        )
    if differs(flat, nested.reshape(flat.shape)) or differs(flat[:1], scored(module, bench.inputs[:1])):
        raise Failed("a vector's output depends on other vectors")


@rule("loaded weights would give the scores of labels to other labels")
def follows_output_names(bench: DecoderBench) -> None:
    """It takes `output_names`; weights loaded for the same names in another order give each name its
    score."""
    names = ("one", "two", "three")
    order = (2, 0, 1)

    def built(names: Sequence[str], seed: int) -> nn.Module:
        torch.manual_seed(seed)
        widths = {"input_dim": INPUT_DIM, "output_dim": len(names)}
        return bench.factory(bench.config, Builder(), **widths, output_names=names)  # type: ignore[no-any-return]

    saved, loaded = built(names, 1), built([names[place] for place in order], 2)
    with TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        save_module(saved, path)
        load_module(loaded, path)
    if differs(scored(saved, bench.inputs)[:, list(order)], scored(loaded, bench.inputs)):
        raise Failed("the scores do not follow their names; say in `row_names()` which rows they name")


RULES = (maps_the_last_dimension, follows_output_names, leaves_its_input, *MODULE)
