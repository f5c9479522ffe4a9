"""Tags that mark spans: BIO and BIOES, and tags that continue no span."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Scheme = str


def invalid_tags(tags: Sequence[str], scheme: Scheme) -> Iterator[tuple[int, str]]:
    """Yield the position of each tag that is not allowed where it stands, and why."""
    before = "O"
    for position, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if tag != "O" and (mark not in scheme.replace("O", "") or not kind):
            yield position, f"must be O or a mark of {scheme} with a type, as in B-PER"
            before = "O"
            continue
        if mark in ("I", "E") and not _continues(before, kind):
            yield position, f"continues no {kind} span: the tag before it is {before}"
        if mark in ("O", "B", "S") and scheme == "BIOES" and before[:2] in ("B-", "I-"):
            yield position, f"follows {before}, whose span has no end"
        before = tag
    if scheme == "BIOES" and before[:2] in ("B-", "I-"):
        yield len(tags) - 1, "must end its span, as the row ends here"


def _continues(before: str, kind: str) -> bool:
    return before in (f"B-{kind}", f"I-{kind}")


def repaired(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Return tags in which every span is whole: a tag that continues no span begins one, as in conlleval.

    The spans are found as in BIO, where I-X after anything but B-X or I-X begins a span, and written in
    `scheme`. A tag that is not of the form MARK-TYPE is returned as it is.
    """
    result = list(tags)
    for start, stop, kind in spans(tags):
        if scheme == "BIO":
            marks = ["B", *["I"] * (stop - start - 1)]
        else:
            marks = ["S"] if stop - start == 1 else ["B", *["I"] * (stop - start - 2), "E"]
        result[start:stop] = [f"{mark}-{kind}" for mark in marks]
    return result


def spans(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, stop and type of each span of BIO or BIOES tags, read leniently."""
    start, current = 0, ""
    for position, tag in enumerate([*tags, "O"]):
        mark, _, kind = tag.partition("-")
        begins = mark in ("B", "S") or (mark in ("I", "E") and kind != current)
        if current and (begins or mark not in ("I", "E")):
            yield start, position, current
            current = ""
        if kind and begins:
            start, current = position, kind
        if current and mark in ("E", "S"):
            yield start, position + 1, current
            current = ""
