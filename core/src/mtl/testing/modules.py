"""Rules for representations, poolings, decoders and embeddings, checked on a few generated rows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.builder import Builder
from mtl.components import Direction, ModuleConfig, Output, PoolingInput
from mtl.config.walk import slots_within
from mtl.fields import Component
from mtl.testing.bench import Bench
from mtl.testing.checks import Failed, rule
from mtl.weights import load_module, save_module, unique_tensors

INPUT_DIM = 8
LENGTHS = (7, 4, 1, 5, 2)
"""Tokens per row of the generated batch; the longest row has no padding."""
TOLERANCE = 1e-4
LEARNING_STEPS = 40


@frozen(slots=False)
class ModuleBench(Bench):
    """A component whose factory makes a torch module."""

    @abstractmethod
    def make(self, build: Builder) -> nn.Module:
        """Return the module, built as a run builds it."""

    @abstractmethod
    def run(self, module: nn.Module) -> Tensor:
        """Return what the module gives for the generated batch, without what is padding."""

    def slots(self) -> Iterator[Component]:
        """Return the components in its slots."""
        return slots_within(self.config)

    def built(self, seed: int = 0) -> nn.Module:
        """Return the module, its initial weights a function of the seed."""
        torch.manual_seed(seed)
        module = self.make(Builder())
        if not isinstance(module, nn.Module):
            raise Failed(f"the factory must return an nn.Module, but returned {type(module).__name__}")
        return module

    def loss(self, module: nn.Module) -> Tensor:
        """Return a mean loss that training can lower: the distance from random targets."""
        output = self.run(module)
        return F.mse_loss(output, noise(*output.shape, seed=7))

    def losses(self, module: nn.Module) -> Iterator[Tensor]:
        """Training losses that together use every parameter."""
        for step in range(4):
            torch.manual_seed(step)
            yield self.loss(module)


@frozen(slots=False)
class SequenceBench(ModuleBench):
    """A representation or a pooling, on a batch of rows of several lengths."""

    @cached_property
    def inputs(self) -> Tensor:
        """`[batch, time, dim]`, with noise in the padding too."""
        return noise(len(self.row_lengths), max(self.row_lengths), INPUT_DIM)

    @property
    def takes_pairs(self) -> bool:
        """Whether a row must be two vectors."""
        return self.kind == "pooling" and self.config.input is PoolingInput.PAIR

    @property
    def row_lengths(self) -> tuple[int, ...]:
        """The vectors of each row."""
        return (2,) * len(LENGTHS) if self.takes_pairs else LENGTHS

    @property
    def lengths(self) -> Tensor:
        """`[batch]`."""
        return torch.tensor(self.row_lengths)

    @property
    def gives_a_sequence(self) -> bool:
        """Whether the output has one vector per token."""
        return self.kind == "representation" and self.config.output is Output.SEQUENCE

    def make(self, build: Builder) -> nn.Module:
        return self.factory(self.config, build, input_dim=INPUT_DIM)  # type: ignore[no-any-return]

    def run(self, module: nn.Module) -> Tensor:
        output = call(module, self.inputs, self.lengths)
        return output[inside(self.lengths)] if self.gives_a_sequence else output


def noise(*shape: int, seed: int = 5) -> Tensor:
    """Return standard normal numbers, the same at every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inside(lengths: Tensor) -> Tensor:
    """Return a mask that is true at positions before the row's end: `[batch]` to `[batch, time]`."""
    return torch.arange(int(lengths.max())) < lengths[:, None]


def call(module: nn.Module, *inputs: Any) -> Tensor:
    """Return a module's output, which must be finite."""
    output = module(*inputs)
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise Failed(f"`forward` must return a tensor of floats, but returned {type(output).__name__}")
    if not output.isfinite().all():
        raise Failed("`forward` returns NaN or infinity")
    return output


def scored(module: nn.Module, *inputs: Any) -> Tensor:
    """Return a module's output in evaluation mode."""
    module.eval()
    with torch.no_grad():
        return call(module, *inputs)


def differs(left: Tensor, right: Tensor) -> bool:
    """Return whether two outputs differ by more than rounding."""
    return left.shape != right.shape or not torch.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE)


# --- every module --------------------------------------------------------------------------------


