"""Cohere's errors: from statuses, messages and finish reasons to failure classes.

An error body is flat: `{"id", "message"}`. In a stream, and in a non-streamed answer under status 200, a failure shows
only as a finish reason, possibly beside `error` and `error_type`. Source: Cohere's API reference, "Errors", and
recorded traffic.
"""

import re
from collections.abc import Mapping

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.response.context_overflow import is_context_overflow
from services.provider_worker.adapters.response.errors import find_message
from services.provider_worker.adapters.response.json_text import JsonObject, as_text, parse_leading_object
from services.provider_worker.adapters.response.redaction import safe_code, sanitise, strip_html
from services.provider_worker.adapters.response.request_fault import without_blame
from services.provider_worker.adapters.response.retry_after import wait_ms_from_headers

C = FailureClass

_BY_STATUS: Mapping[int, FailureClass] = {
    401: C.AUTH,
    402: C.QUOTA,
    403: C.AUTH,
    404: C.NOT_FOUND,
    408: C.TIMEOUT,
    413: C.CONTEXT_LENGTH,
    429: C.RATE_LIMIT,
    498: C.AUTH,
    499: C.SERVER,
    503: C.OVERLOADED,
    504: C.TIMEOUT,
    529: C.OVERLOADED,
}
"""498 is an invalid token, 499 a request that was cancelled on Cohere's side."""

_BY_TEXT: tuple[tuple[re.Pattern[str], FailureClass], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure_class)
    for pattern, failure_class in (
        (r"max tokens must be less than", C.BAD_REQUEST),
        (r"model .{0,200}(?:not found|does not exist|was removed|has been (?:deprecated|retired))", C.NOT_FOUND),
        (r"blocked (?:by|input|output)|content (?:filter|moderation|policy)|toxic", C.CONTENT_FILTER),
        (r"calls / month|per month|monthly|payment method|billing", C.QUOTA),
        (r"invalid api (?:token|key)|api key (?:has expired|is invalid)", C.AUTH),
    )
)
_REQUEST_FAULTS = frozenset({C.BAD_REQUEST, C.CONTEXT_LENGTH, C.NOT_FOUND, C.CONTENT_FILTER})
_REFINABLE: Mapping[int, frozenset[FailureClass]] = {
    400: _REQUEST_FAULTS | {C.AUTH, C.QUOTA},
    403: frozenset({C.QUOTA, C.NOT_FOUND}),
    422: _REQUEST_FAULTS,
    429: frozenset({C.QUOTA}),
}
"""The classes that a message may refine a status to. A status that is not listed is final."""

_BY_FINISH_REASON: Mapping[str, tuple[FailureClass, int]] = {
    "ERROR": (C.SERVER, 500),
    "TIMEOUT": (C.TIMEOUT, 504),
    "ERROR_LIMIT": (C.CONTEXT_LENGTH, 400),
    "ERROR_TOXIC": (C.CONTENT_FILTER, 400),
}
"""Finish reason -> class, and the status that Cohere would have sent before streaming; the last two are of API v1."""


def failure_of_response(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Return the failure of an HTTP response whose status is not 2xx. `headers` have names in lower case."""
    document = parse_leading_object(body)
    if document is None:
        message = strip_html(body.decode("utf-8", "replace"))
    else:
        message = _find_message(document) or find_message(document)
    by_status = _BY_STATUS.get(status) or (C.BAD_REQUEST if 400 <= status < 500 else C.SERVER)
    by_text = _class_of_text(message)
    failure_class = by_text if by_text is not None and by_text in _REFINABLE.get(status, frozenset()) else by_status
    return Failure(
        failure_class=without_blame(failure_class, message),
        message=sanitise(message) or f"The provider answered with status {status} and no explanation.",
        where=Where.HTTP_STATUS,
        status=status,
        provider_code=None if document is None else safe_code(document.get("error_type") or document.get("code")),
        retry_after_ms=wait_ms_from_headers(headers),
    )


def failure_of_finish_reason(reason: object, holder: JsonObject, where: Where) -> Failure | None:
    """Return the failure that a finish reason reports, or null if it is a regular end.

    `holder` is the object it is in.
    """
    known = _BY_FINISH_REASON.get(reason) if isinstance(reason, str) else None
    if known is None:
        return None
    message = sanitise(_find_message(holder))
    return Failure(
        failure_class=known[0],
        message=message or f"The provider failed: its finish reason is {reason!r}.",
        where=where,
        status=known[1],
        provider_code=safe_code(holder.get("error_type")),
    )


def failure_of_document(document: JsonObject, where: Where) -> Failure | None:
    """Return the failure that a document under status 200 holds in place of an answer; null if there is none."""
    message = _find_message(document)
    if not message:
        return None
    return Failure(
        failure_class=_class_of_text(message) or C.SERVER,
        message=sanitise(message),
        where=where,
        provider_code=safe_code(document.get("error_type")),
    )


def _class_of_text(message: str) -> FailureClass | None:
    by_text = next((known for pattern, known in _BY_TEXT if pattern.search(message[:4000])), None)
    return C.CONTEXT_LENGTH if by_text is None and is_context_overflow(message[:4000]) else by_text


def _find_message(document: JsonObject) -> str:
    for name in ("message", "error", "detail"):
        text = document.get(name)
        if isinstance(text, dict):
            text = text.get("message")
        if as_text(text).strip():
            return as_text(text)
    return ""
