"""The kinds that `mtl plugins new` has templates for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from mtl.components import Output, PoolingInput
from mtl.config.json_path import JSONPath
from mtl.scaffold.rows import Target

COMMAND = "command"

_LABELS = '{"label", "probabilities"}'


@frozen(kw_only=True)
class Part:
    """What the templates of a kind make.

    `suffix` ends the component's name, `module` holds its factory, `modules` say what is in each file
    beside plugin.py and config.py, `answer` holds the keys of a prediction by config.json's model. In
    config.json the component has these `settings` and stands at `place`, or in the task in a slot that asks
    for no more than it `declares`.
    """

    suffix: str
    module: str
    summary: str
    modules: Mapping[str, str]
    rows: tuple[Target, Literal["tsv", "csv"]] | None = ("label", "tsv")
    answer: str = _LABELS
    settings: Mapping[str, Any] = field(factory=dict)
    place: JSONPath = ()
    declares: Mapping[str, Any] = field(factory=dict)


_MODEL = {"model": "the torch module"}

PARTS: Mapping[str, Part] = {
    "task": Part(
        suffix="Task",
        module="task",
        summary="A score for each text",
        modules={"data": "rows: from strings to tokens and scores", "model": "the model", "task": "the task"},
        rows=("score", "tsv"),
        answer='{"score"}',
    ),
    "representation": Part(
        suffix="Encoder",
        module="model",
        summary="A convolution over each word and those before it",
        modules=_MODEL,
        settings={"dim": 16},
        declares={"output": Output.SEQUENCE},
    ),
    "featurizer": Part(
        suffix="Feat",
        module="data",
        summary="A vector for the last letters of a word",
        modules={"data": "tokens to numbers", "model": "numbers to vectors"},
        settings={"embed_dim": 4},
    ),
    "pooling": Part(
        suffix="Pooling",
        module="model",
        summary="A smooth maximum of the sequence",
        modules=_MODEL,
        settings={"sharpness": 2.0},
        declares={"input": PoolingInput.SEQUENCE},
    ),
    "decoder": Part(
        suffix="Decoder",
        module="model",
        summary="Scores by way of a narrow layer",
        modules=_MODEL,
        settings={"rank": 4},
    ),
    "data_source": Part(
        suffix="Source",
        module="data",
        summary="Comma-separated values with a header",
        modules={"data": "files to rows"},
        rows=("label", "csv"),
    ),
    "dataset": Part(
        suffix="Dataset",
        module="data",
        summary="Film reviews, good or bad",
        modules={"data": "where the dataset is, and a generated one in its format"},
        rows=None,
    ),
    "optimizer": Part(
        suffix="Optimizer",
        module="optimizers",
        summary="Adam with Nesterov's momentum (Dozat 2016)",
        modules={"optimizers": "the optimizer"},
        settings={"lr": 0.01},
        place=("trainer", "optimizer"),
    ),
    "lr_scheduler": Part(
        suffix="Scheduler",
        module="lr_schedulers",
        summary="Warm-up, then down with the root of the step",
        modules={"lr_schedulers": "the learning-rate scheduler"},
        settings={"warmup_steps": 5},
        place=("trainer", "lr_scheduler"),
    ),
    "schedule": Part(
        suffix="Schedule",
        module="schedules",
        summary="Some steps of one task, then some of the next",
        modules={"schedules": "the order of tasks"},
        settings={"block": 2},
        place=("schedule",),
    ),
    "balancer": Part(
        suffix="Balancer",
        module="balancers",
        summary="Each task's loss on one scale",
        modules={"balancers": "how the losses weigh against each other"},
        settings={"decay": 0.9},
        place=("balancer",),
    ),
    "logger": Part(
        suffix="Logger",
        module="loggers",
        summary="Evaluations as a table in the run folder",
        modules={"loggers": "the callback"},
        place=("loggers",),
    ),
    COMMAND: Part(
        suffix="Command",
        module="command",
        summary="The loss of each evaluation of a run",
        modules={"command": "the command"},
    ),
}
"""The kinds that have templates: those of components, and commands."""
