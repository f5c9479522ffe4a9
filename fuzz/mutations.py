"""Mutations of valid inputs: accidental damage, and what an attacker would try."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

from attrs import frozen

TOKENS = [
    *rb"""{ } [ ] , : = . - ' " \ / NaN Infinity 1e999 null true 0 -1 18446744073709551616""".split(),
    *rb"""text sentence label __PAD__ <unk> ../../x "\ud800" \u0000""".split(),
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\t", b"\t\t", b"\r\n", b"\r", b"\n\n", b"\x1b[31m"),
    *(b"[" * 5000, b"a." * 2000, b"9" * 500, "\u2028\u00a0\u0130ß\U0001f600".encode()),
]
NUMBERS = [0, -1, 1, 2**31, 2**63, 10**400, 1e308, -0.5, float("nan"), float("inf")]
STRINGS = [
    "",
    "0",
    "x" * 5000,
    "\ud800",
    "\0",
    "../../x",
    "\x1b[31m",
    "__PAD__",
    "BiLSTM",
    "LMTask",
    "\u0130",
]
HOLDERS = [[], {}, [[]], [None], ["a", "a"], {"": {}}, {"a": {"a": {}}}, {"Adam": {}}, {"LMTask": {}}]
VALUES: list[Any] = [None, True, False, *NUMBERS, *STRINGS, *HOLDERS]

Mutation = Callable[[bytes, random.Random], bytes]


def mutated(data: bytes, source: random.Random, *, prefix: int = 0) -> bytes:
    """Return `data` with a few mutations; its first `prefix` bytes, which choose what is done, change
    now and then."""
    head, data = data[:prefix], data[prefix:]
    for _ in range(source.choice([1, 1, 1, 2, 4])):
        changed = _in_json(data, source) if source.random() < 0.4 else None
        data = source.choice(MUTATIONS)(data, source) if changed is None else changed
    if source.random() < 0.1:
        head = source.randbytes(prefix)
    return head + data


# --- bytes and lines --------------------------------------------------------------------------------


def _span(data: bytes, source: random.Random) -> tuple[int, int]:
    start = source.randrange(len(data) + 1)
    return start, min(len(data), start + source.choice([1, 2, 8, 64, 1024]))


def _flip(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(max(len(data), 1))
    return data[:at] + bytes([(data[at] if data else 0) ^ (1 << source.randrange(8))]) + data[at + 1 :]


def _insert(data: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(data) + 1)
    return data[:at] + source.choice(TOKENS) + data[at:]


def _overwrite(data: bytes, source: random.Random) -> bytes:
    start, end = _span(data, source)
    return data[:start] + source.choice(TOKENS) + data[end:]


def _delete(data: bytes, source: random.Random) -> bytes:
    start, end = _span(data, source)
    return data[:start] + data[end:]


def _cut(data: bytes, source: random.Random) -> bytes:
    return data[: source.randrange(len(data) + 1)]


def _repeat(data: bytes, source: random.Random) -> bytes:
    start, end = _span(data, source)
    return data[:end] + data[start:end] * source.choice([1, 3, 50]) + data[end:]


def _duplicate_line(data: bytes, source: random.Random) -> bytes:
    lines = data.split(b"\n")
    lines.insert(source.randrange(len(lines) + 1), source.choice(lines))
    return b"\n".join(lines)


def _swap_lines(data: bytes, source: random.Random) -> bytes:
    lines = data.split(b"\n")
    first, second = (source.randrange(len(lines)) for _ in range(2))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def _drop_line(data: bytes, source: random.Random) -> bytes:
    lines = data.split(b"\n")
    del lines[source.randrange(len(lines))]
    return b"\n".join(lines)


MUTATIONS: list[Mutation] = [
    _flip,
    _insert,
    _overwrite,
    _delete,
    _cut,
    _repeat,
    _duplicate_line,
    _swap_lines,
    _drop_line,
]


# --- JSON, and the header of safetensors -------------------------------------------------------------


@frozen
class _Framed:
    """A JSON value within bytes, and how to write it back."""

    value: Any
    back: Callable[[bytes], bytes]


def _framed(data: bytes) -> _Framed | None:
    if data[:1] in (b"{", b"["):
        start, end, pack = 0, len(data), False
    elif data[8:9] == b"{" and (size := struct.unpack("<Q", data[:8])[0]) <= len(data) - 8:
        start, end, pack = 8, 8 + size, True
    else:
        return None
    try:
        value = json.loads(data[start:end])
    except (ValueError, RecursionError):
        return None
    return _Framed(value, lambda new: (struct.pack("<Q", len(new)) if pack else b"") + new + data[end:])


def _in_json(data: bytes, source: random.Random) -> bytes | None:
    """Return the data with one value in its JSON replaced, moved, renamed or removed; None where it has
    none."""
    framed = _framed(data)
    if framed is None:
        return None
    holders = list(_holders(framed.value))
    if not holders:
        return None
    holder, key = source.choice(holders)
    match source.randrange(5):
        case 0 if isinstance(holder, dict):
            holder[source.choice([f"{key}x", "", "a.b", "\ud800", key[:-1]])] = holder.pop(key)
        case 1:
            del holder[key]
        case 2:
            other, name = source.choice(holders)
            holder[key] = copy.deepcopy(other[name])
        case 3 if type(holder[key]) in (int, float):
            holder[key] = source.choice([-holder[key], holder[key] + 1, holder[key] * 1000, str(holder[key])])
        case _:
            holder[key] = copy.deepcopy(source.choice(VALUES))
    return framed.back(json.dumps(framed.value).encode())


def _holders(value: Any) -> Any:
    """Yield every object and list within a value, with each of its keys."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(each, dict | list):
            yield from _holders(each)
