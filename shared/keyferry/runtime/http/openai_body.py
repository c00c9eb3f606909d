"""Validates the bodies of OpenAI requests and reads the fields that the gateway needs of them. Pure."""

from dataclasses import dataclass

from pydantic import ValidationError

from keyferry.contracts.completion import ChatCompletionBody, EmbeddingBody
from keyferry.contracts.invalid_values import format_path, invalid_values
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

_LONGEST_NAME = 64
"""Characters of a caller's own field name, such as a key of `metadata`, that an error repeats."""


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """The fields of a request body that the ingress needs."""

    model: str
    stream: bool
    include_usage: bool


def read_chat(body: bytes) -> ParsedBody:
    """Validate a chat completion body. Raises HttpProblem 400, which names the wrong parameter."""
    try:
        parsed = ChatCompletionBody.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
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
    try:
        parsed = EmbeddingBody.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
    return ParsedBody(parsed.model, stream=False, include_usage=False)


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