@rule("`build` shares, freezes, loads and saves modules")
def builds_its_slots(bench: ModuleBench) -> None:
    """The module in each of its slots is built by `build`."""
    build = Builder()
    torch.manual_seed(0)
    bench.make(build)
    known = [id(each.config) for each in build.built]
    for component in bench.slots():
        if isinstance(component.config, ModuleConfig) and id(component.config) not in known:
            raise Failed(f"{component.path} is not built by `build`")


@rule("a parameter without a gradient keeps its initial value")
def every_parameter_learns(bench: ModuleBench) -> None:
    """Every trainable parameter gets a gradient from the loss."""
    module = bench.built().train()
    seen: dict[str, bool] = {}
    for loss in bench.losses(module):
        module.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                gradient = parameter.grad
                seen[name] = seen.get(name, False) or (gradient is not None and bool(gradient.any()))
    without = [name for name, has in seen.items() if not has]
    if without:
        raise Failed(f"no gradient for {', '.join(without)}")


@rule("runs and evaluations would not be reproducible")
def repeats_itself(bench: ModuleBench) -> None:
    """The same seed gives the same weights and training losses, and two evaluations give the same output."""
    first, second = bench.built(seed=3), bench.built(seed=3)
    for (name, left), (_, right) in zip(unique_tensors(first), unique_tensors(second), strict=True):
        if not torch.equal(left, right):
            raise Failed(f"the initial values of {name} differ between two builds with one seed")
    losses = [[loss.item() for loss in bench.losses(module.train())] for module in (first, second)]
    if losses[0] != losses[1]:
        raise Failed("the training loss differs between two runs with one seed")
    module = bench.built().eval()
    with torch.no_grad():
        if not torch.equal(bench.run(module), bench.run(module)):
            raise Failed("in evaluation, a second forward pass over the same batch differs")


@rule("`mtl test`, `mtl predict` and `--resume` would use another model than the one trained")
def saves_and_loads(bench: ModuleBench) -> None:
    """Saved and loaded weights give the same output: everything learned is in the state dict."""
    trained, other = bench.built(seed=1), bench.built(seed=2)
    train(bench, trained, steps=2)
    with TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        save_module(trained, path)
        load_module(other, path)
    with torch.no_grad():
        if not torch.equal(bench.run(trained.eval()), bench.run(other.eval())):
            raise Failed("the output differs after saving and loading")


@rule("a module that cannot fit a handful of rows learns nothing from a dataset")
def loss_falls(bench: ModuleBench) -> None:
    """If it has parameters, training on a few rows lowers the loss."""
    module = bench.built()
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return
    before, after = train(bench, module, steps=LEARNING_STEPS)
    if not after < before * 0.99:
        raise Failed(f"the loss was {before:.4f} and is {after:.4f} after {LEARNING_STEPS} steps")


def train(bench: ModuleBench, module: nn.Module, steps: int) -> tuple[float, float]:
    """Train a few steps on the generated batch; return the loss before and after, in evaluation."""

    def evaluated() -> float:
        module.eval()
        with torch.no_grad():
            return bench.loss(module).item()

    before = evaluated()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if parameters:
        optimizer = torch.optim.Adam(parameters, lr=0.01)
        module.train()
        for step in range(steps):
            torch.manual_seed(step)
            optimizer.zero_grad(set_to_none=True)
            bench.loss(module).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    after = evaluated()
    return before, after if math.isfinite(after) else math.inf


# --- representations and poolings ------------------------------------------------------------------


@rule("the next module takes its width from the config")
def has_the_declared_shape(bench: SequenceBench) -> None:
    """The output has the kind and the width that the config declares."""
    output = scored(bench.built(), bench.inputs, bench.lengths)
    shape = [len(bench.row_lengths), bench.config.output_dim(INPUT_DIM)]
    if bench.gives_a_sequence:
        shape.insert(1, max(bench.row_lengths))
    if list(output.shape) != shape:
        raise Failed(
            f"the output of an input {list(bench.inputs.shape)} is {list(output.shape)}, not {shape}"
        )


