"""From a provider's error (status, body and headers) to a `Failure`, and the failures that the gateway detects itself.

Source of the shapes: recorded traffic and the providers' API references. Nothing here raises, whatever a provider
sends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.text import parse_digits
from services.provider_worker.adapters.response.error_table import classify, status_of_code
from services.provider_worker.adapters.response.finish_reason import as_finish_reason, failure_class_of_finish_reason
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, parse_first_object
from services.provider_worker.adapters.response.redaction import safe_code, sanitise, strip_html
from services.provider_worker.adapters.response.retry_after import (
    wait_ms_from_details,
    wait_ms_from_error_headers,
    wait_ms_from_headers,
    wait_ms_from_message,
)

C = FailureClass

_MAX_DEPTH = 2
"""How deeply an error may be nested in another."""

_COARSE_CLASSES: Mapping[FailureClass, str] = {
    C.AUTH: "auth",
    C.QUOTA: "rate_limit",
    C.RATE_LIMIT: "rate_limit",
    C.LIMIT: "rate_limit",
    C.OVERLOADED: "overloaded",
    C.UNAVAILABLE: "overloaded",
    C.CONTEXT_LENGTH: "context_length",
    C.CONTENT_FILTER: "content_filter",
    C.NOT_FOUND: "not_found",
    C.BAD_REQUEST: "bad_request",
    C.POLICY: "bad_request",
}


def coarse_class(failure_class: FailureClass) -> str:
    """Map `failure_class` to the eight coarser classes that recorded provider traffic is evaluated by."""
    return _COARSE_CLASSES.get(failure_class, "server")


@dataclass(slots=True)
class _ErrorDetails:
    """What an error body says."""

    status: int | None = None
    codes: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    param: str | None = None
    retry_after_ms: int | None = None


def failure_of_response(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Return the failure of an HTTP response whose status is not 2xx. `headers` have names in lower case."""
    document = parse_first_object(body)
    details = _ErrorDetails()
    if document is None:
        details.messages.append(strip_html(body.decode("utf-8", "replace")))
    else:
        _collect_details(details, find_error(document) or document, headers)
    retry_after_ms = wait_ms_from_headers(headers)
    if retry_after_ms is not None:
        details.retry_after_ms = retry_after_ms
    return _make_failure(details, status, Where.HTTP_STATUS)


def failure_of_error(error: object, where: Where, headers: Mapping[str, str]) -> Failure:
    """Return the failure of an error object, or error text, received inside a 200.

    The response's own retry headers are ignored: some providers send them with every 200.
    """
    details = _ErrorDetails()
    _collect_details(details, error, headers)
    status = details.status
    if status is None:
        status = next((known for code in details.codes if (known := status_of_code(code)) is not None), None)
    return _make_failure(details, status, where)


def find_error(document: JsonObject) -> object | None:
    """Return the error that a document holds in place of an answer, or beside one; null if there is none."""
    error = document.get("error")
    if error:
        return document if isinstance(error, str) else error
    minimax = as_object(document.get("base_resp"))
    if minimax.get("status_code"):
        return {"code": f"base_resp.{minimax['status_code']}", "message": minimax.get("status_msg")}
    if document.get("object") == "error" or document.get("success") is False:
        return document
    if "choices" not in document and ("detail" in document or "message" in document):
        return document
    says_why = (
        not document.get("choices") and not document.get("data") and (document.get("msg") or document.get("errors"))
    )
    return document if says_why else None


def find_choice_failure(choices: list[JsonObject], where: Where, headers: Mapping[str, str]) -> Failure | None:
    """Return the first failure that a choice reports, by an error object or by its finish reason; null if none does."""
    for choice in choices:
        error = choice.get("error")
        if error:
            return failure_of_error(error, where, headers)
        reason = choice.get("finish_reason")
        word = "" if reason is None else as_finish_reason(reason)
        failure_class = failure_class_of_finish_reason(word) if word else None
        if failure_class is not None:
            return make_failure(failure_class, f"The provider failed: its finish reason is {sanitise(word)!r}.", where)
    return None


def make_failure(failure_class: FailureClass, message: str, where: Where, status: int | None = None) -> Failure:
    """Build a failure that the gateway detected itself."""
    return Failure(failure_class=failure_class, message=message, where=where, status=status)


