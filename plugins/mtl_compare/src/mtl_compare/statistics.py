"""What a difference between runs is worth: tests, intervals, and how many seeds would tell.

Pure functions of numbers. Differences are paired: run by run with the same seed, or row by row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from scipy import stats

LEVEL = 0.05
"""The probability of seeing a difference where there is none that a test allows."""
POWER = 0.8
"""The probability with which the number of seeds that is called enough finds what is there."""
MOST_SEEDS = 100
"""More seeds than these are not recommended to anybody."""
WILCOXON_SEEDS = 6
"""With fewer pairs the smallest p that Wilcoxon's signed-rank test can give, 2 / 2 ** n, is above `LEVEL`."""
EXACT_ROWS = 14
"""Differences up to which all changes of signs are tried, instead of some drawn at random."""
DRAWS = 10_000


@frozen
class Summary:
    """Values over seeds: their mean, and their deviation (of the sample, n - 1; None of one value)."""

    values: tuple[float, ...]
    mean: float | None
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Return the summary of `values`."""
        array = np.asarray(values, dtype=np.float64)
        return cls(
            tuple(map(float, values)),
            float(array.mean()) if len(array) else None,
            float(array.std(ddof=1)) if len(array) > 1 else None,
        )


@frozen
class Paired:
    """Differences over seeds, tested.

    `interval` holds their mean in 95 % of such experiments, and `p` is that of the paired t-test, both
    None where there is one difference or where all are the same, which leaves nothing to measure chance
    by. `p_wilcoxon` is None below `WILCOXON_SEEDS`.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_wilcoxon: float | None


def paired(differences: Sequence[float]) -> Paired | None:
    """Return the t-test and the t interval of paired differences; None where there are none."""
    if not differences:
        return None
    array = np.asarray(differences, dtype=np.float64)
    mean, count = float(array.mean()), len(array)
    if count < 2:
        return Paired(mean, None, None, None, None)
    deviation = float(array.std(ddof=1))
    # A deviation within the rounding errors of the figures themselves is none.
    if deviation <= 1e-12 * float(np.abs(array).max()):
        return Paired(mean, 0.0, None, None, None)
    error = deviation / math.sqrt(count)
    half = float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * error
    return Paired(
        mean,
        deviation,
        (mean - half, mean + half),
        2 * float(stats.t.sf(abs(mean) / error, count - 1)),
        float(stats.wilcoxon(array).pvalue) if count >= WILCOXON_SEEDS else None,
    )


def seeds_needed(mean: float, deviation: float) -> int | None:
    """Return the seeds with which a paired t-test at 5 % finds, with a power of 80 %, a difference of this
    mean and deviation; None where that takes more than `MOST_SEEDS`."""
    counts = np.arange(2, MOST_SEEDS + 1)
    effect = abs(mean) / deviation * np.sqrt(counts) if deviation else np.full(len(counts), np.inf)
    # Beyond this many standard errors the power is 1 in every digit, and the distribution's code fails.
    effect = np.minimum(effect, 30.0)
    critical = stats.t.ppf(1 - LEVEL / 2, counts - 1)
    power = stats.nct.sf(critical, counts - 1, effect) + stats.nct.cdf(-critical, counts - 1, effect)
    enough = counts[power >= POWER]
    return int(enough[0]) if len(enough) else None


def mcnemar(left: Sequence[float], right: Sequence[float]) -> float:
    """McNemar's exact test of two systems that are each right (1) or wrong (0) on the same rows.

    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947; exact by the binomial distribution of the rows on which they differ.
    """
    better = sum(a > b for a, b in zip(left, right, strict=True))
    worse = sum(a < b for a, b in zip(left, right, strict=True))
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def sign_flip(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the paired permutation test: how often the sum would be as far from 0 if the sign of each row's
    difference were chance.

    All signs are tried for few rows, else `DRAWS` drawn from `seed`, the observed ones among them
    (Fisher, "The Design of Experiments", 1935, section 21; for 0/1 figures it is McNemar's test).
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    observed = abs(float(np.sum(differences)))
    # As far, but for the order in which the numbers are added.
    observed -= 1e-9 * float(sizes.sum())
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return 1.0
    if len(sizes) <= EXACT_ROWS:
        signs = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1
        return float(np.mean(np.abs((2 * signs - 1) @ sizes) >= observed))
    generator = np.random.Generator(np.random.PCG64(seed))
    as_far = 1
    for _ in range(DRAWS // 500):
        signs = generator.integers(0, 2, size=(500, len(sizes)), dtype=np.int8)
        as_far += int(np.sum(np.abs((2 * signs - 1) @ sizes) >= observed))
    return as_far / (DRAWS + 1)


def gain(value: float, baseline: float, *, higher_is_better: bool) -> float | None:
    """Return how much better `value` is than `baseline`, relative to it; None where the baseline is 0."""
    if not baseline:
        return None
    return (value - baseline) / abs(baseline) * (1 if higher_is_better else -1)


def delta_m(gains: Mapping[str, Sequence[float | None]]) -> list[float]:
    """Return the mean relative gain over all tasks, for each seed: Maninis et al., "Attentive Single-Tasking
    of Multiple Tasks", CVPR 2019, equation 4. Seeds that lack a task's gain are left out.

    `gains` are each task's, one for each seed.
    """
    rows = zip(*gains.values(), strict=True)
    known = ([value for value in row if value is not None] for row in rows)
    return [float(np.mean(values)) for values in known if len(values) == len(gains)]


HELPS, HURTS, UNKNOWN = "helps", "hurts", "cannot be told"


@frozen
class Verdict:
    """A difference in words: `word` is one of `HELPS`, `HURTS` and `UNKNOWN`, `text` says why not more.

    `seeds_needed` is None where the word is known, or where seeds alone would not tell.
    """

    word: str
    text: str
    seeds_needed: int | None = None


def verdict(
    seeds: int, difference: Paired | None, p_rows: float | None, *, higher_is_better: bool
) -> Verdict:
    """Return what may be said of a difference that is better with one sign: `HELPS` or `HURTS` where both
    chance of the seed and, where it was tested, chance of the rows are unlikely at `LEVEL`.

    Where the difference is the same with every seed, the rows alone decide.
    """
    told = f"{UNKNOWN} with {seeds} seed{'' if seeds == 1 else 's'}"
    if difference is None or difference.deviation is None:
        return Verdict(UNKNOWN, told)
    if not difference.mean and not difference.deviation:
        return Verdict(UNKNOWN, f"{told} (it makes no difference with any seed)")
    if difference.p is None and p_rows is None:
        return Verdict(UNKNOWN, f"{told} (it differs alike with each seed)")
    if difference.p is not None and difference.p >= LEVEL:
        needed = seeds_needed(difference.mean, difference.deviation)
        about = f"more than {MOST_SEEDS}" if needed is None else f"about {needed}"
        return Verdict(UNKNOWN, f"{told} ({about} would be needed)", needed)
    if p_rows is not None and p_rows >= LEVEL:
        return Verdict(UNKNOWN, f"{UNKNOWN} on these rows (the seeds agree; more rows would be needed)")
    word = HELPS if (difference.mean > 0) == higher_is_better else HURTS
    return Verdict(word, word)
