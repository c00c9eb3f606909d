"""The OpenAI dialect: error objects, statuses and stream events. `keyferry.runtime.http.openai_body` reads the requests.

Statuses and types are those that the official SDKs act upon. A bad client token is 401, while a provider that rejects the
tenant's *provider* key is 424, so that the two are not confused. Pure.
"""

import math
import re
from typing import Any

import orjson

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import may_be_charged
from keyferry.contracts.frames import Accepted
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import DecisionSummary
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.ingress.problem import FailedRequest

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keepalive\n\n"

_STATUS: dict[FailureClass, tuple[int, str, str]] = {
    FailureClass.AUTH: (424, "provider_error", "provider_key_invalid"),
    FailureClass.QUOTA: (402, "billing_error", "provider_quota_exhausted"),
    FailureClass.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    FailureClass.OVERLOADED: (503, "overloaded_error", "overloaded"),
    FailureClass.CONTEXT_LENGTH: (400, INVALID_REQUEST, "context_length_exceeded"),
    FailureClass.CONTENT_FILTER: (400, INVALID_REQUEST, "content_filter"),
    FailureClass.NOT_FOUND: (404, INVALID_REQUEST, "model_not_found"),
    FailureClass.BAD_REQUEST: (400, INVALID_REQUEST, "bad_request"),
    FailureClass.TIMEOUT: (504, "provider_error", "upstream_timeout"),
    FailureClass.SERVER: (502, "provider_error", "provider_error"),
    FailureClass.TRUNCATED: (502, "provider_error", "answer_truncated"),
    FailureClass.UNREACHABLE: (502, "provider_error", "provider_unreachable"),
    FailureClass.POLICY: (403, "permission_error", "policy_no_candidate"),
    FailureClass.LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    FailureClass.CREDIT: (402, "billing_error", "insufficient_credits"),
    FailureClass.BUDGET: (402, "billing_error", "budget_exceeded"),
    FailureClass.UNAVAILABLE: (503, "overloaded_error", "unavailable"),
    FailureClass.EXPIRED: (504, "api_error", "deadline_exceeded"),
    FailureClass.CANCELLED: (499, "api_error", "cancelled"),
    FailureClass.INDETERMINATE: (502, "provider_error", "indeterminate"),
    FailureClass.INTERNAL: (500, "api_error", "internal_error"),
}
_DEFAULT_RETRY_AFTER_MS = 1000
_OBJECT = re.compile(rb'\s*\{(?=\s*")')
"""The beginning of an object with fields, however a provider lays it out."""
_MAY_BE_CHARGED = (Where.NO_ANSWER, Where.HTTP_200_BODY, Where.MID_STREAM)
"""The provider may have charged for these: an SDK that retries blindly could pay twice."""


def problem_from_failure(
    failure: Failure,
    accepted: Accepted | None = None,
    decision_id: str | None = None,
    decision: DecisionSummary | None = None,
    rate_limits: RateLimits | None = None,
) -> FailedRequest:
    """Return the problem that reports a failure of an attempt or of the gateway."""
    status, type_, code = _STATUS[failure.failure_class]
    headers: dict[str, str] = {}
    if status in (429, 503):
        delay_ms = failure.retry_after_ms if failure.retry_after_ms is not None else _DEFAULT_RETRY_AFTER_MS
        headers = {"retry-after": str(max(1, math.ceil(delay_ms / 1000))), "retry-after-ms": str(delay_ms)}
    if failure.where in _MAY_BE_CHARGED or failure.charged_earlier or may_be_charged(failure):
        headers["x-should-retry"] = "false"
    return FailedRequest(
        status,
        type_,
        code,
        failure.message,
        param=failure.param,
        headers=headers,
        failure=failure,
        accepted=accepted,
        decision_id=decision_id or (accepted.decision_id if accepted else None),
        # A request that is refused after an attempt was decided again: the acceptance has the decision before.
        decision=decision or (accepted.decision if accepted else None),
        rate_limits=rate_limits or (accepted.rate_limits if accepted else None),
    )


def build_error_object(problem: HttpProblem, request_id: str) -> dict[str, Any]:
    """Return the `error` object: OpenAI's four fields, and Keyferry's own under `keyferry`."""
    own: dict[str, Any] = {"request_id": request_id}
    if isinstance(problem, FailedRequest):
        own |= _failure_fields(problem)
    return {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
        "keyferry": {key: value for key, value in own.items() if value is not None},
    }


def _failure_fields(problem: FailedRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {"decision_id": problem.decision_id}
    if problem.accepted is not None:
        fields["provider"] = problem.accepted.endpoint or problem.accepted.provider
        fields["attempts"] = problem.accepted.attempt_number
    if problem.decision is not None:
        fields["decision"] = problem.decision.model_dump(mode="json", exclude_none=True)
    failure = problem.failure
    return fields | {
        "failure": failure.failure_class.value,
        "where": failure.where.value,
        "provider_status": failure.status,
        "provider_code": failure.provider_code,
        "retry_after_ms": failure.retry_after_ms,
        "retryable": problem.headers.get("x-should-retry") != "false" and problem.status in (429, 502, 503),
    }


def render_error(problem: HttpProblem, request_id: str) -> bytes:
    """Render the body of an error response."""
    return orjson.dumps({"error": build_error_object(problem, request_id)})


def add_decision(payload: bytes, decision: DecisionSummary) -> bytes:
    """Add the object `keyferry` to the JSON object with which `payload` begins: a whole answer, or the first of some chunks.

    The payload is returned as it is if it does not begin with an object.
    """
    begun = _OBJECT.match(payload)
    if begun is None:
        return payload
    return b"".join((begun[0], b'"keyferry":', decision.encode(), b",", payload[begun.end() :]))


def encode_events(payload: bytes) -> bytes:
    """Encode a frame's payload as server-sent events: one `data:` event for each line."""
    return b"data: " + payload.replace(b"\n", b"\n\ndata: ") + b"\n\n"


def render_error_event(problem: FailedRequest, request_id: str, created_unix: int) -> bytes:
    """Render the last event of a broken stream.

    No `[DONE]` follows, and the error is explicit: SDKs take a stream that merely ends for a complete one.
    """
    chunk = {
        "id": request_id,
        "object": "chat.completion.chunk",
        "created": created_unix,
        "model": problem.accepted.model if problem.accepted else "",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
        "error": build_error_object(problem, request_id),
    }
    return encode_events(orjson.dumps(chunk))
