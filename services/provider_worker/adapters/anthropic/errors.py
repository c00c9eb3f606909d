"""Anthropic's errors as failures.

Source: Anthropic's documentation of errors and rate limits, and recorded traffic. The status decides; inside a 200 the
type of the error replaces it. The message only separates what Anthropic reports under one status.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.body import MAX_ERROR_BYTES, BufferingReader
from services.provider_worker.adapters.response.context_overflow import is_context_overflow
from services.provider_worker.adapters.response.errors import failure_of_error, failure_of_response, find_error
from services.provider_worker.adapters.response.request_fault import without_blame
from services.provider_worker.adapters.response.retry_after import MAX_RETRY_AFTER_MS

C = FailureClass

_STATUS_OF_TYPE: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_BY_STATUS: Mapping[int, FailureClass] = {
    401: C.AUTH,
    402: C.QUOTA,
    403: C.AUTH,
    404: C.NOT_FOUND,
    408: C.TIMEOUT,
    429: C.RATE_LIMIT,
    503: C.OVERLOADED,
    504: C.TIMEOUT,
    529: C.OVERLOADED,
}
_QUOTA = (re.compile(r"credit balance is too low|usage limits?\b|spend(?:ing)? limit|billing", re.IGNORECASE), C.QUOTA)
_BY_TEXT: Mapping[int, tuple[tuple[re.Pattern[str], FailureClass], ...]] = {
    400: (
        (re.compile(r"content filtering|content policy|usage policy", re.IGNORECASE), C.CONTENT_FILTER),
        _QUOTA,
        (re.compile(r"organization has been disabled|invalid.{0,3}x-api-key", re.IGNORECASE), C.AUTH),
    ),
    403: (_QUOTA,),
    429: (_QUOTA,),
}
_LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")


class ErrorReader(BufferingReader):
    """Reads a response whose status is not 2xx."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers
        super().__init__(MAX_ERROR_BYTES)

    def close(self) -> Answer:
        """Return the failure."""
        failure = failure_of_response(self._status, self._headers, self._body.content)
        return Answer(failure=_refine(failure, self._headers))


def failure_of_event(error: object, where: Where) -> Failure:
    """Return the failure of an error inside a 200: Anthropic's error object, the document around it, or its text."""
    inner = find_error(error) if isinstance(error, dict) else None
    return _refine(failure_of_error(inner or error, where, {}), {})


def _refine(failure: Failure, headers: Mapping[str, str]) -> Failure:
    """Return `failure` with its status, class and wait as this provider means them."""
    code = failure.provider_code or ""
    status = failure.status
    if failure.where is not Where.HTTP_STATUS:
        status = _STATUS_OF_TYPE.get(code, status)
    changes: dict[str, object] = {"status": status, "failure_class": _class_of(status, code, failure.message)}
    if status == 429 and failure.retry_after_ms is None:
        changes["retry_after_ms"] = _ms_until_reset(headers)
    return failure.model_copy(update=changes)


def _class_of(status: int | None, code: str, message: str) -> FailureClass:
    if status is None:
        return C.SERVER
    if status >= 500 and code == "overloaded_error":
        return C.OVERLOADED
    if status in (400, 413) and is_context_overflow(message):
        return C.CONTEXT_LENGTH
    by_text = next((found for pattern, found in _BY_TEXT.get(status, ()) if pattern.search(message)), None)
    found = by_text or _BY_STATUS.get(status) or (C.BAD_REQUEST if 400 <= status < 500 else C.SERVER)
    return without_blame(found, message)


def _ms_until_reset(headers: Mapping[str, str]) -> int | None:
    """Return the milliseconds from the response's `date` until the last exhausted limit resets, or null if unknown."""
    try:
        now = parsedate_to_datetime(headers["date"])
        resets = [
            datetime.fromisoformat(headers[f"anthropic-ratelimit-{limit}-reset"])
            for limit in _LIMITS
            if headers.get(f"anthropic-ratelimit-{limit}-remaining") == "0"
        ]
        waits = [(_with_timezone(reset) - _with_timezone(now)).total_seconds() for reset in resets]
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return int(min(max(*waits, 0) * 1000, MAX_RETRY_AFTER_MS)) if waits else None


def _with_timezone(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
