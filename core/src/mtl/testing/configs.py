"""Rules for every component's config class. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mtl.components import (
    KINDS,
    Direction,
    FeaturesConfig,
    FeaturizerConfig,
    Metric,
    ModuleConfig,
    Output,
    PoolingConfig,
    RepresentationConfig,
    TaskConfig,
)
from mtl.config.dumping import json_form
from mtl.config.schema import json_schema
from mtl.errors import ConfigError
from mtl.fields import Field, FolderOrName, InputPath, InputPaths, fields_of
from mtl.testing.bench import Bench
from mtl.testing.checks import Failed, rule


def _own_fields(bench: Bench) -> Iterator[Field]:
    """Return the fields that the component itself adds to what its kind has."""
    cls = bench.provided.load_config()
    common = KINDS[bench.kind].common_keys
    return (each for each in fields_of(cls).values() if each.name not in common)


def _problem_paths(bench: Bench, settings: Mapping[str, Any], doing: str) -> list[str] | None:
    """Return the paths of the problems that settings have, None where they have none; an error of another
    kind is a failure."""
    try:
        bench.configured(settings)
    except ConfigError as error:
        return [problem.path for problem in error.problems]
    except Exception as error:
        raised = error.__cause__ or error
        raise Failed(
            f"{doing}, the config class raises {type(raised).__name__} ({raised}), not ValueError"
        ) from error
    return None


@rule("`mtl plugins show` and the JSON Schema show nothing else")
def is_documented(bench: Bench) -> None:
    """The spec has a summary, the config class a docstring, and each key a help text."""
    cls = bench.provided.load_config()
    missing = [] if bench.provided.spec.summary.strip() else ["the spec's `summary`"]
    if not (vars(cls).get("__doc__") or "").strip():
        missing.append(f"the docstring of {cls.__name__}")
    missing += [
        f"the help of `{field.name}`"
        for field in _own_fields(bench)
        if not field.help.strip() and field.item is not FeaturesConfig
    ]
    if missing:
        raise Failed(f"missing: {', '.join(missing)}")


@rule("the run's config.json would not describe a config that changes during the run")
def is_frozen(bench: Bench) -> None:
    """The config class is made with `mtl.configclass`, so that nothing changes it."""
    config = bench.config
    for name in fields_of(type(config)):
        try:
            setattr(config, name, getattr(config, name))
        except AttributeError:
            continue
        raise Failed(f"`{name}` of {type(config).__name__} can be set")


@rule("editors and `mtl config schema` offer what the schema says")
def has_a_schema(bench: Bench) -> None:
    """Every key and default can be expressed in JSON Schema."""
    definitions = json_schema(bench.plugins)["$defs"]
    json.dumps(definitions)
    if not any(name.startswith(f"{bench.kind}.") for name in definitions):
        return  # no config names a component of this kind
    found = definitions.get(f"{bench.kind}.{bench.provided.distribution}.{bench.provided.spec.name}")
    if not isinstance(found, dict) or "properties" not in found:
        raise Failed("the schema does not hold it, as its config class cannot be loaded")


@rule("users would be told of a mistake that is not theirs")
def defaults_are_valid(bench: Bench) -> None:
    """Every default has the type of its key and lies within its limits."""
    stated = {
        field.name: field.default_value()
        for field in _own_fields(bench)
        if field.item is None and not field.must_be_passed
    }
    for name, value in stated.items():
        try:
            bench.configured({**bench.settings, name: json_form(value, bench.folder)})
        except ConfigError as error:
            wrong = [problem for problem in error.problems if f".{name}" in problem.path]
            if wrong:
                raise Failed(f"the default of `{name}` is refused: {wrong[0].message}") from None


@rule("a run writes its config.json this way, and `--resume`, `mtl test` and `mtl predict` read it")
def survives_a_round_trip(bench: Bench) -> None:
    """The config, dumped with all defaults and read again, is equal."""
    [dumped] = json_form(bench.component, bench.folder).values()
    again = bench.configured(json.loads(json.dumps(dumped))).config
    if again != bench.config:
        changed = [
            name for name in fields_of(type(again)) if getattr(again, name) != getattr(bench.config, name)
        ]
        raise Failed(f"read back, it differs in {', '.join(changed) or 'identity: it defines no equality'}")


@rule("a misspelled key must be an error, not a default")
def refuses_misspelled_keys(bench: Bench) -> None:
    """A key that the config class does not have is refused, at its path."""
    for field in _own_fields(bench):
        misspelled = f"{field.name}_"
        settings = {key: value for key, value in bench.settings.items() if key != field.name}
        paths = _problem_paths(bench, {**settings, misspelled: 1}, f"with the key `{misspelled}`")
        if not paths or not any(path.endswith(misspelled) for path in paths):
            raise Failed(f"`{misspelled}` in place of `{field.name}` is not refused at its path")


@rule("a user must learn which key is missing before data is read")
def names_missing_keys(bench: Bench) -> None:
    """Without a required key, the config is refused at that key's path."""
    for field in _own_fields(bench):
        if field.item is not None or not field.must_be_passed:
            continue
        settings = {key: value for key, value in bench.settings.items() if key != field.name}
        paths = _problem_paths(bench, settings, f"without `{field.name}`")
        if not paths or not any(path.endswith(f".{field.name}") for path in paths):
            raise Failed(f"without `{field.name}` it is not refused at that path")


