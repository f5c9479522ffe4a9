"""mtl's step beside the straightforward loop and the best one written by hand, in turn in one process.

    python benchmarks/steps.py --data data --threads 1 --output benchmarks/results/steps-1-thread.json

mtl and the loop by hand train the same rows in the same batches. The straightforward loop shuffles: rows of
all lengths meet in its batches, as many in each as in theirs; beside it stands the same loop over their
batches. Each figure is a median of repeats. Loops over the same batches are compared turn by turn, others by
the time for a token; within a repeat either.

On a GPU (`--device cuda`) mtl stands beside the same loop by hand, and one over cuDNN's bidirectional LSTM,
in bf16: eager, compiled, and with CUDA graphs where shapes repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from by_hand import ByHand, Graphed, PlainModel
from record import middle, options, prepare, recording
from straightforward import Straightforward, models
from texts import LINES, SENTENCES, generate, read_texts, write_lines, write_sentences, write_texts
from torch import nn
from workloads import (
    SIZES,
    WORKLOADS,
    Json,
    Size,
    all_steps,
    config,
    copies,
    encoder_of,
    make,
    vocabulary,
)

from mtl.training.state import STAGES
from mtl.training.timeline import Step
from mtl.training.trainer import Trainer

Batches = Sequence[tuple[str, np.ndarray]]
"""The task and the rows of each."""


@frozen
class Scale:
    """How much is measured: repeats, seconds and at least how many steps of each, texts, and what the sizes
    become."""

    repeats: int
    seconds: float
    steps: int
    sentences: int
    lines: int
    sizes: Mapping[str, Size]


SMOKE = Size(words=60, embed_dim=8, encoder={"BiLSTM": {"lstm_dim": 4}}, sentences=8, lines=2)
SCALES = {
    "full": Scale(5, 10.0, 8, 20_000, 4000, SIZES),
    # A step of the larger models on 16 lines takes seconds.
    "short": Scale(
        3,
        4.0,
        2,
        4000,
        400,
        {name: size if name == "small" else evolve(size, lines=1) for name, size in SIZES.items()},
    ),
    "smoke": Scale(1, 0.0, 2, 50, 20, {"small": SMOKE}),
}
SECONDS_A_TURN = 0.25
"""On a CPU a turn is so long or one step, but for loops over the same batches, which are compared by step.
Were it one step of a small model, its loop would find the processor's caches full of what the others left."""
LINES_A_BATCH = 16
"""Where lines of one length are compared with lines of another."""
GPU_BATCHES = {"small": (4096, 256), "medium": (2048, 128), "transformer": (1024, 64)}
"""Sentences and lines a batch that keep a GPU busy."""
GPU_TEXTS = (200_000, 20_000)


@frozen(eq=False)
class Contender:
    """A loop in a comparison: what takes a step, and the examples and tokens of each step in turn."""

    step: Callable[[], object]
    work: Sequence[tuple[int, int]]


@frozen
class Repeat:
    """What a loop did in one repeat, and the seconds of each of its turns."""

    turns: Sequence[float]
    steps: int
    examples: int
    tokens: int

    @property
    def seconds(self) -> float:
        """Of all turns."""
        return sum(self.turns)


