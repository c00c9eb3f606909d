"""Validates the bodies of OpenAI requests and reads the fields that the gateway needs of them. Pure."""

from dataclasses import dataclass

from pydantic import ValidationError

from keyferry.contracts.completion import ChatCompletionBody, EmbeddingBody
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem


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


_INPUT_FORMS = (
    "invalid value for input: it should be a text, a list of texts, a list of token ids, or a list of such lists; none of "
    "them empty, and no more than 2048 inputs"
)


def read_embedding(body: bytes) -> ParsedBody:
    """Validate an embeddings body. Raises HttpProblem 400, which names the wrong parameter."""
    try:
        parsed = EmbeddingBody.model_validate_json(body)
    except ValidationError as error:
        problem = _invalid(error)
        if problem.code == "invalid_value" and (problem.param or "").startswith("input"):
            # Pydantic reports one error for each branch of the union; the caller gets one message that covers them all.
            problem = HttpProblem(400, INVALID_REQUEST, "invalid_value", _INPUT_FORMS, param="input")
        raise problem from None
    return ParsedBody(parsed.model, stream=False, include_usage=False)


def _invalid(error: ValidationError) -> HttpProblem:
    fault = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if fault["type"] == "json_invalid":
        return HttpProblem(
            400, INVALID_REQUEST, "invalid_json", f"the body is not valid JSON: {fault['msg'].partition(': ')[2]}"
        )
    where = [part for part in fault["loc"] if isinstance(part, int) or not _is_branch(part)]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if fault["type"] == "missing":
        return HttpProblem(
            400, INVALID_REQUEST, "missing_required_parameter", f"missing required parameter: {param}", param=param
        )
    if not param:
        return HttpProblem(400, INVALID_REQUEST, "invalid_type", "the body must be a JSON object")
    message = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return HttpProblem(
        400, INVALID_REQUEST, "invalid_value", f"invalid value for {param}: it should be {message}", param=param
    )


def _is_branch(part: str) -> bool:
    """Return whether a step of an error's location names a branch of a union, not a field."""
    return part[:1].isupper() or "[" in part or part in ("str", "int", "float", "bool")
