"""What a paper says of a run: a paragraph for its methods section, and BibTeX. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mtl.errors import UsageError
from mtl.runs.listing import RunSummary
from mtl.suggest import listed

BIBTEX = """@software{{mtl,
  title = {{{{mtl}}: one model, several tasks, disjoint datasets}},
  author = {{{{The mtl authors}}}},
  version = {{{version}}},
  license = {{BSD-3-Clause}},
}}

@incollection{{pytorch,
  title = {{{{PyTorch}}: An Imperative Style, High-Performance Deep Learning Library}},
  author = {{Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and others}},
  booktitle = {{Advances in Neural Information Processing Systems 32}},
  pages = {{8024--8035}},
  year = {{2019}},
}}
"""


def citation(run: RunSummary) -> str:
    """Return a paragraph on how a completed run was made, and BibTeX of the software.

    Raises `UsageError` if the run is not complete or does not say what it was made with.
    """
    result = run.result
    if not result:
        raise UsageError(f"{run.folder}: this run is {run.status}; only a completed one can be cited")
    made = result.get("provenance")
    if not made:
        raise UsageError(f"{run.folder}: result.json does not say what the run was made with (`provenance`)")
    sentences = [*_training(run), *_selection(run), *_reproduction(run, made)]
    return f"{' '.join(sentences)}\n\n{BIBTEX.format(version=made['versions']['pytext-mtl'])}"


def _training(run: RunSummary) -> Iterator[str]:
    config, result, made = run.config, run.result, run.result["provenance"]
    tasks = [f"{name} ({_component(each)}, {_rows(result, name)})" for name, each in config["tasks"].items()]
    versions = made["versions"]
    what = "one model" if len(tasks) == 1 else f"one model on {len(tasks)} tasks"
    yield (
        f"We trained {what}, {listed(tasks, last='and')}, with mtl {versions['pytext-mtl']} and PyTorch"
        f" {versions['torch']}."
    )
    trainer, phases = config["trainer"], config.get("phases") or []
    steps = f"{result['steps']:,} steps" + (f" in {len(phases)} phases" if phases else "")
    optimizer = _component(trainer["optimizer"])
    rate = next(iter(trainer["optimizer"].values())).get("lr")
    scheduler = _component(trainer["lr_scheduler"])
    batches = {name: next(iter(each.values())).get("batch_size") for name, each in config["tasks"].items()}
    sizes = sorted(set(filter(None, batches.values())))
    order = f", in the order of {_component(config['schedule'])}" if len(tasks) > 1 else ""
    yield (
        f"Training took {steps} of {optimizer}"
        + (f" (learning rate {rate:g}, {scheduler} schedule)" if rate is not None else "")
        + f" with {listed(map(str, sizes), last='or')} rows per batch{order}; the seed was {config['seed']}."
    )


def _selection(run: RunSummary) -> Iterator[str]:
    best = run.result["best"]
    if not best:
        return
    if run.config["trainer"].get("keep_model") == "last":
        yield "The last model was kept; evaluation data selected nothing."
    elif best["value"] is not None:
        yield (
            f"The model with the best {best['metric']} on evaluation data ({best['value']:.4g}, step"
            f" {best['step']:,}) was kept; test data was used once, after selection."
        )


def _reproduction(run: RunSummary, made: Mapping[str, Any]) -> Iterator[str]:
    device = (
        made["gpu"] or f"{made['cpu']}, {made['threads']} CPU thread{'s' if made['threads'] != 1 else ''}"
    )
    seconds = run.result["seconds"]["total"]
    took = f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.1f} seconds"
    yield f"The run took {took} ({device}; Python {made['python']})."
    if made["git"]:
        changed = ", with uncommitted changes" if made["git"]["changed"] else ""
        yield f"Its config is of commit {made['git']['commit'][:12]}{changed}."


def _rows(result: Mapping[str, Any], task: str) -> str:
    return f"{result['tasks'][task]['rows_total']:,} training rows"


def _component(value: Mapping[str, Any]) -> str:
    return str(next(iter(value)))
