"""The whole config of a run, as classes."""

from __future__ import annotations

from typing import Literal

from attrs import Factory

from mtl.fields import REQUIRED, Component, configclass, option, slot


@configclass
class ParameterGroupConfig:
    """How the parameters of some modules move, where that differs from the optimizer's settings."""

    lr_factor: float = option(1.0, "Their learning rate, as a share of the optimizer's.", above=0)
    weight_decay: float | None = option(None, "Their weight decay; the optimizer's if absent.", minimum=0)


@configclass
class TrainerConfig:
    """How long and how to train."""

    epochs: int | None = option(
        None,
        "Epochs to train; 10 where neither this nor `max_steps` is given.",
        minimum=1,
        maximum=1_000_000,
    )
    max_steps: int | None = option(
        None, "Steps to train, all epochs together.", minimum=1, maximum=1_000_000_000
    )
    optimizer: Component = slot("optimizer", "Adam", "How the parameters move.")
    lr_scheduler: Component = slot("lr_scheduler", "Constant", "How the learning rate moves.")
    parameter_groups: dict[str, ParameterGroupConfig] = option(
        Factory(dict),
        "Rates of their own by module: a `shared_module_key`, or names on the way to it in the config, as in"
        " `SST2.representation.lstm`, with all below it; the last that fits a module counts.",
    )
    max_clip_norm: float | None = option(None, "Scale a step's gradient down to this norm.", above=0)
    accumulate_batches: int = option(1, "Batches of one task a step; they count as one big batch.", minimum=1)
    average_decay: float | None = option(
        None,
        "Evaluate and keep an exponential moving average of the weights with this decay, such as 0.999;"
        " the weights of the last step if absent.",
        above=0,
        below=1,
    )
    on_nonfinite_loss: Literal["error", "skip"] = option(
        "error",
        "A step whose loss is infinite or no number ends the run, or is skipped and counted: it then"
        " changes no weight. On a GPU, skipping waits for each step's loss.",
    )
    keep_model: Literal["best", "last"] = option(
        "best",
        "Keep the model of the best evaluation, or that of the last one, which then selects nothing.",
    )
    early_stop_after: int | None = option(
        None, "End after this many evaluations in a row without a better one.", minimum=1
    )
    evaluate_every_steps: int | None = option(
        None, "Evaluate every so many steps, as well as at the end; every epoch if absent.", minimum=1
    )
    compare_gradients_every: int | None = option(
        100,
        "Compare two tasks' gradients of what they share every so many steps, more tasks less often; never"
        " if null.",
        minimum=1,
    )
    report_every_steps: int = option(50, "Write the training losses every so many steps.", minimum=1)
    checkpoint_every_steps: int | None = option(
        None, "Write a checkpoint every so many steps, as well as after each epoch.", minimum=1
    )
    checkpoint_every_minutes: float | None = option(
        None, "Write a checkpoint every so many minutes.", above=0
    )
    keep_checkpoints: int = option(1, "Newest checkpoints kept.", minimum=1)
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "Numbers of the forward pass.")
    compile: bool = option(False, "Compile the tasks' models with torch.compile.")
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] | None = option(
        None,
        "How `compile` goes about it: on a GPU, `reduce-overhead` replays CUDA graphs, one for each shape of"
        " batch, for rows of few lengths such as windows of a stream; `max-autotune` also tries which kernels"
        " are fastest.",
    )
    deterministic: bool = option(
        False,
        "On a GPU, take only operations that give the same bits each time, and refuse others; a CPU"
        " repeats a run to the bit anyway.",
    )
    num_threads: int | None = option(
        None, "CPU threads of torch; torch's own choice if absent.", minimum=1, maximum=1024
    )

    def __attrs_post_init__(self) -> None:
        if self.compile_mode is not None and not self.compile:
            raise ValueError(f"`compile_mode` {self.compile_mode!r} needs `compile` true")


@configclass
class PhaseConfig:
    """A stretch of a run with its own tasks and optimizer, from the weights that the one before left."""

    name: str | None = option(None, "What it is called in the plan and the results.")
    tasks: list[str] | None = option(None, "The tasks to train; all if absent.")
    epochs: int | None = option(None, "Epochs to train.", minimum=1, maximum=1_000_000)
    steps: int | None = option(None, "Steps to train, all epochs together.", minimum=1, maximum=1_000_000_000)
    schedule: Component | None = slot("schedule", None, "Which task's batch comes next; the run's if absent.")
    optimizer: Component | None = slot("optimizer", None, "How the parameters move; the trainer's if absent.")
    lr_scheduler: Component | None = slot(
        "lr_scheduler", None, "How the learning rate moves; the trainer's if absent."
    )
    freeze: list[str] = option(
        Factory(list),
        "Modules that do not move in this phase, named as in `trainer.parameter_groups`.",
    )


@configclass
class RunConfig:
    """A run: its tasks, and how they are trained together."""

    base_dir: str = option(".", "Where relative paths start; itself relative to the config's folder.")
    task_weights: dict[str, float] = option(
        Factory(dict), "Factor of each task's loss; 1 for a task that is not named.", minimum=0
    )
    target_task: str | None = option(None, "The task that selects the best model and whose data is an epoch.")
    tasks: dict[str, Component] = slot("task", REQUIRED, "The tasks by name.")
    trainer: TrainerConfig = option(Factory(TrainerConfig), "How long and how to train.")
    schedule: Component = slot("schedule", "RoundRobin", "Which task's batch comes next.")
    phases: list[PhaseConfig] = option(
        Factory(list), "Stretches of the run one after the other; one of all tasks if absent."
    )
    balancer: Component = slot("balancer", "StaticWeights", "How the tasks' losses weigh against each other.")
    loggers: list[Component] = slot("logger", REQUIRED, "What else watches the run.")
    seed: int = option(0, "Where all randomness comes from.", minimum=0, maximum=2**63 - 1)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "`auto` takes a GPU where there is one.")

    def __attrs_post_init__(self) -> None:
        dotted = [name for name in self.tasks if "." in name or not name]
        if dotted:
            raise ValueError(f"a task's name must have a letter and no dot, but one is {dotted[0]!r}")
