"""Validates the bodies of OpenAI requests and reads the fields that the gateway needs of them. Pure."""

import re
from dataclasses import dataclass
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from keyferry.contracts.completion import ChatCompletionBody, EmbeddingBody
from keyferry.contracts.invalid_values import format_path, invalid_values
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

_LONGEST_NAME = 64
"""Characters of a caller's own field name, such as a key of `metadata`, that an error repeats."""
_MAX_CONTAINERS = 50_000
"""Arrays and objects in one body. Each costs microseconds of a process that serves others, and a body can hold millions."""
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


def read_chat(body: bytes) -> ParsedBody:
    """Validate a chat completion body. Raises HttpProblem 400, which names the wrong parameter."""
    parsed = _parse(ChatCompletionBody, body)
    if parsed.stream_options is not None and not parsed.stream:
        raise HttpProblem(
            400,
            INVALID_REQUEST,
            "invalid_value",
            "stream_options is only allowed when stream is true",
            param="stream_options",
        )
    usage = parsed.stream_options is not None and bool(parsed.stream_options.include_usage)
    return ParsedBody(parsed.model, bool(parsed.stream), usage)


def read_embedding(body: bytes) -> ParsedBody:
    """Validate an embeddings body. Raises HttpProblem 400, which names the wrong parameter."""
    parsed = _parse(EmbeddingBody, body)
    return ParsedBody(parsed.model, stream=False, include_usage=False)


def _parse(shape: type[_Body], body: bytes) -> _Body:
    if body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS and _count_containers(body) > _MAX_CONTAINERS:
        message = f"the body has more than {_MAX_CONTAINERS} arrays and objects, the limit of the gateway"
        raise HttpProblem(400, INVALID_REQUEST, "request_too_complex", message)
    try:
        orjson.loads(
            body
        )  # pydantic's parser accepts NaN and numbers that become infinite, which no provider can be sent
        return shape.model_validate_json(body)
    except orjson.JSONDecodeError as error:
        raise _invalid_json(error) from None
    except ValidationError as error:
        raise _invalid(error) from None


def _count_containers(body: bytes) -> int:
    """Count the arrays and objects that begin outside of strings."""
    structure = _STRING.sub(b"", body)
    return structure.count(b"[") + structure.count(b"{")


def _invalid_json(error: orjson.JSONDecodeError) -> HttpProblem:
    found = _NOT_A_NUMBER.match(error.doc, error.pos)
    reason = f"{found[0]} is not a number of JSON" if found else _REASONS.get(error.msg, error.msg)
    message = f"the body is not valid JSON: {reason} at line {error.lineno} column {error.colno}"
    return HttpProblem(400, INVALID_REQUEST, "invalid_json", message)


def _invalid(error: ValidationError) -> HttpProblem:
    found = invalid_values(error.errors(include_input=False, include_url=False))[0]
    if found.kind == "json_invalid":
        message = f"the body is not valid JSON: {found.reason.partition(': ')[2]}"
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", message)
    param = format_path([part if isinstance(part, int) else _shorten(part) for part in found.path])
    if not param:
        return HttpProblem(400, INVALID_REQUEST, "invalid_type", "the body must be a JSON object")
    if found.kind == "missing":
        message = f"missing required parameter: {param}"
        return HttpProblem(400, INVALID_REQUEST, "missing_required_parameter", message, param=param)
    message = f"invalid value for {param}: {found.reason}"
    return HttpProblem(400, INVALID_REQUEST, "invalid_value", message, param=param)


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
