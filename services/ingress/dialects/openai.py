"""The OpenAI dialect: request bodies in, error objects, statuses and stream events out. Pure.

Statuses and types are those that the official SDKs act upon; a client token's own problem is 401, while a provider that
refuses the tenant's *provider* key is 424, so that nobody mistakes one for the other.
"""

import math
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from keyferry.contracts.completion import ChatCompletionBody, EmbeddingBody
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.frames import Accepted
from services.ingress.problem import Problem

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keepalive\n\n"

_INVALID = "invalid_request_error"
_STATUS: dict[FailureClass, tuple[int, str, str]] = {
    FailureClass.AUTH: (424, "provider_error", "provider_key_invalid"),
    FailureClass.QUOTA: (402, "billing_error", "provider_quota_exhausted"),
    FailureClass.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    FailureClass.OVERLOADED: (503, "overloaded_error", "overloaded"),
    FailureClass.CONTEXT_LENGTH: (400, _INVALID, "context_length_exceeded"),
    FailureClass.CONTENT_FILTER: (400, _INVALID, "content_filter"),
    FailureClass.NOT_FOUND: (404, _INVALID, "model_not_found"),
    FailureClass.BAD_REQUEST: (400, _INVALID, "bad_request"),
    FailureClass.TIMEOUT: (504, "provider_error", "upstream_timeout"),
    FailureClass.SERVER: (502, "provider_error", "provider_error"),
    FailureClass.TRUNCATED: (502, "provider_error", "answer_truncated"),
    FailureClass.UNREACHABLE: (502, "provider_error", "provider_unreachable"),
    FailureClass.POLICY: (403, "permission_error", "policy_no_candidate"),
    FailureClass.LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    FailureClass.UNAVAILABLE: (503, "overloaded_error", "unavailable"),
    FailureClass.EXPIRED: (504, "api_error", "deadline_exceeded"),
    FailureClass.CANCELLED: (499, "api_error", "cancelled"),
    FailureClass.INDETERMINATE: (502, "provider_error", "indeterminate"),
    FailureClass.INTERNAL: (500, "api_error", "internal_error"),
}
_DEFAULT_RETRY_AFTER_MS = 1000
_PAID_MAYBE = (Where.NO_ANSWER, Where.HTTP_200_BODY, Where.MID_STREAM)
"""Where the provider may have charged: an SDK's blind repetition could pay twice."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks, as far as the ingress needs to know."""

    model: str
    stream: bool
    include_usage: bool


def read_chat(body: bytes) -> Asked:
    """Check a chat completion body. Raises Problem with the status, the parameter and what is wrong with it."""
    try:
        asked = ChatCompletionBody.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
    if asked.stream_options is not None and not asked.stream:
        raise Problem(
            400, _INVALID, "invalid_value", "stream_options is only allowed when stream is true", param="stream_options"
        )
    usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
    return Asked(asked.model, bool(asked.stream), usage)


_INPUT_FORMS = (
    "invalid value for input: it should be a text, a list of texts, a list of token ids, or a list of such lists; none of "
    "them empty, and no more than 2048 inputs"
)


def read_embedding(body: bytes) -> Asked:
    """Check an embeddings body. Raises Problem with the status, the parameter and what is wrong."""
    try:
        asked = EmbeddingBody.model_validate_json(body)
    except ValidationError as error:
        problem = _invalid(error)
        if problem.code == "invalid_value" and (problem.param or "").startswith("input"):
            # Of a union every branch has its own complaint; the caller is told what all of them amount to.
            problem = Problem(400, _INVALID, "invalid_value", _INPUT_FORMS, param="input")
        raise problem from None
    return Asked(asked.model, stream=False, include_usage=False)


def _invalid(error: ValidationError) -> Problem:
    fault = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if fault["type"] == "json_invalid":
        return Problem(400, _INVALID, "invalid_json", f"the body is not valid JSON: {fault['msg'].partition(': ')[2]}")
    where = [part for part in fault["loc"] if isinstance(part, int) or not _is_branch(part)]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if fault["type"] == "missing":
        return Problem(400, _INVALID, "missing_required_parameter", f"missing required parameter: {param}", param=param)
    if not param:
        return Problem(400, _INVALID, "invalid_type", "the body must be a JSON object")
    message = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return Problem(400, _INVALID, "invalid_value", f"invalid value for {param}: it should be {message}", param=param)


def _is_branch(part: str) -> bool:
    """Whether a step of an error's location is the name of a union's branch and not of a field."""
    return part[:1].isupper() or "[" in part or part in ("str", "int", "float", "bool")


def problem_of(failure: Failure, accepted: Accepted | None = None, decision_id: str | None = None) -> Problem:
    """How a failure of the attempt or of the gateway is reported."""
    status, type_, code = _STATUS[failure.failure_class]
    headers: dict[str, str] = {}
    if status in (429, 503):
        delay_ms = failure.retry_after_ms if failure.retry_after_ms is not None else _DEFAULT_RETRY_AFTER_MS
        headers = {"retry-after": str(max(1, math.ceil(delay_ms / 1000))), "retry-after-ms": str(delay_ms)}
    if failure.where in _PAID_MAYBE:
        headers["x-should-retry"] = "false"
    return Problem(
        status,
        type_,
        code,
        failure.message,
        param=failure.param,
        headers=headers,
        failure=failure,
        accepted=accepted,
        decision_id=decision_id or (accepted.decision_id if accepted else None),
    )


def error_object(problem: Problem, request_id: str) -> dict[str, Any]:
    """The `error` object: OpenAI's four fields, and ours under `keyferry`."""
    own: dict[str, Any] = {"request_id": request_id}
    if problem.decision_id is not None:
        own["decision_id"] = problem.decision_id
    if problem.accepted is not None:
        own |= {"provider": problem.accepted.endpoint or problem.accepted.provider}
        own |= {"attempts": problem.accepted.attempt_number}
    if (failure := problem.failure) is not None:
        own |= {
            "failure": failure.failure_class.value,
            "where": failure.where.value,
            "provider_status": failure.status,
            "provider_code": failure.provider_code,
            "retry_after_ms": failure.retry_after_ms,
            "retryable": problem.headers.get("x-should-retry") != "false" and problem.status in (429, 502, 503),
        }
    return {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
        "keyferry": {key: value for key, value in own.items() if value is not None},
    }


def error_body(problem: Problem, request_id: str) -> bytes:
    """The body of an error response."""
    return orjson.dumps({"error": error_object(problem, request_id)})


def events(payload: bytes) -> bytes:
    """Server-sent events of a frame's payload: one `data:` event for each line."""
    return b"data: " + payload.replace(b"\n", b"\n\ndata: ") + b"\n\n"


def error_event(problem: Problem, request_id: str, created_unix: int) -> bytes:
    """The last event of a stream that broke. No `[DONE]` follows: a stream that merely ends looks whole to SDKs."""
    chunk = {
        "id": request_id,
        "object": "chat.completion.chunk",
        "created": created_unix,
        "model": problem.accepted.model if problem.accepted else "",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
        "error": error_object(problem, request_id),
    }
    return events(orjson.dumps(chunk))
