"""The results of a comparison as JSON: `compare.json`, described in docs/compare.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, frozen

from mtl import Metric
from mtl_compare.scores import Reported
from mtl_compare.statistics import (
    Paired,
    Summary,
    delta_m,
    gain,
    mcnemar,
    paired,
    sign_flip,
    verdict,
)
from mtl_compare.variants import TOGETHER, Variant

FORMAT = 1


@define
class Run:
    """One training of a comparison. `result` is its result.json and `scores` are those of `score_run`,
    both once it is done; `message` says why it failed."""

    variant: Variant
    seed: int
    folder: str
    status: str = "pending"
    message: str = ""
    result: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The run in words."""
        return f"{self.variant.name}, seed {self.seed}"


@frozen
class Subject:
    """A task that is compared: its metric, and its rows that are reported."""

    task: str
    metric: Metric
    reported: Reported


def report(
    config: str,
    subjects: Sequence[Subject],
    runs: Sequence[Run],
    seeds: Sequence[int],
    notes: Sequence[str],
    baseline: str | None = None,
) -> dict[str, Any]:
    """Return the results of the runs that are complete.

    With a `baseline`, the runs are of several configs, each compared with that one; otherwise of all tasks
    together, each alone, and all but one.
    """
    done = {(run.variant.name, run.seed): run for run in runs if run.status == "completed"}
    variants = {run.variant.name: run.variant for run in runs}
    if baseline is None:
        tasks = {subject.task: _task(subject, variants, done, seeds) for subject in subjects}
        compared: dict[str, Any] = {"delta_m": _delta_m([task["difference"] for task in tasks.values()])}
    else:
        tasks = {subject.task: _by_config(subject, baseline, variants, done, seeds) for subject in subjects}
        others = [name for name in variants if name != baseline]
        compared = {
            "baseline": baseline,
            "delta_m": {
                name: _delta_m([task["configs"][name]["difference"] for task in tasks.values()])
                for name in others
            },
        }
    return {
        "format": FORMAT,
        "kind": "tasks" if baseline is None else "configs",
        "config": config,
        "status": "completed" if len(done) == len(runs) else "incomplete",
        "seeds": list(seeds),
        "tasks": tasks,
        **compared,
        "cost": _costs(variants, done, seeds),
        "notes": list(notes),
        "runs": [_run(run) for run in runs],
    }


def _run(run: Run) -> dict[str, Any]:
    result, scores = run.result or {}, run.scores or {}
    made = {
        "name": run.variant.name,
        "seed": run.seed,
        "folder": run.folder,
        "status": run.status,
        "seconds": result["seconds"]["total"] if result else None,
        "steps": result.get("steps"),
        "parameters": scores.get("parameters"),
        "tasks": {
            task: {split: metrics.get(split) for split in ("eval", "test")}
            for task, metrics in result.get("tasks", {}).items()
            if task in run.variant.steps
        },
    }
    return {**made, "message": run.message} if run.message else made


# --- one task --------------------------------------------------------------------------------------

Done = Mapping[tuple[str, int], Run]


def _task(
    subject: Subject, variants: Mapping[str, Variant], done: Done, seeds: Sequence[int]
) -> dict[str, Any]:
    task, metric, rows = subject.task, subject.metric, subject.reported
    names = {"alone": f"alone/{task}"}
    names |= {name: name for name in variants if name.startswith("without/") and task in variants[name].steps}
    compared = {name: _against(subject, TOGETHER, variant, done, seeds) for name, variant in names.items()}
    alone = compared.pop("alone")
    difference = alone.pop("difference")
    return {
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "split": rows.split,
        "rows": rows.rows,
        "selected_on": "eval" if rows.split == "eval" and rows.selects else None,
        "together": _summary(_values(subject, TOGETHER, metric.name, done, seeds)),
        "alone": alone,
        "without": {name.partition("/")[2]: each for name, each in compared.items()},
        "difference": difference,
        "metrics": _other_metrics(subject, done, seeds),
    }


