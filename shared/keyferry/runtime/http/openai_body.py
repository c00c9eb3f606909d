"""Validates the bodies of OpenAI requests and reads the fields that the gateway needs of them. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from keyferry.contracts.completion import ChatCompletionBody, EmbeddingBody
from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.invalid_values import format_path, invalid_values
from keyferry.contracts.request_features import read_chat_features, read_embedding_features
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from keyferry.runtime.http.repeated_names import find_repeated_name

_LONGEST_NAME = 64
"""Characters of a caller's own field name, such as a key of `metadata`, that an error repeats."""
_MAX_CONTAINERS = 50_000
"""Arrays and objects in one body. Each costs microseconds of a process that serves others, and a body can hold millions."""
_MAX_VALUES = 500_000
"""Members of all arrays and objects of one body; OpenAI's embeddings take 300,000 tokens."""
_MAX_NAMED_VALUES = 150_000
"""Members of all objects of one body. Each costs ten times an array's."""
_MAX_DEPTH = 200
"""Arrays and objects inside each other, the limit of pydantic's parser."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_A_NUMBER = re.compile(r"-?(?:NaN|Infinity)")
_REASONS = {
    "Input is a zero-length, empty document": "it is empty",
    "str is not valid UTF-8: surrogates not allowed": "it is not UTF-8",
    "number is infinity when parsed as double": "a number is too large",
}
"""Clearer texts for some of orjson's."""
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """The fields of a request body that the ingress needs."""

    model: str
    stream: bool
    include_usage: bool
    features: RequestFeatures
    """What planning has to know of the body, which no later service reads before the worker."""


def read_chat(body: bytes) -> ParsedBody:
    """Validate a chat completion body. Raises HttpProblem 400, which names the wrong parameter."""
    document, parsed = _parse(ChatCompletionBody, body)
    if parsed.stream_options is not None and not parsed.stream:
        raise HttpProblem(
            400,
            INVALID_REQUEST,
            "invalid_value",
            "stream_options is only allowed when stream is true",
            param="stream_options",
        )
    usage = parsed.stream_options is not None and bool(parsed.stream_options.include_usage)
    return ParsedBody(parsed.model, bool(parsed.stream), usage, read_chat_features(document, len(body)))


def read_embedding(body: bytes) -> ParsedBody:
    """Validate an embeddings body. Raises HttpProblem 400, which names the wrong parameter."""
    document, parsed = _parse(EmbeddingBody, body)
    features = read_embedding_features(document, len(body))
    return ParsedBody(parsed.model, stream=False, include_usage=False, features=features)


def _parse(shape: type[_Body], body: bytes) -> tuple[object, _Body]:
    """Return the body as a document, and as `shape`."""
    _check_complexity(body)
    # pydantic's parser accepts repeated names, NaN and numbers that become infinite: providers read those in different ways
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid_json(error) from None
    if _may_repeat_names(body, document) and (path := find_repeated_name(body)):
        raise _repeated_name(path)
    try:
        return document, shape.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None


def _may_repeat_names(body: bytes, document: object) -> bool:
    """Return False if no object of `body` has one name twice; `document` is what the body says.

    Written again, a document has fewer colons than its body if a name was repeated, and more if the body spells out colons
    of its strings as escapes.

    Raises HttpProblem 400 for a document that is nested too deeply to be written.
    """
    try:
        written = orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise _too_deep() from None
    return body.count(b":") != written.count(b":") or (b"\\" in body and b"\\u003" in body)


def _check_complexity(body: bytes) -> None:
    """Raise HttpProblem 400 for more members, arrays or objects than the process can read without delaying others."""
    many_containers = body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS
    many_values = len(body) > _MAX_VALUES and body.count(b",") > _MAX_VALUES
    many_named_values = len(body) > _MAX_NAMED_VALUES and body.count(b":") > _MAX_NAMED_VALUES
    if not (many_containers or many_values or many_named_values):
        return
    structure = _STRING.sub(b"", body)
    if structure.count(b"[") + structure.count(b"{") > _MAX_CONTAINERS:
        raise _too_complex(_MAX_CONTAINERS, "arrays and objects")
    if structure.count(b",") > _MAX_VALUES:
        raise _too_complex(_MAX_VALUES, "values")
    if structure.count(b":") > _MAX_NAMED_VALUES:
        raise _too_complex(_MAX_NAMED_VALUES, "members of objects")


def _too_complex(limit: int, unit: str) -> HttpProblem:
    message = f"the body has more than {limit} {unit}, the limit of the gateway"
    return HttpProblem(400, INVALID_REQUEST, "request_too_complex", message)


def _too_deep() -> HttpProblem:
    return _too_complex(_MAX_DEPTH, "levels of arrays and objects")


def _repeated_name(path: list[str | int]) -> HttpProblem:
    param = _format_path(path)
    message = f"the body has {param} more than once: send each parameter once"
    return HttpProblem(400, INVALID_REQUEST, "repeated_parameter", message, param=param)


def _invalid_json(error: orjson.JSONDecodeError) -> HttpProblem:
    if error.msg.startswith("depth limit"):
        return _too_deep()
    found = _NOT_A_NUMBER.match(error.doc, error.pos)
    reason = f"{found[0]} is not a number of JSON" if found else _REASONS.get(error.msg, error.msg)
    message = f"the body is not valid JSON: {reason} at line {error.lineno} column {error.colno}"
    return HttpProblem(400, INVALID_REQUEST, "invalid_json", message)


def _invalid(error: ValidationError) -> HttpProblem:
    found = invalid_values(error.errors(include_input=False, include_url=False))[0]
    if found.kind == "json_invalid":
        return _too_deep()  # orjson, which has read the body before, allows more levels
    param = _format_path(found.path)
    if not param:
        return HttpProblem(400, INVALID_REQUEST, "invalid_type", "the body must be a JSON object")
    if found.kind == "missing":
        message = f"missing required parameter: {param}"
        return HttpProblem(400, INVALID_REQUEST, "missing_required_parameter", message, param=param)
    message = f"invalid value for {param}: {found.reason}"
    return HttpProblem(400, INVALID_REQUEST, "invalid_value", message, param=param)


def _format_path(path: Sequence[str | int]) -> str:
    return format_path([part if isinstance(part, int) else _shorten(part) for part in path])


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
