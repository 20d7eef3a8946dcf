"""The JSON Schema of a configuration file, for editors.

msgspec makes the schema of leaves; structs are walked here, because msgspec cannot write the defaults of Duration and Size.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from gw.config.convert import shape_of
from gw.config.model import Config, plain
from gw.config.units import Duration

DRAFT = "https://json-schema.org/draft/2020-12/schema"

# What stands for a number until variables are filled in.
_VARIABLE = {"type": "string", "pattern": r"\$\{[^}]*\}"}


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    definitions: dict[str, Any] = {}
    root = _schema(Config, definitions)
    definitions["Route"]["allOf"] = [
        {"oneOf": [{"required": [name]} for name in ("service", "redirect", "respond")]},
        {"not": {"anyOf": [{"required": pair} for pair in (["path", "exact"], ["path", "regex"], ["exact", "regex"])]}},
    ]
    return {"$schema": DRAFT, "title": "Configuration of gw", **root, "$defs": definitions}


def schema_of(kind: type[Struct], title: str) -> dict[str, Any]:
    """The same of another file than a config."""
    return {"$schema": DRAFT, "title": title, **settings_schema(kind)}


def settings_schema(kind: type[Struct]) -> dict[str, Any]:
    """JSON Schema of one struct, such as the Config of a policy."""
    definitions: dict[str, Any] = {}
    return {**_schema(kind, definitions), "$defs": definitions}


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    base, described = _parts(hint)
    arguments = [each for each in get_args(base) if each is not NoneType]
    if isinstance(base, type) and issubclass(base, Struct):
        if base.__name__ not in definitions:
            definitions[base.__name__] = {}
            definitions[base.__name__] = _struct(base, definitions)
        return {"$ref": f"#/$defs/{base.__name__}", **described}
    if get_origin(base) is list:
        return {"type": "array", "items": _schema(arguments[0], definitions), **described}
    if get_origin(base) is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions), **described}
    if any(shape_of(each) for each in arguments):
        null = [{"type": "null"}] if len(arguments) < len(get_args(base)) else []
        return {"anyOf": [*(_schema(each, definitions) for each in arguments), *null], **described}
    return _leaf(hint)


def _parts(hint: Any) -> tuple[Any, dict[str, Any]]:
    """The bare type, and what msgspec says about the annotation: description, bounds of length."""
    if get_origin(hint) is not Annotated:
        return hint, {}
    described: dict[str, Any] = {}
    for meta in get_args(hint)[1:]:
        if isinstance(meta, Meta):
            described |= {"description": meta.description} if meta.description else {}
            described |= {"minItems": meta.min_length} if meta.min_length else {}
    return get_args(hint)[0], described


def _struct(kind: type[Struct], definitions: dict[str, Any]) -> dict[str, Any]:
    fields = msgspec.structs.fields(kind)
    properties = {field.encode_name: _schema(field.type, definitions) | _default(field) for field in fields}
    required = [field.encode_name for field in fields if field.required]
    described = {"description": kind.__doc__} if kind.__doc__ else {}
    return {"type": "object", **described, "properties": properties, "additionalProperties": False} | ({"required": required} if required else {})


def _default(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    value = field.default if field.default is not NODEFAULT else NODEFAULT if field.required else field.default_factory()
    return {} if value is NODEFAULT else {"default": msgspec.to_builtins(value, enc_hook=plain)}


def _leaf(hint: Any) -> dict[str, Any]:
    made = msgspec.json.schema(hint, schema_hook=_unit)
    if made.get("type") not in ("integer", "number", "boolean"):
        return made
    outside: dict[str, Any] = {key: made.pop(key) for key in ("description", "title") if key in made}
    return {**outside, "anyOf": [made, _VARIABLE]}


def _unit(unit: type) -> dict[str, Any]:
    number, suffixes = ("number", "us|ms|s|m|h|d") if unit is Duration else ("integer", "B|KB|MB|GB|KiB|MiB|GiB")
    return {"anyOf": [{"type": number, "minimum": 0}, {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)? ?({suffixes})?$"}, _VARIABLE]}
