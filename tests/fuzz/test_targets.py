"""Any bytes give a result or an expected error: the targets of `fuzz`, a little of each.

`python fuzz/run.py TARGET` runs one for long.
"""

from __future__ import annotations

import random

import pytest
from folders import FOLDERS
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated
from predictions import PREDICTIONS
from sources import SOURCES
from targets import TARGETS, Target

from mtl import MtlError

ALL = TARGETS | FOLDERS | PREDICTIONS | SOURCES


def survives(target: Target, data: bytes) -> bool:
    """Whether `data` is taken; else it must be refused."""
    try:
        target.run(data)
    except MtlError as error:
        assert str(error)
        return False
    return True


@pytest.mark.parametrize("name", ALL)
def test_what_is_valid_is_taken(name: str) -> None:
    seeds = ALL[name].seeds()
    taken = sum(survives(ALL[name], data) for data in seeds)
    # Those of predictions give each task files of every kind.
    assert taken == len(seeds) or (name in PREDICTIONS and taken >= len(seeds) / 4)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60)
@given(data=st.binary())
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    survives(ALL[name], data)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=120)
@given(data=st.data())
def test_what_was_valid_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    target = ALL[name]
    seed = data.draw(st.sampled_from(target.seeds()))
    source = data.draw(st.randoms(use_true_random=False))
    survives(target, mutated(seed, source, prefix=target.prefix))


@pytest.mark.parametrize("name", ALL)
def test_mutations_are_taken_as_well_as_refused(name: str) -> None:
    """Else they would show little: all of them valid, or none beyond the first check."""
    target, source, refused = ALL[name], random.Random(0), 0
    seeds = target.seeds()
    for _ in range(200):
        try:
            target.run(mutated(source.choice(seeds), source, prefix=target.prefix))
        except MtlError:
            refused += 1
    least = 0 if name in ("saved_state", "text_lines") else 10
    assert least <= refused < 200