def _collect_details(details: _ErrorDetails, error: object, headers: Mapping[str, str], depth: int = 0) -> None:
    """Add what `error` says to `details`; an error of another provider that is nested in it is read as well."""
    if not isinstance(error, dict):
        details.messages.extend([error] if isinstance(error, str) else [])
        return
    for name in ("code", "type", "status", "error_code", "error_type", "reason"):
        if isinstance(error.get(name), str):
            details.codes.append(str(error[name]))
    details.codes += [
        str(each["code"]) for each in as_objects(error.get("errors")) if isinstance(each.get("code"), str)
    ]
    if details.status is None:
        details.status = next(
            (s for name in ("status_code", "status", "code") if (s := _as_error_status(error.get(name)))), None
        )
    text = find_message(error)
    if text:
        details.messages.append(text)
    if isinstance(error.get("param"), str) and details.param is None:
        details.param = str(error["param"])
    inner = as_object(error.get("innererror"))
    if isinstance(inner.get("code"), str):
        details.codes.append(str(inner["code"]))
    metadata = as_object(error.get("metadata"))
    if metadata.get("reasons") or metadata.get("flagged_input"):
        details.codes.append("moderation_blocked")
    wait_ms = wait_ms_from_error_headers(as_object(metadata.get("headers")), headers)
    details.retry_after_ms = wait_ms_from_details(as_objects(error.get("details"))) if wait_ms is None else wait_ms
    if depth < _MAX_DEPTH and "raw" in metadata:
        _collect_raw(details, metadata["raw"], headers, depth)


def _collect_raw(details: _ErrorDetails, raw: object, headers: Mapping[str, str], depth: int) -> None:
    document = parse_first_object(raw.encode("utf-8", "replace")) if isinstance(raw, str) else as_object(raw)
    if document is None:
        details.messages.append(strip_html(str(raw)))
        return
    retry_after_ms = details.retry_after_ms
    _collect_details(details, find_error(document) or document, headers, depth + 1)
    details.retry_after_ms = details.retry_after_ms if retry_after_ms is None else retry_after_ms


def find_message(error: JsonObject, depth: int = 0) -> str:
    """Return the first text under a name that messages have, also inside an object or a list under that name."""
    for name in ("message", "msg", "error", "detail", "errors"):
        value = error.get(name)
        if isinstance(value, str) and value:
            return value
        for item in as_objects(value) if depth < _MAX_DEPTH else []:
            text = find_message(item, depth + 1)
            if text:
                return text
    return ""


def _as_error_status(value: object) -> int | None:
    if isinstance(value, str):
        value = parse_digits(value, max_digits=3)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 400 <= value <= 599 else None


def _make_failure(details: _ErrorDetails, status: int | None, where: Where) -> Failure:
    # The innermost message is that of the provider that found the fault; gateways in front of it add little.
    message = sanitise(next((text for text in reversed(details.messages) if text.strip()), ""))
    return Failure(
        failure_class=classify(status, details.codes, " ".join(details.messages)),
        message=message or _describe_status(status),
        where=where,
        status=status,
        provider_code=next(
            (code for text in details.codes if not _as_error_status(text) and (code := safe_code(text))), None
        ),
        param=sanitise(details.param)[:100] if details.param else None,
        retry_after_ms=wait_ms_from_message(" ".join(details.messages))
        if details.retry_after_ms is None
        else details.retry_after_ms,
    )


def _describe_status(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return f"The provider answered with a redirect ({status}); set the endpoint's base URL to the final address."
    what = "an error" if status is None else f"status {status}"
    return f"The provider answered with {what} and no explanation."


RESPONSE_TOO_LARGE = "The provider's response exceeds the gateway's limit of 32 MiB."


RESPONSE_TOO_DEEP = "The provider's response is nested too deeply."


EMPTY_RESPONSE = "The provider's response is empty."


NOT_A_STREAM = "The provider answered a streaming request with a body that is not an event stream."


TRUNCATED = "The provider's response ended before it was complete."


TRUNCATED_EVENT = "The provider's stream ended in the middle of an event."


EVENT_TOO_LARGE = "The provider sent a stream event larger than 1 MiB."


EVENT_TOO_DEEP = "The provider sent a stream event that is nested too deeply."


EVENT_NOT_AN_OBJECT = "The provider sent a stream event that is not a JSON object."


def invalid_response(message: str) -> Failure:
    """Return the failure of an answer under status 200 that is invalid for `message`; another provider may do better."""
    return make_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY)


def truncated_stream() -> Failure:
    """Return the failure of a stream that ended early."""
    return make_failure(FailureClass.TRUNCATED, TRUNCATED, Where.MID_STREAM)


def failure_of_invalid_body(content: bytes) -> Failure:
    """Return the failure of a body under status 200 that is not a JSON object."""
    content = content.strip()
    if content[:1] == b"{":
        return make_failure(FailureClass.TRUNCATED, TRUNCATED, Where.HTTP_200_BODY)
    if not content:
        return invalid_response("The provider answered with status 200 and an empty body.")
    return invalid_response("The provider's response is not a JSON object; check that the base URL is that of its API.")
