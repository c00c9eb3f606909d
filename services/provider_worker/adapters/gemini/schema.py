"""Translates JSON Schema to Google's `Schema`, the subset of OpenAPI 3.0 that models before Gemini 2.5 take.

Source: the Gemini API reference, `Schema`. References are replaced by their definitions, a nullable type becomes
`nullable`, a constant an enumeration of one. What the subset cannot express is rejected, not dropped.
"""

import json

from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.gemini.unsupported import bad_field
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_KEPT = frozenset(
    {
        "title", "description", "format", "default", "example", "enum", "required", "minimum", "maximum", "minItems",
        "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "pattern", "nullable",
    }
)  # fmt: skip
_IGNORED = frozenset({"$schema", "$id", "$defs", "definitions", "$comment", "examples", "additionalProperties", "type"})
"""Keywords without effect on a valid value, and those that are handled elsewhere. Google's subset always closes objects."""
_MAX_DEPTH = 32


def fill_enumerations(schema: JsonObject, depth: int = 0) -> JsonObject:
    """Return `schema` without empty texts in enumerations, which Google rejects ("enum[0]: cannot be empty").

    The description says that the value may be empty.
    """
    if depth > _MAX_DEPTH:
        return schema
    filled: JsonObject = {}
    for name, value in schema.items():
        if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
            filled[name] = {key: _fill_inner(inner, depth) for key, inner in value.items()}
        elif name in ("items", "additionalProperties"):
            filled[name] = _fill_inner(value, depth)
        elif name in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            filled[name] = [_fill_inner(inner, depth) for inner in value]
        else:
            filled[name] = value
    values = schema.get("enum")
    if isinstance(values, list) and "" in values:
        kept = [value for value in values if value != ""]
        filled["enum"] = kept
        if not kept:
            del filled["enum"]
        filled["description"] = f"{as_text(schema.get('description'))} May be empty.".strip()
    return filled


def _fill_inner(value: object, depth: int) -> object:
    return fill_enumerations(value, depth + 1) if isinstance(value, dict) else value


def openapi_schema(schema: JsonObject, param: str) -> JsonObject:
    """Return `schema` in Google's subset. Raises RefusedByAdapter if the subset cannot express it."""
    definitions = as_object(schema.get("$defs")) or as_object(schema.get("definitions"))
    return _SchemaTranslator(definitions, param).translate(schema, 0)


def _describe_rest(translated: JsonObject) -> JsonObject:
    """Move into the description what Google takes of texts only: enumerations, and two formats.

    Source: the API's errors "enum: only allowed for STRING type" and "only 'enum' and 'date-time' are supported for STRING
    type".
    """
    values, form = translated.get("enum"), translated.get("format")
    rest: JsonObject = {}
    if isinstance(values, list) and not all(isinstance(value, str) for value in values):
        rest["enum"] = translated.pop("enum")
    if translated.get("type") == "STRING" and form not in (None, "enum", "date-time"):
        rest["format"] = translated.pop("format")
    if rest:
        said = f"{as_text(translated.get('description'))} Constraints: {json.dumps(rest, ensure_ascii=False)}"
        translated["description"] = said.strip()
    return translated


class _SchemaTranslator:
    """One schema and its definitions."""

    def __init__(self, definitions: JsonObject, param: str) -> None:
        self._definitions = definitions
        self._param = param

    def translate(self, schema: JsonObject, depth: int) -> JsonObject:
        if depth > _MAX_DEPTH:
            raise self._rejection("a schema that refers to itself, or is nested more than 32 levels deep")
        if "$ref" in schema:
            name = as_text(schema["$ref"]).rpartition("/")[2]
            target = as_object(self._definitions.get(name))
            if not target:
                raise self._rejection(f"the reference to {name[:80]!r}")
            return self.translate(target | {key: value for key, value in schema.items() if key != "$ref"}, depth + 1)
        translated: JsonObject = {}
        for keyword, value in schema.items():
            self._translate_keyword(keyword, value, translated, depth)
        self._translate_type(schema.get("type"), translated)
        return _describe_rest(translated)

    def _translate_keyword(self, keyword: str, value: object, translated: JsonObject, depth: int) -> None:
        if keyword in _KEPT:
            translated[keyword] = value
        elif keyword == "const":
            translated["enum"] = [value]
        elif keyword == "properties":
            properties = as_object(value)
            translated["properties"] = {
                name: self.translate(as_object(inner), depth + 1) for name, inner in properties.items()
            }
            # Without an explicit order the model writes the fields in alphabetical order.
            translated["propertyOrdering"] = list(properties)
        elif keyword == "items":
            translated["items"] = self.translate(as_object(value), depth + 1)
        elif keyword in ("anyOf", "oneOf"):
            self._translate_any_of(value, translated, depth)
        elif keyword not in _IGNORED or (keyword == "additionalProperties" and isinstance(value, dict)):
            raise self._rejection(f"the keyword {keyword[:80]!r}")

    def _translate_any_of(self, value: object, translated: JsonObject, depth: int) -> None:
        branches = [as_object(branch) for branch in value] if isinstance(value, list) else []
        others = [self.translate(branch, depth + 1) for branch in branches if branch.get("type") != "null"]
        if len(others) < len(branches):
            translated["nullable"] = True
        if len(others) == 1:
            translated.update(others[0] | translated)
        else:
            translated["anyOf"] = others

    def _translate_type(self, value: object, translated: JsonObject) -> None:
        names = [name for name in value if name != "null"] if isinstance(value, list) else [value] if value else []
        if isinstance(value, list) and len(names) < len(value):
            translated["nullable"] = True
        if len(names) > 1:
            translated["anyOf"] = [{"type": str(name).upper()} for name in names]
        elif names:
            translated["type"] = str(names[0]).upper()

    def _rejection(self, what: str) -> RefusedByAdapter:
        return bad_field(
            self._param, f"models before Gemini 2.5 cannot take {what}; simplify the schema or take a newer model."
        )