def compare(
    contenders: Mapping[str, Contender],
    scale: Scale,
    *,
    turn: float = 0.0,
    tasks: int = 2,
    device: str = "cpu",
) -> dict[str, list[Repeat]]:
    """Run all of them in turn; on a CPU for `turn` seconds or a step, on a GPU, which works on behind, repeat
    by repeat.

    Before it they take two steps of each of up to `tasks` tasks, until optimizer, allocator and compiler
    have what they need; the second ones tell how many steps fit into a turn and into a repeat.
    """
    names = list(contenders)
    for contender in contenders.values():
        _seconds(contender.step, tasks, device)
    each = [_seconds(contender.step, tasks, device) / tasks for contender in contenders.values()]
    most = min(len(contender.work) - 2 * tasks for contender in contenders.values()) // scale.repeats
    steps = min(max(int(scale.seconds / sum(each)), scale.steps), most)
    # Two at least, as tasks take turns as well.
    block = max(2 * int(turn / max(each) / 2), 1) if device == "cpu" else steps
    steps = max(steps // max(block, 2), 1) * max(block, 2)
    repeats: dict[str, list[Repeat]] = {name: [] for name in names}
    for repeat in range(scale.repeats):
        turns: dict[str, list[float]] = {name: [] for name in names}
        for number in range(repeat, repeat + steps // block):
            # Each goes first as often as the others.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                turns[name].append(_seconds(contenders[name].step, block, device))
        begin = 2 * tasks + repeat * steps
        for name, contender in contenders.items():
            done = contender.work[begin : begin + steps]
            examples, tokens = (sum(counts) for counts in zip(*done, strict=True))
            repeats[name].append(Repeat(turns[name], steps, examples, tokens))
    return repeats


def _seconds(step: Callable[[], object], count: int, device: str) -> float:
    _wait(device)
    begun = perf_counter()
    for _ in range(count):
        step()
    _wait(device)
    return perf_counter() - begun


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def statistics(repeats: Sequence[Repeat]) -> dict[str, float]:
    """Medians of the repeats."""
    return {
        "ms_per_step": median(1000 * repeat.seconds / repeat.steps for repeat in repeats),
        "examples_per_second": median(repeat.examples / repeat.seconds for repeat in repeats),
        "tokens_per_second": median(repeat.tokens / repeat.seconds for repeat in repeats),
    }


def ratio(left: Sequence[Repeat], right: Sequence[Repeat]) -> dict[str, float]:
    """Return how many times as long as `right` the loop `left` takes for a token."""
    return middle([(a.seconds / a.tokens) / (b.seconds / b.tokens) for a, b in zip(left, right, strict=True)])


def ratio_of_turns(left: Sequence[Repeat], right: Sequence[Repeat]) -> dict[str, float]:
    """Return how many times as long as `right` the loop `left` takes for the same batches: the median over
    the turns of each repeat, so that what disturbs single turns of either does not count."""
    return middle(
        [
            median(x / y for x, y in zip(a.turns, b.turns, strict=True))
            for a, b in zip(left, right, strict=True)
        ]
    )


# --- loops -----------------------------------------------------------------------------------------------


def batches_of(training: Trainer, order: Sequence[Step]) -> Batches:
    """Return the task and the rows of each step."""
    return [(step.task, rows_of(training, step)) for step in order]


def shuffled(batches: Batches) -> Batches:
    """As many batches of as many rows of the same tasks in turn, but which rows meet does not depend on their
    lengths."""
    generator = np.random.default_rng(3)
    rows_left = {}
    for task in dict.fromkeys(task for task, _ in batches):
        rows = np.concatenate([rows for named, rows in batches if named == task])
        rows_left[task] = iter(generator.permutation(rows).tolist())
    return [(task, np.array(list(islice(rows_left[task], len(rows))))) for task, rows in batches]


def work(training: Trainer, batches: Batches) -> list[tuple[int, int]]:
    """Return the examples and tokens of each batch."""
    lengths = {task: data.train.lengths for task, data in training.data.items()}
    return [(len(rows), int(lengths[task][rows].sum())) for task, rows in batches]


def rows_of(training: Trainer, step: Step) -> np.ndarray:
    """Return the rows of a step of one batch."""
    return training.phase.timeline.batching[step.task].batches(step.spans[0].pass_index)[step.spans[0].start]


def by_mtl(training: Trainer, order: Sequence[Step]) -> Contender:
    """Mtl's own step, data included."""
    training.model.train()
    turn = iter(order)
    return Contender(lambda: training.train_step(next(turn)), work(training, batches_of(training, order)))


def by_hand(training: Trainer, order: Sequence[Step], **settings: Any) -> Contender:
    """Return the best loop by hand."""
    training.model.train()
    return Contender(ByHand(training, order, **settings).step, work(training, batches_of(training, order)))


def straightforward(training: Trainer, batches: Batches, encoder: Json, folder: Path) -> Contender:
    """Return the straightforward loop over these batches of the rows of `training`."""
    loop = Straightforward(
        plain_models(training, encoder),
        read_texts(folder),
        vocabulary(training),
        [(task, rows.tolist()) for task, rows in batches],
    )
    return Contender(loop.step, work(training, batches))


def plain_models(training: Trainer, encoder: Json) -> dict[str, nn.Module]:
    """Models in plain torch that do the same mathematics as those of `training`."""
    words = vocabulary(training)
    embedding = next(p for p in training.model.parameters() if len(p) == len(words))
    return models(training.tasks, len(words), embedding.shape[1], encoder)


# --- comparisons -----------------------------------------------------------------------------------------


def compare_loops(size: Size, workload: str, folder: Path, scale: Scale) -> Json:
    """Return one workload: mtl beside the best loop by hand, and beside the straightforward one, over its own
    batches and over theirs."""
    settings = config(size, workload, folder)
    encoder = encoder_of(size, workload)

    ours, reference = make(settings), make(settings)
    order = all_steps(ours)
    batches = batches_of(ours, order)
    best = compare({"mtl": by_mtl(ours, order), "by hand": by_hand(reference, order)}, scale)
    phases = {phase: ours.state.seconds[phase] for phase in STAGES}
    first = compare(
        {
            "mtl": by_mtl(make(settings), order),
            "straightforward": straightforward(reference, shuffled(batches), encoder, folder),
            "straightforward, sorted": straightforward(reference, batches, encoder, folder),
        },
        evolve(scale, steps=2),
        turn=SECONDS_A_TURN,
    )
    return {
        "loops": {name: statistics(each) for name, each in {**first, **best}.items()},
        "mtl_to_by_hand": ratio_of_turns(best["mtl"], best["by hand"]),
        "straightforward_to_mtl": ratio(first["straightforward"], first["mtl"]),
        "sorted_straightforward_to_mtl": ratio(first["straightforward, sorted"], first["mtl"]),
        "shares_of_mtls_step": {phase: part / sum(phases.values()) for phase, part in phases.items()},
    }


def compare_lengths(size: Size, workload: str, folder: Path, scale: Scale) -> Json:
    """Return a token of a line of 400 tokens beside one of a line of 100, in batches of as many lines."""
    short, long = 100, 400
    contenders = {}
    for length in (short, long):
        texts = np.full(2 * LINES_A_BATCH, length)
        write_sentences(folder / SENTENCES, generate(texts, size.words))
        write_lines(folder / LINES, generate(texts - 2, size.words))  # which get a begin and an end
        training = make(config(evolve(size, sentences=LINES_A_BATCH, lines=LINES_A_BATCH), workload, folder))
        contenders[length] = by_mtl(training, all_steps(training))
    repeats = compare(
        {str(length): contender for length, contender in contenders.items()}, scale, turn=SECONDS_A_TURN
    )
    per_token = {name: [r.seconds / r.tokens for r in each] for name, each in repeats.items()}
    return {
        "microseconds_per_token": {name: 1e6 * median(each) for name, each in per_token.items()},
        "long_to_short": middle(
            [b / a for a, b in zip(per_token[str(short)], per_token[str(long)], strict=True)]
        ),
    }


def compare_tasks(size: Size, folder: Path, scale: Scale) -> Json:
    """Return a step of a run of 32 tasks beside one of a run of one, in batches of the same size."""
    # Equally long, so that all batches are the same work, whichever rows meet.
    write_sentences(folder / SENTENCES, generate(np.full(scale.sentences // 4, 20), size.words))
    one = config(size, "sst2", folder)
    trainings = {count: make(copies(one, count)) for count in (1, 32)}
    contenders = {str(count): by_mtl(training, all_steps(training)) for count, training in trainings.items()}
    repeats = compare(contenders, scale, turn=SECONDS_A_TURN, tasks=32)
    return {
        "ms_per_step": {name: statistics(each)["ms_per_step"] for name, each in repeats.items()},
        "many_to_one": ratio_of_turns(repeats["32"], repeats["1"]),
    }


def compare_on_gpu(size: Size, workload: str, folder: Path, scale: Scale) -> Json:
    """Mtl beside loops by hand in fp32, in bf16 and compiled; with CUDA graphs where shapes repeat."""
    fixed = workload == "stream"
    settings = config(size, "lm" if fixed else workload, folder, device="cuda")
    if fixed:
        settings["tasks"]["LM"]["LMTask"] |= {"rows": "stream", "max_tokens": 128}

    def ready(**trainer: Any) -> Trainer:
        return make({**settings, "trainer": {**settings["trainer"], **trainer}})

    plain = ready()
    order = all_steps(plain)
    encoder = encoder_of(size, "lm" if fixed else workload)
    cudnn = {task: PlainModel(model).cuda() for task, model in plain_models(plain, encoder).items()}
    compiled = ready()
    for model in compiled.model.tasks.values():
        model.compile(dynamic=True)
    contenders = {
        "mtl": by_mtl(ready(), order),
        "by hand": by_hand(plain, order),
        "mtl bf16": by_mtl(ready(precision="bf16"), order),
        "by hand bf16": by_hand(ready(), order, bfloat16=True),
        "by hand bf16 cuDNN both directions": by_hand(ready(), order, models=cudnn, bfloat16=True),
        "mtl bf16 compiled": by_mtl(ready(precision="bf16", compile=True), order),
        "by hand bf16 compiled": by_hand(compiled, order, bfloat16=True),
    }
    if fixed:
        graphed = ready()
        graphed.model.train()
        loop = Graphed(graphed, order, bfloat16=True)
        contenders["by hand bf16 CUDA graphs"] = Contender(
            loop.step, work(graphed, batches_of(graphed, order))
        )
    # A GPU takes many steps in the time of a CPU's few.
    repeats = compare(contenders, evolve(scale, seconds=scale.seconds / 4), device="cuda")
    best = min(
        (name for name in repeats if name.startswith("by hand")),
        key=lambda name: statistics(repeats[name])["ms_per_step"],
    )
    ours = [name for name in repeats if name.startswith("mtl")]
    return {
        "loops": {name: statistics(each) for name, each in repeats.items()},
        "best_by_hand": best,
        "to_same_by_hand": {
            name: ratio_of_turns(repeats[name], repeats[name.replace("mtl", "by hand")]) for name in ours
        },
        "to_best_by_hand": {name: ratio_of_turns(repeats[name], repeats[best]) for name in ours},
    }


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__).parse_args()
    prepare(arguments.device, arguments.threads)
    scale = SCALES[arguments.scale]
    with recording(arguments) as results, TemporaryDirectory() as temporary:
        texts, generated = Path(temporary, "texts"), Path(temporary, "generated")
        for name, size in scale.sizes.items():
            if arguments.device == "cuda":
                sentences, lines = GPU_BATCHES[name]
                sized = evolve(size, sentences=sentences, lines=lines)
                write_texts(
                    texts, arguments.data, sentences=GPU_TEXTS[0], lines=GPU_TEXTS[1], words=size.words
                )
                results[name] = {
                    workload: compare_on_gpu(sized, workload, texts, scale)
                    for workload in (*WORKLOADS, "stream")
                }
                continue
            write_texts(texts, arguments.data, sentences=scale.sentences, lines=scale.lines, words=size.words)
            results[name] = {workload: compare_loops(size, workload, texts, scale) for workload in WORKLOADS}
        if arguments.device == "cpu":
            small = scale.sizes["small"]
            results["lengths"] = {
                workload: compare_lengths(small, workload, generated, scale) for workload in ("sst2", "lm")
            }
            results["tasks"] = compare_tasks(small, generated, scale)


if __name__ == "__main__":
    main()
