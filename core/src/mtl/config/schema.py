"""A JSON Schema of everything installed.

It does not cover relations between settings, or what sharing adds: it accepts every valid config and refuses
most others.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

from attrs import Factory, define

from mtl.components import FeaturesConfig, ModuleConfig
from mtl.config.run_config import RunConfig
from mtl.fields import (
    LIMITS,
    REQUIRED,
    Field,
    FolderOrName,
    InputPath,
    InputPaths,
    OutputPath,
    Type,
    fields_of,
)
from mtl.plugins import Plugins, Provided

Schema = dict[str, Any]

_TYPES: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    FolderOrName: {"type": "string", "minLength": 1},
    InputPath: {"type": "string", "minLength": 1},
    InputPaths: {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        ]
    },
    OutputPath: {"type": "string", "minLength": 1},
    Any: {},
}


def json_schema(plugins: Plugins) -> Schema:
    """Return the schema of a config, draft 2020-12; each component is a definition.

    A component that cannot be loaded is omitted.
    """
    writer = _Writer(plugins)
    schema = writer.of_class(RunConfig)
    schema["properties"]["task"] = writer.slot("task") | {"description": "A single task, instead of `tasks`."}
    schema["properties"]["$schema"] = {"type": "string", "description": "The address of this schema."}
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
        """Return an object with the fields of a config class.

        Modules require none: a required setting may come from another sharer.
        """
        fields = [field for field in fields_of(cls).values() if not field.inline]
        required = [field.name for field in fields if field.required]
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
        """Return the schema of one key: its type, range, default and help."""
        if field.slot is not None:
            schema = self._of_slot(field)
        elif field.item is FeaturesConfig:
            schema = self._of_features(cls)
        elif field.item is not None:
            schema = _several(field, self.of_class(field.item))
        else:
            schema = _of_type(field.type, field.limits)
            if field.default is not REQUIRED:
                schema["default"] = field.default
        if field.optional:
            default = {key: schema.pop(key) for key in ["default"] if key in schema}
            schema = {"anyOf": [schema, {"type": "null"}], **default}
        return {"description": field.help, **schema}

    def _of_slot(self, field: Field) -> Schema:
        kind = field.slot or ""
        if isinstance(field.default, list):
            least = {"minItems": 1, "default": field.default} if field.default else {}
            return {"type": "array", "items": self.slot(kind), **least}
        schema = _several(field, self.slot(kind, field.default, field.slot_default[0]))
        if field.many is dict and field.required:
            schema["minProperties"] = 1
        return schema

    def slot(self, kind: str, default: Any = REQUIRED, name: str | None = None) -> Schema:
        """Return the three forms: `{"Name": {...}}`, `"Name"`, and the bare settings of the default."""
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
        reference = found.get((name or "").rpartition(":")[2])
        if reference:
            forms.append(reference)
        schema: Schema = {"anyOf": forms}
        return schema if default in (REQUIRED, None) else {**schema, "default": default}

    def _references(self, kind: str) -> dict[str, Schema]:
        """Return references to the components of a kind by name."""
        found = {name: self._define(kind, each) for name, each in self.plugins.available(kind).items()}
        return {name: reference for name, reference in found.items() if reference}

    def _define(self, kind: str, provided: Iterable[Provided]) -> Schema | None:
        """Return a reference to a component's definition, or to all if several plugins provide it."""
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


def _of_type(wanted: Type, limits: Mapping[str, float]) -> Schema:
    """Return the schema of a type; the limits apply to the numbers in it, at any depth."""
    inner = [_of_type(each, limits) for each in wanted.members]
    if wanted.origin is Literal:
        return {"enum": [each for each, _ in wanted.choices]}
    if wanted.origin is Union:
        return {"anyOf": inner}
    if wanted.origin is list:
        return {"type": "array", "items": inner[0]}
    if wanted.origin is dict:
        return {"type": "object", "additionalProperties": inner[0]}
    schema = dict(_TYPES[wanted.origin])
    if wanted.origin in (int, float):
        schema |= {LIMITS[name].keyword: limit for name, limit in limits.items()}
    return schema


def _name_pattern(*names: str) -> str:
    """Return a pattern of `Name` or `distribution:Name`."""
    return f"^([^:]+:)?({'|'.join(map(re.escape, names))})$"
