"""Adapts JSON schemas to the structured outputs of Claude, at Anthropic and on Bedrock.

Source: Anthropic's documentation of structured outputs, section on limitations, and the rules its SDK applies. Objects
are closed, `oneOf` is `anyOf`, and constraints on numbers, lengths and most formats are unknown. A constraint that
cannot be enforced goes into the description, where the model still reads it; closing an object only narrows what was
allowed. An object whose properties the schema does not name could only be empty then: it cannot be closed. Pure.
"""

import json

from services.provider_worker.adapters.response.json_text import JsonObject, as_text

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_KEPT = frozenset({"type", "enum", "const", "$ref", "description", "title", "default"})
_UNIONS = ("anyOf", "oneOf", "allOf", "$ref", "enum", "const")
_MAX_DEPTH = 64


class OpenSchemaError(ValueError):
    """A schema with an object of any properties, of which nothing would be left."""


def structured_output_schema(schema: JsonObject, depth: int = 0) -> JsonObject:
    """Return `schema` in the dialect of structured outputs.

    Raises ValueError if it is nested too deeply, and OpenSchemaError.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("is nested too deeply")
    if _is_map(schema):
        raise OpenSchemaError("has an object whose properties it does not name, which Claude could only leave empty")
    adapted: JsonObject = {}
    unknown: JsonObject = {}
    for name, value in schema.items():
        _take(name, value, adapted, unknown, depth)
    if _is_object(adapted.get("type")) or "properties" in adapted:
        adapted["additionalProperties"] = False
    if unknown:
        constraints = json.dumps(unknown, ensure_ascii=False)
        adapted["description"] = f"{as_text(adapted.get('description'))}\n\nConstraints: {constraints}".strip()
    return adapted


def _is_map(schema: JsonObject) -> bool:
    """Return whether the values of an object have any names."""
    if not _is_object(schema.get("type")) or schema.get("properties") or any(name in schema for name in _UNIONS):
        return False
    if schema.get("additionalProperties") or schema.get("patternProperties"):
        return True
    return "properties" not in schema and schema.get("additionalProperties") is not False


def _is_object(kind: object) -> bool:
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _take(name: str, value: object, adapted: JsonObject, unknown: JsonObject, depth: int) -> None:
    if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
        adapted[name] = {key: _inner(inner, depth) for key, inner in value.items()}
    elif name in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
        adapted["anyOf" if name == "oneOf" else name] = [_inner(inner, depth) for inner in value]
    elif name == "items":
        adapted[name] = _inner(value, depth)
    elif name == "additionalProperties":
        if isinstance(value, dict):
            unknown[name] = value
    elif name in _KEPT or name == "required" or _is_known_constraint(name, value):
        adapted[name] = value
    elif not name.startswith("$"):
        unknown[name] = value


def _is_known_constraint(name: str, value: object) -> bool:
    return (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1))


def _inner(value: object, depth: int) -> object:
    return structured_output_schema(value, depth + 1) if isinstance(value, dict) else value


def close_strictly(schema: JsonObject, depth: int = 0) -> JsonObject | None:
    """Return `schema` with every object closed, or null if it says of one that it is open, or has a property optional.

    OpenAI's strict mode takes no other. Source: the OpenAI guide to structured outputs, "Supported schemas".
    """
    if depth > _MAX_DEPTH:
        return None
    closed: JsonObject = {}
    for name, value in schema.items():
        inner = _close_keyword(name, value, depth)
        if inner is None and value is not None:
            return None
        closed[name] = inner
    if _is_object(schema.get("type")) or "properties" in schema:
        properties, required = schema.get("properties"), schema.get("required")
        names = set(properties) if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") not in (None, False):
            return None
        if names and not (isinstance(required, list) and names <= {name for name in required if isinstance(name, str)}):
            return None
        closed["additionalProperties"] = False
    return closed


def _close_keyword(name: str, value: object, depth: int) -> object:
    """Return the keyword's value with its schemas closed; null if one of them cannot be."""
    if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
        members = {key: close_strictly(inner, depth + 1) for key, inner in value.items() if isinstance(inner, dict)}
        return None if None in members.values() else {**value, **members}
    if name in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
        branches = [close_strictly(inner, depth + 1) if isinstance(inner, dict) else inner for inner in value]
        return None if any(a is None for a, b in zip(branches, value, strict=True) if b is not None) else branches
    if name == "items" and isinstance(value, dict):
        return close_strictly(value, depth + 1)
    return value