@rule("a row's score would depend on its neighbors in the batch")
def ignores_padding(bench: SequenceBench) -> None:
    """Values in the padding change nothing."""
    module = bench.built()
    padding = ~inside(bench.lengths)[:, :, None]
    output = scored(module, bench.inputs, bench.lengths)
    for filler in (0.0, 100.0):
        changed = scored(module, bench.inputs.masked_fill(padding, filler), bench.lengths)
        if bench.gives_a_sequence:
            mask = inside(bench.lengths)
            output, changed = output * mask[..., None], changed * mask[..., None]
        if differs(output, changed):
            raise Failed(f"rows change when their padding is filled with {filler:g}")


@rule("training and `mtl predict` batch rows differently")
def rows_are_independent(bench: SequenceBench) -> None:
    """A row alone, without padding, gives the same as in a batch."""
    module = bench.built()
    together = scored(module, bench.inputs, bench.lengths)
    for row, length in enumerate(bench.row_lengths):
        alone = scored(module, bench.inputs[row : row + 1, :length], bench.lengths[row : row + 1])[0]
        expected = together[row, :length] if bench.gives_a_sequence else together[row]
        if differs(alone, expected):
            raise Failed(f"the row of {length} tokens differs alone and in a batch")


@rule("`mtl predict` answers every row, including an empty line")
def takes_empty_rows(bench: SequenceBench) -> None:
    """A row without tokens gives finite numbers, alone and in a batch."""
    if bench.takes_pairs:
        return
    module = bench.built()
    lengths = torch.tensor((0, *LENGTHS[1:]))
    scored(module, bench.inputs[:, : max(LENGTHS[1:])], lengths)
    scored(module, bench.inputs[:1, :1], lengths[:1])


@rule("modules that share an embedding or encoder read the same tensor")
def leaves_its_input(bench: ModuleBench) -> None:
    """It does not modify its input."""
    inputs: Tensor = bench.inputs  # type: ignore[attr-defined]
    before = inputs.clone()
    module = bench.built()
    for mode in (True, False):
        with torch.no_grad():
            bench.run(module.train(mode))
        if not torch.equal(inputs, before):
            raise Failed(f"`forward` changes its input in {'training' if mode else 'evaluation'}")


@rule("poolings sum over the padding")
def zeros_the_padding(bench: SequenceBench) -> None:
    """Positions of a sequence after a row's length hold zeros."""
    if not bench.gives_a_sequence:
        return
    output = scored(bench.built(), bench.inputs, bench.lengths)
    if output[~inside(bench.lengths)].any():
        raise Failed("positions after a row's end are not zero")


@rule("a language model would see the word that it predicts")
def keeps_its_direction(bench: SequenceBench) -> None:
    """A changed token changes no position that does not depend on it as declared, bit for bit."""
    if not bench.gives_a_sequence:
        return
    direction = bench.config.direction
    module = bench.built()
    output = scored(module, bench.inputs, bench.lengths)
    half = output.shape[-1] // 2
    for changed_token in range(max(bench.row_lengths)):
        inputs = bench.inputs.clone()
        inputs[:, changed_token] += 1.0
        moved = scored(module, inputs, bench.lengths) != output
        before, after = moved[:, :changed_token], moved[:, changed_token + 1 :]
        if direction is Direction.CAUSAL and before.any():
            raise Failed("it declares itself causal, but a position changes with a token after it")
        if direction is Direction.SPLIT and before[..., :half].any():
            raise Failed("it declares itself split, but the first half changes with a token after it")
        if direction is Direction.SPLIT and after[..., half:].any():
            raise Failed("it declares itself split, but the second half changes with a token before it")


@rule("a constant output means that the input is lost")
def reads_its_input(bench: SequenceBench) -> None:
    """Different inputs give different outputs."""
    module = bench.built()
    other = noise(*bench.inputs.shape, seed=6)
    if torch.equal(scored(module, bench.inputs, bench.lengths), scored(module, other, bench.lengths)):
        raise Failed("two different batches give the same output")


MODULE = (builds_its_slots, every_parameter_learns, repeats_itself, saves_and_loads, loss_falls)
POOLING = (
    has_the_declared_shape,
    ignores_padding,
    rows_are_independent,
    takes_empty_rows,
    leaves_its_input,
    reads_its_input,
    *MODULE,
)
REPRESENTATION = (*POOLING, zeros_the_padding, keeps_its_direction)
