"""What mtl_trackers brings. Free of torch."""

from __future__ import annotations

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


def _spec(name: str, module: str, summary: str) -> ComponentSpec:
    config, factory = f"mtl_trackers.config:{name}Config", f"mtl_trackers.{module}:{name}"
    return ComponentSpec(name=name, config=config, factory=factory, summary=summary)


@hookimpl
def mtl_loggers() -> list[ComponentSpec]:
    return [
        _spec("TensorBoard", "tensorboard_logger", "Writes event files for TensorBoard into the run folder"),
        _spec("WandB", "wandb_logger", "Logs to Weights & Biases, online or offline"),
        _spec("MLflow", "mlflow_logger", "Logs to an MLflow tracking server, database or folder"),
        _spec("Trackio", "trackio_logger", "Logs to Trackio's local database"),
    ]
