"""A JSON Schema of everything installed. It knows less than `load_config`: not what settings mean to
each other, nor what sharing adds, so it accepts every valid config and refuses most others."""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from attrs import Factory, define

from mtl.components import FeaturesConfig, ModuleConfig
from mtl.config.dumping import json_form
from mtl.config.run_config import RunConfig
from mtl.config.settings import Field, fields_of, split_default
from mtl.fields import REQUIRED, Component, InputPath, OutputPath
from mtl.plugins import Plugins, Provided

Schema = dict[str, Any]

_LIMITS = {
    "minimum": "minimum",
    "above": "exclusiveMinimum",
    "maximum": "maximum",
    "below": "exclusiveMaximum",
}
_TYPES: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    InputPath: {"type": "string", "minLength": 1},
    OutputPath: {"type": "string", "minLength": 1},
    Any: {},
}


def json_schema(plugins: Plugins) -> Schema:
    """The schema of a config, draft 2020-12; each component is a definition. A component that cannot
    be loaded is left out."""
    writer = _Writer(plugins)
    schema = writer.of_class(RunConfig)
    schema["properties"]["task"] = writer.slot("task", REQUIRED) | {
        "description": "A single task, in place of `tasks`."
    }
    schema.pop("required")
    schema["oneOf"] = [{"required": ["tasks"]}, {"required": ["task"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mtl config",
        **schema,
        "$defs": dict(sorted(writer.definitions.items())),
    }


@define
class _Writer:
    plugins: Plugins
    definitions: dict[str, Schema] = Factory(dict)

    def of_class(self, cls: type[Any]) -> Schema:
        """An object with the fields of a config class. What a module requires may come from another
        sharer, so only other classes insist on it."""
        fields = list(fields_of(cls).values())
        if cls is FeaturesConfig:  # its featurizers are keys of their own
            fields = [field for field in fields if field.item is None]
        required = [field.name for field in fields if _is_required(field)]
        schema: Schema = {
            "type": "object",
            "description": inspect.getdoc(cls) or "",
            "properties": {field.name: self.of_field(cls, field) for field in fields},
            "additionalProperties": False,
        }
        if required and not issubclass(cls, ModuleConfig):
            schema["required"] = required
        return schema

    def of_field(self, cls: type[Any], field: Field) -> Schema:
        """One key: its type, range, default and help."""
        attribute = field.attribute
        metadata = attribute.metadata
        if field.slot is not None:
            schema = self._of_slot(field)
        elif field.item is FeaturesConfig:
            schema = self._of_features(cls)
        elif field.item is not None:
            schema = _several(field, self.of_class(field.item))
        else:
            schema = _of_hint(field.hint, metadata.get("limits", {}))
            if attribute.default is not REQUIRED:
                schema["default"] = json_form(_default(attribute.default), Path())
        if field.optional:
            default = {key: schema.pop(key) for key in ["default"] if key in schema}
            schema = {"anyOf": [schema, {"type": "null"}], **default}
        return {"description": metadata.get("help", ""), **schema}

    def _of_slot(self, field: Field) -> Schema:
        default = field.attribute.metadata["default"]
        if isinstance(default, list):
            items = self.slot(field.slot or "", REQUIRED)
            return {"type": "array", "items": items, "minItems": 1, "default": default}
        schema = _several(field, self.slot(field.slot or "", default))
        if field.many is dict and default is REQUIRED:
            schema["minProperties"] = 1
        return schema

    def slot(self, kind: str, default: Any) -> Schema:
        """The three forms: `{"Name": {...}}`, `"Name"`, and the bare settings of the default."""
        found = self._references(kind)
        forms: list[Schema] = [
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "patternProperties": {_name_pattern(name): reference for name, reference in found.items()},
                "additionalProperties": False,
            },
            {"type": "string", "pattern": _name_pattern(*found)},
        ]
        name, _ = split_default(default)
        reference = found.get((name or "").rpartition(":")[2])
        if reference:
            forms.append(reference)
        schema: Schema = {"anyOf": forms}
        return schema if default in (REQUIRED, None) else {**schema, "default": default}

    def _references(self, kind: str) -> dict[str, Schema]:
        """What can be named of a kind."""
        found = {name: self._define(kind, each) for name, each in self.plugins.available(kind).items()}
        return {name: reference for name, reference in found.items() if reference}

    def _define(self, kind: str, provided: Iterable[Provided]) -> Schema | None:
        """A reference to the definition of a component; of each where several plugins provide it."""
        references = []
        for each in provided:
            name = f"{kind}.{each.distribution}.{each.spec.name}"
            if name not in self.definitions:
                self.definitions[name] = {}  # slots may hold components of their own kind
                try:
                    self.definitions[name] = self._of_component(each)
                    json.dumps(self.definitions[name])
                except Exception:  # one plugin's mistake takes nobody's schema away
                    self.definitions[name] = {"not": {}}
            if self.definitions[name] != {"not": {}}:
                references.append({"$ref": f"#/$defs/{name}"})
        if not references:
            return None
        return references[0] if len(references) == 1 else {"anyOf": references}

    def _of_component(self, provided: Provided) -> Schema:
        schema = self.of_class(provided.load_config())
        return {"title": provided.spec.name, **schema, "$comment": str(provided)}

    def _of_features(self, cls: type[Any]) -> Schema:
        schema = self.of_class(FeaturesConfig)
        found = self._references("featurizer")
        schema["patternProperties"] = {_name_pattern(name): reference for name, reference in found.items()}
        if not getattr(cls, "default_features", ()):
            schema["minProperties"] = 1
        return schema


def _several(field: Field, schema: Schema) -> Schema:
    if field.many is list:
        return {"type": "array", "items": schema}
    return {"type": "object", "additionalProperties": schema} if field.many is dict else schema


def _of_hint(hint: Any, limits: Mapping[str, float]) -> Schema:
    """A type hint; the limits go to the numbers in it, at any depth."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return {"enum": list(inner)}
    if isinstance(hint, enum.EnumMeta):
        members: list[enum.Enum] = list(hint)
        return {"enum": [each.value for each in members]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of_hint(each, limits) for each in inner]}
    if origin is list:
        return {"type": "array", "items": _of_hint(inner[0], limits) if inner else {}}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_hint(inner[1], limits) if inner else {}}
    schema = dict(_TYPES[origin])
    if origin in (int, float):
        schema |= {_LIMITS[name]: limit for name, limit in limits.items()}
    return schema


def _name_pattern(*names: str) -> str:
    """`Name` or `distribution:Name`."""
    return f"^([^:]+:)?({'|'.join(map(re.escape, names))})$"


def _is_required(field: Field) -> bool:
    """Whether the JSON must have the key."""
    if field.attribute.default is not REQUIRED or field.item is FeaturesConfig:
        return False
    if field.slot is not None:
        return field.attribute.metadata["default"] is REQUIRED and field.many is not list
    return field.item is None or field.item is Component or field.many is not None


def _default(default: Any) -> Any:
    is_factory = isinstance(default, type(Factory(list)))
    return default.factory() if is_factory else default
