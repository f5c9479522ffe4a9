"""The whole config of a run, as classes."""

from __future__ import annotations

from typing import Literal

from attrs import Factory

from mtl.fields import REQUIRED, Component, configclass, option, slot


@configclass
class ParameterGroupConfig:
    """Optimizer settings of some parameters."""

    lr_factor: float | None = option(None, "Factor of the optimizer's learning rate; 1 if absent.", above=0)
    weight_decay: float | None = option(None, "Weight decay; the optimizer's if absent.", minimum=0)


@configclass
class TrainerConfig:
    """Trainer settings."""

    epochs: int | None = option(
        None,
        "Number of epochs; 10 if `max_steps` is not given either.",
        minimum=1,
        maximum=1_000_000,
    )
    max_steps: int | None = option(None, "Total number of training steps.", minimum=1, maximum=1_000_000_000)
    optimizer: Component = slot("optimizer", "Adam", "Optimizer.")
    lr_scheduler: Component = slot("lr_scheduler", "Constant", "Learning-rate scheduler.")
    parameter_groups: dict[str, ParameterGroupConfig] = option(
        Factory(dict),
        "Learning rate and weight decay of some parameters, by a pattern of their names with `*`, such as"
        " `*.bias`, or by module: a `shared_module_key`, or names along its path in the config, such as"
        " `SST2.representation.lstm`, with all modules below. The last match that has a setting counts.",
    )
    max_clip_norm: float | None = option(None, "Clip the gradient norm of a step.", above=0)
    accumulate_batches: int = option(
        1, "Batches of one task per step, equivalent to one large batch.", minimum=1
    )
    average_decay: float | None = option(
        None,
        "Evaluate and save an exponential moving average of the weights with this decay, such as 0.999.",
        above=0,
        below=1,
    )
    on_nonfinite_loss: Literal["error", "skip"] = option(
        "error",
        "Stop the run on an infinite or NaN loss, or skip and count the step, which then changes no weight."
        " On a GPU, skipping synchronizes every step.",
    )
    keep_model: Literal["best", "last"] = option(
        "best",
        "Save the best model, or the last one (nothing is then selected).",
    )
    early_stop_after: int | None = option(
        None, "Stop after this many evaluations without improvement.", minimum=1
    )
    evaluate_every_steps: int | None = option(
        None, "Evaluate every N steps and at the end; every epoch if absent.", minimum=1
    )
    compare_gradients_every: int | None = option(
        100,
        "Compare two tasks' gradients of shared modules every N steps, more tasks less often; never if"
        " `null`.",
        minimum=1,
    )
    report_every_steps: int = option(50, "Log training losses every N steps.", minimum=1)
    checkpoint_every_steps: int | None = option(
        None, "Write a checkpoint every N steps, besides those after each epoch.", minimum=1
    )
    checkpoint_every_minutes: float | None = option(None, "Write a checkpoint every N minutes.", above=0)
    keep_checkpoints: int = option(
        2, "Number of latest checkpoints to keep; 0 keeps one, until the run is complete.", minimum=0
    )
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", "Autocast dtype of the forward pass.")
    compile: bool = option(False, "Compile the tasks' models with torch.compile.")
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] | None = option(
        None,
        "Mode of `torch.compile`. On a GPU, `reduce-overhead` replays one CUDA graph per batch shape: for"
        " inputs of few lengths, such as windows of a stream; `max-autotune` also searches for the fastest"
        " kernels.",
    )
    deterministic: bool = option(
        False,
        "On a GPU, use deterministic algorithms only, and fail on others; on a CPU, runs are always"
        " bit-identical.",
    )
    num_threads: int | None = option(
        None, "Number of CPU threads; torch's default if absent.", minimum=1, maximum=1024
    )

    def __attrs_post_init__(self) -> None:
        if self.compile_mode is not None and not self.compile:
            raise ValueError(f"`compile_mode` {self.compile_mode!r} needs `compile` true")


@configclass
class PhaseConfig:
    """A training stage with its own tasks and optimizer, which starts from the weights of the one before."""

    name: str | None = option(None, "Name in the plan and the results.")
    tasks: list[str] | None = option(None, "Tasks to train; all if absent.")
    epochs: int | None = option(None, "Number of epochs.", minimum=1, maximum=1_000_000)
    steps: int | None = option(None, "Number of steps.", minimum=1, maximum=1_000_000_000)
    schedule: Component | None = slot("schedule", None, "Order of the tasks' batches; the run's if absent.")
    optimizer: Component | None = slot("optimizer", None, "Optimizer; the trainer's if absent.")
    lr_scheduler: Component | None = slot(
        "lr_scheduler", None, "Learning-rate scheduler; the trainer's if absent."
    )
    freeze: list[str] = option(
        Factory(list),
        "Modules or patterns to freeze in this phase, as in `trainer.parameter_groups`.",
    )


@configclass
class SelectionConfig:
    """Which tasks decide what the best model is, and when to stop early."""

    tasks: dict[str, float] = option(
        Factory(dict),
        "Weights of the tasks whose metrics select the best model; `target_task` if empty, or else all tasks"
        " that have evaluation data, alike.",
        above=0,
    )
    early_stopping_tasks: dict[str, float] = option(
        Factory(dict),
        "Weights of the tasks whose metrics `trainer.early_stop_after` follows; those that select the best"
        " model if empty.",
        above=0,
    )


@configclass
class RunConfig:
    """A run: its tasks, and how they are trained together."""

    base_dir: str = option(".", "Base of relative paths, relative to the config's folder.")
    task_weights: dict[str, float] = option(
        Factory(dict), "Loss weight of each task; 1 if not named.", minimum=0
    )
    target_task: str | None = option(None, "Task that selects the best model and defines the epoch.")
    selection: SelectionConfig = option(
        Factory(SelectionConfig), "Tasks that select the best model and stop the training early."
    )
    tasks: dict[str, Component] = slot("task", REQUIRED, "Tasks by name.")
    trainer: TrainerConfig = option(Factory(TrainerConfig), "Trainer settings.")
    schedule: Component = slot("schedule", "RoundRobin", "Order of the tasks' batches.")
    phases: list[PhaseConfig] = option(
        Factory(list), "Consecutive training stages; a single one with all tasks if empty."
    )
    balancer: Component = slot(
        "balancer", "StaticWeights", "How to weigh the tasks' losses or combine their gradients."
    )
    loggers: list[Component] = slot("logger", REQUIRED, "Loggers of this run.")
    seed: int = option(0, "Random seed.", minimum=0, maximum=2**63 - 1)
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Device to train on; `auto` uses a GPU if available."
    )

    def __attrs_post_init__(self) -> None:
        dotted = [name for name in self.tasks if "." in name or not name]
        if dotted:
            raise ValueError(f"a task's name must have a letter and no dot, but one is {dotted[0]!r}")