def _by_config(
    subject: Subject, baseline: str, variants: Mapping[str, Variant], done: Done, seeds: Sequence[int]
) -> dict[str, Any]:
    """Return a task's metric in each config, and how far the others are from the baseline."""
    metric, rows = subject.metric, subject.reported
    configs: dict[str, Any] = {}
    for name in variants:
        values = _summary(_values(subject, name, metric.name, done, seeds))
        against = _against(subject, name, baseline, done, seeds)["difference"] if name != baseline else None
        configs[name] = {**values, "difference": against}
    return {
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "split": rows.split,
        "rows": rows.rows,
        "selected_on": "eval" if rows.split == "eval" and rows.selects else None,
        "configs": configs,
    }


def _summary(values: Mapping[int, float]) -> dict[str, Any]:
    summary = Summary.of(list(values.values()))
    return {
        "seeds": list(values),
        "values": list(summary.values),
        "mean": summary.mean,
        "deviation": summary.deviation,
    }


def _values(subject: Subject, variant: str, name: str, done: Done, seeds: Sequence[int]) -> dict[int, float]:
    """Return a metric of the reported rows for each seed whose run is done and has it."""
    found = {}
    for seed in seeds:
        run = done.get((variant, seed))
        value = _metric_value(run, subject, name) if run else None
        if value is not None:
            found[seed] = value
    return found


def _metric_value(run: Run, subject: Subject, name: str) -> float | None:
    """Return a metric of a run's reported rows, where it is a number."""
    value = _reported_metrics(run, subject).get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _reported_metrics(run: Run, subject: Subject) -> Mapping[str, Any]:
    metrics: Mapping[str, Any] = (run.result or {})["tasks"][subject.task].get(subject.reported.split)
    return metrics or {}


def _against(
    subject: Subject, candidate: str, baseline: str, done: Done, seeds: Sequence[int]
) -> dict[str, Any]:
    """Return the metrics of the variant `baseline`, and how far those of `candidate` are from them."""
    metric = subject.metric
    values, joint = (_values(subject, name, metric.name, done, seeds) for name in (baseline, candidate))
    both = [seed for seed in seeds if seed in values and seed in joint]
    difference = paired([joint[seed] - values[seed] for seed in both])
    rows_test = _rows_test(subject, [(done[candidate, seed], done[baseline, seed]) for seed in both])
    p_rows = rows_test["p"] if rows_test else None
    said = verdict(len(both), difference, p_rows, higher_is_better=metric.higher_is_better)
    gains = [gain(joint[seed], values[seed], higher_is_better=metric.higher_is_better) for seed in both]
    return {
        **_summary(values),
        "difference": {
            **_difference(difference),
            "seeds": both,
            "gains": gains,
            "p_rows": p_rows,
            "rows_test": rows_test,
            "verdict": said.word,
            "text": said.text,
            "seeds_needed": said.seeds_needed,
        },
    }


def _difference(difference: Paired | None) -> dict[str, Any]:
    if difference is None:
        return dict.fromkeys(("mean", "deviation", "interval", "p_seeds", "p_wilcoxon"))
    return {
        "mean": difference.mean,
        "deviation": difference.deviation,
        "interval": list(difference.interval) if difference.interval else None,
        "p_seeds": difference.p,
        "p_wilcoxon": difference.p_wilcoxon,
    }


