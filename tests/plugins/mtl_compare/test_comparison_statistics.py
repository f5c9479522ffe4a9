"""The statistics of a comparison beside scipy, plain enumeration and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from mtl_compare.statistics import (
    HELPS,
    HURTS,
    LEVEL,
    UNKNOWN,
    Summary,
    delta_m,
    gain,
    mcnemar,
    paired,
    seeds_needed,
    sign_flip,
    verdict,
)

NUMBERS = st.floats(-100, 100).map(lambda value: round(value, 3))
BITS = st.integers(0, 1)


def varied(values: list[float]) -> bool:
    return len(set(values)) > 1


# --- over seeds ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=6))
def test_the_paired_t_test_is_scipys(pairs: list[tuple[float, float]]) -> None:
    joint, alone = zip(*pairs, strict=True)
    differences = [a - b for a, b in pairs]
    assume(np.std(differences) > 1e-6)
    found, wanted = paired(differences), stats.ttest_rel(joint, alone)
    assert found is not None and found.interval is not None
    assert found.p == pytest.approx(wanted.pvalue, abs=1e-12)
    interval = wanted.confidence_interval(0.95)
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert found.deviation == pytest.approx(np.std(differences, ddof=1))
    assert (found.p_wilcoxon is None) == (len(pairs) < 6)


def test_below_six_seeds_wilcoxon_could_never_tell() -> None:
    smallest = [stats.wilcoxon(np.arange(1.0, seeds + 1)).pvalue for seeds in range(2, 7)]
    assert [p < LEVEL for p in smallest] == [False, False, False, False, True]


@given(st.lists(NUMBERS, min_size=2, max_size=5).filter(varied), st.sampled_from([-1.0, 0.01, 4.0]))
def test_a_scale_changes_no_probability(differences: list[float], scale: float) -> None:
    one, other = paired(differences), paired([scale * each for each in differences])
    assert one is not None and other is not None
    assert other.p == pytest.approx(one.p, abs=1e-9)
    assert other.mean == pytest.approx(scale * one.mean)


def test_without_chance_there_is_nothing_to_test() -> None:
    assert paired([]) is None
    for differences in ([0.5], [0.1, 0.1, 0.1], [0.0, 0.0], [0.1 + 0.2, 0.3]):
        found = paired(differences)
        assert found is not None
        assert found.p is None and found.interval is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_holds_the_truth_19_times_in_20(seeds: int) -> None:
    draws = np.random.default_rng(seeds).normal(0.3, 0.7, size=(2_000, seeds))
    inside = [found.interval[0] <= 0.3 <= found.interval[1] for found in map(paired, draws.tolist())]  # type: ignore[union-attr, index]
    assert 0.935 <= np.mean(inside) <= 0.965


@given(st.lists(NUMBERS, min_size=1, max_size=9))
def test_a_summary_is_numpys(values: list[float]) -> None:
    found = Summary.of(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)


def test_a_summary_of_nothing() -> None:
    assert Summary.of([]) == Summary((), None, None)


# --- how many seeds --------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10), (1.5, 6)])
def test_the_number_of_seeds_is_that_of_the_tables(effect: float, seeds: int) -> None:
    # Cohen, "Statistical Power Analysis for the Behavioral Sciences", paired t-test, 80 % at 5 %.
    assert seeds_needed(effect, 1.0) == seeds_needed(-3 * effect, 3.0) == seeds


def test_the_number_of_seeds_gives_the_power_that_it_promises() -> None:
    seeds = seeds_needed(0.9, 1.0)
    assert seeds is not None
    draws = np.random.default_rng(0).normal(0.9, 1.0, size=(4_000, seeds))
    found = np.mean(stats.ttest_1samp(draws, 0.0, axis=1).pvalue < LEVEL)
    fewer = np.mean(stats.ttest_1samp(draws[:, 1:], 0.0, axis=1).pvalue < LEVEL)
    assert fewer < 0.8 < found + 0.015


def test_seeds_at_the_edges() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.01, 1.0) is None
    assert seeds_needed(1e6, 1e-6) == 2


# --- over examples ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(BITS, BITS), max_size=9))
def test_mcnemar_counts_the_ways(pairs: list[tuple[int, int]]) -> None:
    differences = [a - b for a, b in pairs if a != b]
    observed = abs(sum(differences))
    ways = list(itertools.product([-1, 1], repeat=len(differences)))
    extreme = np.mean([abs(sum(way)) >= observed for way in ways])
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    assert mcnemar(left, right) == mcnemar(right, left) == pytest.approx(extreme)
    assert sign_flip([a - b for a, b in pairs]) == pytest.approx(extreme)


@given(st.lists(NUMBERS, min_size=1, max_size=7))
def test_few_signs_are_all_tried(differences: list[float]) -> None:
    sums = [
        abs(sum(sign * each for sign, each in zip(way, differences, strict=True)))
        for way in itertools.product([-1, 1], repeat=len(differences))
    ]
    assert sign_flip(differences) == pytest.approx(np.mean(np.array(sums) >= abs(sum(differences)) - 1e-9))


def test_many_signs_are_drawn_the_same_each_time() -> None:
    differences = np.random.default_rng(1).normal(0.1, 1, 300)
    found = sign_flip(differences)  # type: ignore[arg-type]
    assert found == sign_flip(differences)  # type: ignore[arg-type]
    assert found == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    assert sign_flip(differences + 1) < 0.001
    left = np.random.default_rng(2).integers(0, 2, 200)
    right = np.where(np.random.default_rng(3).random(200) < 0.3, 1, left)
    assert sign_flip((left - right).tolist()) == pytest.approx(mcnemar(left, right), abs=0.01)  # type: ignore[arg-type]


# --- gains and words -------------------------------------------------------------------------------


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_gain_has_the_sign_of_the_better(value: float, baseline: float) -> None:
    up, down = (gain(value, baseline, higher_is_better=better) for better in (True, False))
    assert up is not None and down is not None
    assert up == -down
    assert math.copysign(1, up) == math.copysign(1, value - baseline) or value == baseline
    assert gain(value, 0.0, higher_is_better=True) is None


def test_delta_m_is_the_mean_over_tasks() -> None:
    accuracy = gain(0.9, 0.8, higher_is_better=True)
    perplexity = gain(110.0, 100.0, higher_is_better=False)
    assert delta_m({"A": [accuracy], "B": [perplexity]}) == pytest.approx([(0.125 - 0.1) / 2])
    assert delta_m({"A": [0.1, None], "B": [0.3, 0.3]}) == pytest.approx([0.2])
    assert delta_m({}) == []


@pytest.mark.parametrize(
    ("differences", "p_rows", "word", "text"),
    [
        ([2.0, 2.2, 1.9], 0.01, HELPS, "helps"),
        ([2.0, 2.2, 1.9], None, HELPS, "helps"),
        ([-2.0, -2.2, -1.9], 0.01, HURTS, "hurts"),
        ([2.0, 2.2, 1.9], 0.4, UNKNOWN, "on these rows (the seeds agree; more rows would be needed)"),
        ([1.0, 3.0, -1.0], 0.01, UNKNOWN, "with 3 seeds (about 34 would be needed)"),
        ([1.0, -1.0, 0.001], 0.01, UNKNOWN, "with 3 seeds (more than 100 would be needed)"),
        ([1.0], 0.01, UNKNOWN, "with 1 seed"),
        ([0.0, 0.0], 1.0, UNKNOWN, "with 2 seeds (it makes no difference with any seed)"),
        ([0.5, 0.5], 0.1, UNKNOWN, "on these rows (the seeds agree; more rows would be needed)"),
        ([0.5, 0.5], None, UNKNOWN, "with 2 seeds (it differs alike with each seed)"),
        ([0.5, 0.5], 0.01, HELPS, "helps"),
        ([], None, UNKNOWN, "with 0 seeds"),
    ],
)
def test_the_verdict_in_words(differences: list[float], p_rows: float | None, word: str, text: str) -> None:
    found = verdict(len(differences), paired(differences), p_rows, higher_is_better=True)
    assert found.word == word
    assert found.text == (text if word != UNKNOWN else f"cannot be told {text}")
    assert (found.seeds_needed is None) == ("about" not in text)
    mirrored = verdict(len(differences), paired(differences), p_rows, higher_is_better=False)
    assert mirrored.word == {HELPS: HURTS, HURTS: HELPS, UNKNOWN: UNKNOWN}[word]
