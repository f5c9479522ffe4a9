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
        modules={"data": "from table rows to tokens and scores", "model": "the model", "task": "the task"},
        rows=("score", "tsv"),
        answer='{"score"}',
    ),
    "representation": Part(
        suffix="Encoder",
        module="model",
        summary="Causal convolution over words",
        modules=_MODEL,
        settings={"dim": 16},
        declares={"output": Output.SEQUENCE},
    ),
    "featurizer": Part(
        suffix="Feat",
        module="data",
        summary="One vector per word from its last letters",
        modules={"data": "from tokens to ids", "model": "from ids to vectors"},
        settings={"embed_dim": 4},
    ),
    "pooling": Part(
        suffix="Pooling",
        module="model",
        summary="Smooth maximum of the sequence",
        modules=_MODEL,
        settings={"sharpness": 2.0},
        declares={"input": PoolingInput.SEQUENCE},
    ),
    "decoder": Part(
        suffix="Decoder",
        module="model",
        summary="Scores through a low-rank layer",
        modules=_MODEL,
        settings={"rank": 4},
    ),
    "data_source": Part(
        suffix="Source",
        module="data",
        summary="Comma-separated values with a header",
        modules={"data": "from files to rows"},
        rows=("label", "csv"),
    ),
    "dataset": Part(
        suffix="Dataset",
        module="data",
        summary="Film reviews, positive or negative",
        modules={"data": "download and generated sample of the dataset"},
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
        summary="Linear warm-up, then inverse square root decay",
        modules={"lr_schedulers": "the learning-rate scheduler"},
        settings={"warmup_steps": 5},
        place=("trainer", "lr_scheduler"),
    ),
    "schedule": Part(
        suffix="Schedule",
        module="schedules",
        summary="Blocks of steps of one task after the other",
        modules={"schedules": "the order of tasks"},
        settings={"block": 2},
        place=("schedule",),
    ),
    "balancer": Part(
        suffix="Balancer",
        module="balancers",
        summary="Normalizes each loss by its running average",
        modules={"balancers": "the weights of the losses"},
        settings={"decay": 0.9},
        place=("balancer",),
    ),
    "logger": Part(
        suffix="Logger",
        module="loggers",
        summary="Writes evaluations to a CSV file in the run folder",
        modules={"loggers": "the callback"},
        place=("loggers",),
    ),
    COMMAND: Part(
        suffix="Command",
        module="command",
        summary="Prints the loss of each evaluation of a run",
        modules={"command": "the command"},
    ),
}
"""The kinds that have templates: those of components, and commands."""
