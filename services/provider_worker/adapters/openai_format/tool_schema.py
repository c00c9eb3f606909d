"""Adapts the root of a tool's JSON schema, which has to be a plain object.

Sources: OpenAI ("schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level"), Anthropic
("input_schema does not support oneOf, allOf, or anyOf at the top level"), Bedrock's and Google's documentation of function
declarations. What is folded away goes into the description, where the model still reads it. Pure.
"""

import json

from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text

_UNIONS = ("anyOf", "oneOf", "allOf")
_FOLDED = (*_UNIONS, "not", "enum", "const", "if", "then", "else", "$ref")
_MAX_REFERENCES = 8


def plain_root(schema: JsonObject) -> JsonObject:
    """Return `schema` with an object without unions at its root; the same object if it is one."""
    if schema.get("type") == "object" and not any(name in schema for name in _FOLDED):
        return schema if isinstance(schema.get("properties"), dict) else {**schema, "properties": {}}
    schema = _resolve_root(schema)
    folded = {name: schema[name] for name in _FOLDED if name in schema}
    plain: JsonObject = {name: value for name, value in schema.items() if name not in _FOLDED}
    plain["type"] = "object"
    properties = dict(as_object(plain.get("properties")))
    for name in _UNIONS:
        for branch in as_objects(folded.get(name)):
            found = as_object(_resolve(branch, schema).get("properties"))
            properties = {**found, **properties}
    for branch in map(as_object, as_objects(folded.get("allOf"))):
        required = _resolve(branch, schema).get("required")
        if isinstance(required, list):
            before = plain.get("required")
            plain["required"] = list(dict.fromkeys([*(before if isinstance(before, list) else []), *required]))
    plain["properties"] = properties
    if folded:
        constraints = json.dumps(folded, ensure_ascii=False)
        plain["description"] = f"{as_text(plain.get('description'))}\n\nConstraints: {constraints}".strip()
    return plain


def _resolve_root(schema: JsonObject) -> JsonObject:
    for _ in range(_MAX_REFERENCES):
        target = _resolve(schema, schema)
        if target is schema:
            break
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**target, **rest}
    return schema


def _resolve(schema: JsonObject, root: JsonObject) -> JsonObject:
    """Return what `$ref` names within `root`, or `schema` itself without one that can be found."""
    reference = as_text(schema.get("$ref"))
    if not reference.startswith("#/"):
        return schema
    found: object = root
    for step in reference[2:].split("/"):
        found = as_object(found).get(step.replace("~1", "/").replace("~0", "~"))
    return as_object(found) or schema
