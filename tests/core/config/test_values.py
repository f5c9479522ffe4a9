"""Each type hint takes its own kind of value and no other."""

from __future__ import annotations

import enum
import math
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.config.values import Converter, Mistake, expected
from mtl.fields import InputPath, OutputPath, read_hint

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["a", "b", "1", "true", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=4,
)
CONVERTER = Converter(Path("/base"), check_paths=False)


def convert(value: Any, hint: Any, **limits: float) -> tuple[Any, list[Mistake]]:
    return CONVERTER.convert(value, read_hint(hint), limits)


class Number(enum.IntEnum):
    ONE = 1


class Letter(enum.StrEnum):
    A = "a"


def fits(value: Any, hint: Any) -> bool:
    """The rule, said a second time and plainly."""
    match hint:
        case "int":
            return type(value) is int
        case "float":
            return type(value) in (int, float) and math.isfinite(value)
        case "bool":
            return type(value) is bool
        case "str":
            return type(value) is str
        case "null":
            return value is None
        case "path":
            return type(value) is str and value != ""
        case ("list", inner):
            return type(value) is list and all(fits(each, inner) for each in value)
        case ("dict", inner):
            return type(value) is dict and all(fits(each, inner) for each in value.values())
        case ("either", *options):
            return any(fits(value, each) for each in options)
        case ("one of", *options):
            return any(type(value) is type(each) and value == each for each in options)
    raise AssertionError(hint)


RULES: list[tuple[Any, Any]] = [
    (int, "int"),
    (float, "float"),
    (bool, "bool"),
    (str, "str"),
    (OutputPath, "path"),
    (int | None, ("either", "int", "null")),
    (InputPath | None, ("either", "path", "null")),
    (str | int, ("either", "str", "int")),
    (list[int], ("list", "int")),
    (list[list[bool]], ("list", ("list", "bool"))),
    (dict[str, float], ("dict", "float")),
    (dict[str, list[str] | None], ("dict", ("either", ("list", "str"), "null"))),
    (Literal["a", 1], ("one of", "a", 1)),
    (Literal[True], ("one of", True)),
    (Number, ("one of", 1)),
    (Letter, ("one of", "a")),
]


@pytest.mark.parametrize(("hint", "rule"), RULES, ids=[str(hint) for hint, _ in RULES])
@given(value=json_values)
def test_c4_a_hint_takes_exactly_its_kind_of_value(hint: Any, rule: Any, value: Any) -> None:
    converted, mistakes = convert(value, hint)
    assert (not mistakes) == fits(value, rule)
    if hint in (int, bool, str, list[int], Literal["a", 1]) and not mistakes:
        assert converted == value
        assert type(converted) is type(value)
    for mistake in mistakes:
        assert mistake.message.startswith("must be ")


def test_what_is_meant_is_hinted_at() -> None:
    for value, hint, said in [
        ("12", int, "write 12 without quotes"),
        ("1.5", float, "write 1.5 without quotes"),
        (3.0, int, "write 3"),
        (3, str, 'write "3"'),
        ("False", bool, "write false"),
        ("fp61", Literal["fp16", "bf16"], "did you mean `fp16`?"),
        ("x", int, ""),
    ]:
        [mistake] = convert(value, hint)[1]
        assert mistake.hint == said


@given(st.lists(st.integers(-5, 5)), st.integers(-5, 5))
def test_ranges_hold_for_every_number_in_a_value(values: list[int], minimum: int) -> None:
    _, mistakes = convert(values, list[int], minimum=minimum)
    assert [mistake.path for mistake in mistakes] == [
        (i,) for i, value in enumerate(values) if value < minimum
    ]


def test_paths_start_at_the_base_folder() -> None:
    assert convert("a/b", InputPath)[0] == Path("/base/a/b")
    assert convert("/a", OutputPath | None)[0] == Path("/a")
    assert expected(read_hint(InputPath | None)) == "the path of a file or null"


@pytest.mark.parametrize(
    "hint", [complex, set[int], tuple[int, ...], dict[int, str], bytes, list[set[int]], Path]
)
def test_other_hints_are_not_supported(hint: Any) -> None:
    with pytest.raises(TypeError):
        read_hint(hint)