@rule("a wrong value must be a message with the key's place, never a traceback")
def refuses_wrong_values(bench: Bench) -> None:
    """A value of another type is refused at its path; a value at the edge of its range is accepted or
    refused with a ValueError."""
    for field in _own_fields(bench):
        for value in _wrong_values(field):
            settings = {**bench.settings, field.name: value}
            paths = _problem_paths(bench, settings, f"with `{field.name}` {json.dumps(value)}")
            if not paths or not any(f".{field.name}" in path for path in paths):
                raise Failed(f"`{field.name}` {json.dumps(value)} is not refused at its path")
        if _is_number(field):
            for edge in _edges(field):
                _problem_paths(bench, {**bench.settings, field.name: edge}, f"with `{field.name}` {edge}")


def _wrong_values(field: Field) -> list[Any]:
    if field.type.origin in (int, float, bool):
        return ["many", [1]]
    return [{"wrong": 1}] if field.type.origin in (str, FolderOrName, InputPath, InputPaths) else []


def _is_number(field: Field) -> bool:
    inner = field.type.members[-1] if field.type.members else field.type
    return inner.origin in (int, float)


def _edges(field: Field) -> list[Any]:
    """Return the smallest and the greatest value that a key takes, in the shape that it takes."""
    edges = [field.limits[name] for name in ("minimum", "maximum") if name in field.limits]
    if field.type.origin in (int, float):
        return edges or [0, -1]
    return [[], *([edge] for edge in edges)] if field.type.origin is list else []


@rule("slots and other tasks are checked against these declarations before data is read")
def declares_what_its_kind_asks(bench: Bench) -> None:
    """`output`, `direction`, `output_dim` and `metric`, if the kind has them, return the required types."""
    config = bench.config
    asked: dict[str, tuple[Any, type[Any]]] = {}
    if isinstance(config, RepresentationConfig):
        asked = {
            "output": (_read(config, "output"), Output),
            "direction": (_read(config, "direction"), Direction),
        }
    if isinstance(config, RepresentationConfig | PoolingConfig):
        asked |= {f"output_dim({width})": (_read(config, "output_dim", width), int) for width in (8, 12)}
    if isinstance(config, FeaturizerConfig):
        asked["output_dim"] = (_read(config, "output_dim"), int)
    if isinstance(config, TaskConfig):
        asked["metric"] = (_read(config, "metric"), Metric)
    for name, (value, wanted) in asked.items():
        if not isinstance(value, wanted) or (isinstance(value, int) and value < 1):
            must = "a width of at least 1" if wanted is int else f"a {wanted.__name__}"
            raise Failed(f"`{name}` must be {must}, but is {value!r}")


@rule("a run is loaded from its own config, which holds all values")
def resolves_once(bench: Bench) -> None:
    """`resolve` returns a resolved config unchanged."""
    if isinstance(bench.config, ModuleConfig) and bench.config.resolve() != bench.config:
        raise Failed("`resolve` changes a config that is resolved")


def _read(config: Any, name: str, *arguments: Any) -> Any:
    try:
        value = getattr(config, name)
        return value(*arguments) if arguments else value
    except NotImplementedError:
        raise Failed(f"{type(config).__name__} does not say its `{name}`") from None
    except Exception as error:
        raise Failed(f"`{name}` of {type(config).__name__} raises {type(error).__name__}: {error}") from error


RULES = (
    is_documented,
    is_frozen,
    has_a_schema,
    defaults_are_valid,
    survives_a_round_trip,
    refuses_misspelled_keys,
    names_missing_keys,
    refuses_wrong_values,
    declares_what_its_kind_asks,
    resolves_once,
)
