"""Google's errors: from status, body and headers to a `Failure`.

Source of the shapes: recorded traffic, Google's error model (`google.rpc.Status` with `ErrorInfo`, `QuotaFailure` and
`RetryInfo` in `details`) and the Gemini API's troubleshooting page. The status decides first, except that Google sends
400 for an invalid key. Nothing here raises, whatever is sent.
"""

import re
from collections.abc import Mapping

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.body import MAX_ERROR_BYTES, BufferingReader
from services.provider_worker.adapters.response.context_overflow import is_context_overflow
from services.provider_worker.adapters.response.json_text import JsonObject, as_objects, as_text, parse_first_object
from services.provider_worker.adapters.response.redaction import safe_code, sanitise, strip_html
from services.provider_worker.adapters.response.request_fault import without_blame
from services.provider_worker.adapters.response.retry_after import (
    wait_ms_from_details,
    wait_ms_from_headers,
    wait_ms_from_message,
)

C = FailureClass

_BY_STATUS: Mapping[int, FailureClass] = {
    401: C.AUTH, 402: C.QUOTA, 403: C.AUTH, 404: C.NOT_FOUND, 408: C.TIMEOUT, 409: C.SERVER, 410: C.NOT_FOUND,
    429: C.RATE_LIMIT, 499: C.SERVER, 503: C.OVERLOADED, 504: C.TIMEOUT, 529: C.OVERLOADED,
}  # fmt: skip

_STATUS_OF_NAME: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "DATA_LOSS": 500, "INTERNAL": 500, "UNKNOWN": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
"""Google's canonical status names and the HTTP statuses they stand for (`google/rpc/code.proto`)."""

_BY_REASON: Mapping[str, FailureClass] = {
    "API_KEY_INVALID": C.AUTH,
    "API_KEY_SERVICE_BLOCKED": C.AUTH,
    "API_KEY_HTTP_REFERRER_BLOCKED": C.AUTH,
    "API_KEY_IP_ADDRESS_BLOCKED": C.AUTH,
    "ACCESS_TOKEN_EXPIRED": C.AUTH,
    "CONSUMER_INVALID": C.AUTH,
    "CONSUMER_SUSPENDED": C.AUTH,
    "SERVICE_DISABLED": C.AUTH,
    "BILLING_DISABLED": C.QUOTA,
}
"""`ErrorInfo.reason` (`google/api/error_reason.proto`) values that are more specific than the status."""

_BY_TEXT: tuple[tuple[re.Pattern[str], FailureClass, frozenset[int | None]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure_class, frozenset(statuses))
    for pattern, failure_class, statuses in (
        (r"api[ _]key (?:not valid|expired|not found)|api_key_invalid|pass a valid api key", C.AUTH, (None, 400)),
        (r"enable billing|billing (?:is|has been) (?:disabled|not)|billing to be enabled", C.QUOTA, (None, 400, 403)),
        (r"\blimit: 0\b|credits? (?:are|is|balance).{0,20}(?:depleted|exhausted)|spend(?:ing)? (?:cap|limit)", C.QUOTA,
         (None, 429)),
        (r"location is not supported|unexpected model name|(?:invalid|unknown) model\b", C.NOT_FOUND, (None, 400, 403)),
        (r"violat\w+.{0,80}(?:polic|guideline|safety)|prohibited content|responsible ai|blocked by model armor",
         C.CONTENT_FILTER, (None, 400)),
    )
)  # fmt: skip
"""Message patterns, their class, and the statuses that they may refine."""

_PROJECT = re.compile(r"\b(projects?(?:_number)?[/: ]+)[\w:.-]*\d[\w:.-]*|\bprojects/[^/\s`'\"]+", re.IGNORECASE)


class ErrorReader(BufferingReader):
    """Reads a response whose status is not 2xx."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers
        super().__init__(MAX_ERROR_BYTES)

    def close(self) -> Answer:
        """Return the failure."""
        return Answer(failure=failure_of_response(self._status, self._headers, self._body.content))


def failure_of_response(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Return the failure of an HTTP response whose status is not 2xx. `headers` have names in lower case."""
    error = find_error(parse_first_object(body))
    if error is None:
        error = {"message": strip_html(body.decode("utf-8", "replace"))}
    return _make_failure(error, status, Where.HTTP_STATUS, wait_ms_from_headers(headers))


def failure_of_error(error: JsonObject, where: Where) -> Failure:
    """Return the failure of an error object inside a 200."""
    return _make_failure(error, _status_of(error), where, None)


def find_error(document: JsonObject | None) -> JsonObject | None:
    """Return the error that a document holds in place of an answer, or beside one; null if there is none."""
    if document is None:
        return None
    error = document.get("error")
    if isinstance(error, dict) and error:
        return error
    if isinstance(error, str) and error:
        return {"status": error, "message": as_text(document.get("error_description")) or error}
    flat = "message" in document and ("code" in document or "status" in document)
    return document if flat and "candidates" not in document else None


def _make_failure(error: JsonObject, status: int | None, where: Where, header_wait_ms: int | None) -> Failure:
    details = as_objects(error.get("details"))
    name = as_text(error.get("status"))
    reasons = [reason for detail in details if (reason := as_text(detail.get("reason")))]
    text = as_text(error.get("message"))
    quotas = [
        as_text(violation.get("quotaId")) for detail in details for violation in as_objects(detail.get("violations"))
    ]
    waits_ms = (header_wait_ms, wait_ms_from_details(details), wait_ms_from_message(text))
    wait_ms = next((wait for wait in waits_ms if wait is not None), None)
    message = sanitise(_PROJECT.sub("[project]", text[:8192]))
    codes = (safe_code(code) for code in [*reasons, name])
    return Failure(
        failure_class=_classify(status, reasons, quotas, text),
        message=message or _describe_status(status),
        where=where,
        status=status,
        provider_code=next((code for code in codes if code), None),
        param=_find_param(details),
        retry_after_ms=wait_ms,
    )


def _classify(status: int | None, reasons: list[str], quotas: list[str], text: str) -> FailureClass:
    by_reason = next((known for reason in reasons if (known := _BY_REASON.get(reason))), None)
    if by_reason is not None and (status is None or 400 <= status < 500):
        return by_reason
    if status == 429 and any("perday" in quota.lower() for quota in quotas):
        # A daily quota does not reset within any wait that a caller would accept.
        return C.QUOTA
    if status in (None, 400, 413, 500) and is_context_overflow(text[:4000]):
        return C.CONTEXT_LENGTH
    for pattern, failure_class, statuses in _BY_TEXT:
        if status in statuses and pattern.search(text[:4000]):
            return failure_class
    if status is None:
        return C.SERVER
    found = _BY_STATUS.get(status) or (C.BAD_REQUEST if 400 <= status < 500 or status == 501 else C.SERVER)
    return without_blame(found, text)


def _status_of(error: JsonObject) -> int | None:
    code = error.get("code")
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    return _STATUS_OF_NAME.get(as_text(error.get("status")))


def _find_param(details: list[JsonObject]) -> str | None:
    """Return the field that `BadRequest.fieldViolations` names."""
    for detail in details:
        for violation in as_objects(detail.get("fieldViolations")):
            field = sanitise(as_text(violation.get("field")))
            if field:
                return field[:100]
    return None


def _describe_status(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return f"The provider answered with a redirect ({status}); set the endpoint's base URL to the final address."
    what = "an error" if status is None else f"status {status}"
    return f"The provider answered with {what} and no explanation."