def _other_metrics(subject: Subject, done: Done, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the task's other metrics that are numbers, together and alone; which way is better is not
    known."""
    names: dict[str, None] = {}
    for (variant, _), run in done.items():
        if variant == TOGETHER:
            metrics = _reported_metrics(run, subject)
            names |= dict.fromkeys(name for name in metrics if name != subject.metric.name)
    made = {}
    for name in names:
        joint, alone = (
            _values(subject, variant, name, done, seeds) for variant in (TOGETHER, f"alone/{subject.task}")
        )
        both = [seed for seed in seeds if seed in joint and seed in alone]
        if both:
            differences = paired([joint[seed] - alone[seed] for seed in both])
            made[name] = {
                "together": _summary(joint),
                "alone": _summary(alone),
                "difference": _difference(differences),
            }
    return made


# --- row by row ------------------------------------------------------------------------------------


def _rows_test(subject: Subject, pairs: Sequence[tuple[Run, Run]]) -> dict[str, Any] | None:
    """Return whether the difference is more than chance of the rows, each row's metrics averaged over the
    seeds.

    A metric that is 0 or 1 a row, such as accuracy, is tested itself, any other by the loss.
    """
    scored = [_scored(run, subject.task) for pair in pairs for run in pair]
    if not scored or len({len(each["metric"]) for each in scored}) != 1:
        return None
    runs = [run for pair in pairs for run in pair]
    binary = all(_is_binary(each, run, subject) for each, run in zip(scored, runs, strict=True))
    if not binary and not all(map(_has_loss, scored)):
        return None
    values = np.array([_values_by_group(each, binary) for each in scored])
    joint, other = values[::2], values[1::2]
    test = mcnemar if binary else _permutation
    single = [test(*pair) for pair in zip(joint, other, strict=True)]
    return {
        "test": "McNemar" if binary and len(pairs) == 1 else "permutation",
        "metric": subject.metric.name if binary else "loss",
        "groups": values.shape[1],
        "rows_per_group": scored[0]["rows_per_group"],
        "p": single[0] if len(pairs) == 1 else _permutation(joint.mean(0), other.mean(0)),
        "p_by_seed": single,
    }


def _permutation(left: np.ndarray, right: np.ndarray) -> float:
    return sign_flip(left - right)


def _scored(run: Run, task: str) -> Mapping[str, Any]:
    scored: Mapping[str, Any] = (run.scores or {})["tasks"][task]
    return scored


def _is_binary(scored: Mapping[str, Any], run: Run, subject: Subject) -> bool:
    """Return whether the metric is 0 or 1 a row, and over all rows the mean of that."""
    values, whole = scored["metric"], _metric_value(run, subject, subject.metric.name)
    return (
        scored["rows_per_group"] == 1
        and set(values) <= {0.0, 1.0}
        and whole is not None
        and abs(float(np.mean(values)) - whole) < 1e-6
    )


def _has_loss(scored: Mapping[str, Any]) -> bool:
    totals, weights = scored["loss_total"], scored["loss_weight"]
    return None not in totals and None not in weights and sum(weights) > 0


def _values_by_group(scored: Mapping[str, Any], binary: bool) -> list[float]:
    """Return what is compared row by row, `[groups]`: the metric, or a row's part of the mean loss."""
    if binary:
        return list(scored["metric"])
    weight = sum(scored["loss_weight"])
    return [total / weight for total in scored["loss_total"]]


# --- all tasks -------------------------------------------------------------------------------------


def _delta_m(differences: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the mean relative gain over all tasks, if each has one."""
    if not differences:
        return None
    seeds = [seed for seed in differences[0]["seeds"] if all(seed in each["seeds"] for each in differences)]
    gains = {
        str(index): [dict(zip(each["seeds"], each["gains"], strict=True))[seed] for seed in seeds]
        for index, each in enumerate(differences)
    }
    values = delta_m(gains)
    tested = paired(values)
    return {"values": values, **_difference(tested)} if tested else None


def _costs(variants: Mapping[str, Variant], done: Done, seeds: Sequence[int]) -> dict[str, Any]:
    """Seconds of a run, evaluation included, and parameters, for each variant; `alone` adds them up."""
    costs: dict[str, Any] = {}
    for name, variant in variants.items():
        runs = [done[name, seed] for seed in seeds if (name, seed) in done]
        seconds = [run.result["seconds"]["total"] for run in runs if run.result]
        costs[name] = {
            "seconds": _summary(dict(zip([run.seed for run in runs], seconds, strict=True)))["mean"],
            "parameters": runs[0].scores["parameters"] if runs and runs[0].scores else None,
            "steps": variant.total_steps,
        }
    alone = [cost for name, cost in costs.items() if name.startswith("alone/")]
    if not alone:
        return costs
    costs["alone"] = {
        key: None if any(cost[key] is None for cost in alone) else sum(cost[key] for cost in alone)
        for key in ("seconds", "parameters", "steps")
    }
    return costs
