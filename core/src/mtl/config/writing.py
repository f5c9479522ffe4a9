"""Configs as text: new ones, and changed ones with their comments."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mtl.config import source as documents
from mtl.config.json_path import JSONPath, render_path
from mtl.config.source import Format
from mtl.errors import ConfigError, UsageError


def written(value: Mapping[str, Any], format: Format) -> str:
    """Return a config as text. Raises `UsageError` for a null in TOML, which does not have it."""
    if format is Format.YAML:
        return _yaml_text(_yaml(), value)
    if format is Format.TOML:
        import tomlkit

        _refuse_null(value, ())
        return tomlkit.dumps(value)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def rewritten(text: str, format: Format, value: Mapping[str, Any]) -> tuple[str, str]:
    """Return a YAML or TOML text with another value, and what was lost: nothing, or its comments."""
    before = documents.parse(text, format=format).value
    if _same(before, value):
        return text, ""
    changed = _changed_yaml if format is Format.YAML else _changed_toml
    try:
        result = changed(text, before, value)
        if _same(documents.parse(result, format=format).value, value):
            return result, ""
    except (ConfigError, ValueError, LookupError, TypeError, AttributeError):
        pass  # what the editing libraries cannot change in place is written anew
    return written(value, format), "the comments could not be kept"


def _same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal, with 1, 1.0 and true told apart."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _refuse_null(value: Any, path: JSONPath) -> None:
    if value is None:
        raise UsageError(
            f"`{render_path(path)}` is null, which TOML does not have; write JSON or YAML, or leave it out"
        )
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, each in inside:
        _refuse_null(each, (*path, key))


def _renamed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """Return the new key of each removed one that another has taken the place of."""
    gone = [key for key in before if key not in after]
    new = [key for key in after if key not in before]
    order = [key for key in after if key in before or key in new]
    pairs: dict[str, str] = {}
    for key in gone:
        earlier = [each for each in list(before)[: list(before).index(key)] if each in after]
        place = order.index(earlier[-1]) + 1 if earlier else 0
        while place < len(order) and order[place] in pairs.values():
            place += 1
        if place < len(order) and order[place] in new:
            pairs[key] = order[place]
    return pairs


# --- YAML -----------------------------------------------------------------------------------------------


def _yaml(mapping: int = 2, sequence: int = 2, offset: int = 0) -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(pure=True)
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _yaml_text(yaml: Any, value: Any) -> str:
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _changed_yaml(text: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    mapping = re.search(r"^[^\s#-][^\n]*:[^\n]*\n(?:\s*(?:#[^\n]*)?\n)*( +)[^\s#-]", text, re.MULTILINE)
    dash = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*\n\1( *)(- +)", text, re.MULTILINE)
    offset = len(dash[2]) if dash else 0
    yaml = _yaml(len(mapping[1]) if mapping else 2, offset + (len(dash[3]) if dash else 2), offset)
    root = yaml.load(text)
    _change_yaml(root, before, after)
    return _yaml_text(yaml, root)


def _change_yaml(node: Any, before: Any, after: Any) -> None:
    """Change a mapping or list in place."""
    if isinstance(before, list):
        for index, each in enumerate(after):
            if not _change_inside(node[index], before[index], each):
                node[index] = each
        return
    for old, new in _renamed(before, after).items():
        position = list(node).index(old)
        comment = node.ca.items.pop(old, None)
        value = node.pop(old)
        node.insert(position, new, value)
        if comment is not None:
            node.ca.items[new] = comment
        before = {new if key == old else key: each for key, each in before.items()}
    for key in [key for key in before if key not in after]:
        del node[key]
    for position, (key, each) in enumerate(after.items()):
        if key not in before:
            node.insert(position, key, each)
        elif not _change_inside(node[key], before[key], each):
            node[key] = each


def _change_inside(node: Any, before: Any, after: Any) -> bool:
    """Change a node in place; False if another must take its place."""
    if _same(before, after):
        return True
    both_objects = isinstance(before, dict) and isinstance(after, dict)
    both_lists = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    if both_objects or both_lists:
        _change_yaml(node, before, after)
    return both_objects or both_lists


# --- TOML -----------------------------------------------------------------------------------------------


def _changed_toml(text: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    import tomlkit

    _refuse_null(after, ())
    root = tomlkit.parse(text)
    return tomlkit.dumps(_toml_table(root, before, after, tomlkit.document()))


def _toml_table(node: Any, before: Mapping[str, Any], after: Mapping[str, Any], made: Any) -> Any:
    """Return `made`, filled with a changed table's items and comments in their order."""
    import tomlkit

    body = node.body if hasattr(node, "body") else node.value.body
    renamed = _renamed(before, after)
    for key, item in body:
        if key is None:
            made.add(item)
            continue
        old = key.key
        new = renamed.get(old, old)
        if new not in after:
            continue
        if _same(before[old], after[new]):
            made.add(key if new == old else new, item)
        elif isinstance(before[old], dict) and isinstance(after[new], dict):
            inner = tomlkit.inline_table() if isinstance(item, tomlkit.items.InlineTable) else tomlkit.table()
            _copy_comment(item, inner)
            made.add(new, _toml_table(item, before[old], after[new], inner))
        else:
            value = tomlkit.item(after[new])
            _copy_comment(item, value)
            made.add(new, value)
    for key, each in after.items():
        if key not in before and key not in renamed.values():
            made.add(key, each)
    return made


def _copy_comment(item: Any, to: Any) -> None:
    to.trivia.indent, to.trivia.trail = item.trivia.indent, item.trivia.trail
    to.trivia.comment_ws, to.trivia.comment = item.trivia.comment_ws, item.trivia.comment
