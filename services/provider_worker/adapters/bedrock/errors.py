"""Bedrock's errors: from exception names, statuses and messages to failure classes.

The exception's name is in the header `x-amzn-errortype`, followed by a colon and an address; the body is only a
message. In a stream it is in the frame's header `:exception-type`. Source of the names and statuses: the AWS API
references of Converse, ConverseStream and InvokeModel, "Common error types", and recorded traffic.
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

_BY_NAME: Mapping[str, tuple[FailureClass, int]] = {
    "accessdeniedexception": (C.AUTH, 403),
    "unrecognizedclientexception": (C.AUTH, 403),
    "invalidclienttokenid": (C.AUTH, 403),
    "invalidsignatureexception": (C.AUTH, 403),
    "signaturedoesnotmatch": (C.AUTH, 403),
    "incompletesignature": (C.AUTH, 400),
    "incompletesignatureexception": (C.AUTH, 400),
    "missingauthenticationtoken": (C.AUTH, 403),
    "missingauthenticationtokenexception": (C.AUTH, 403),
    "expiredtoken": (C.AUTH, 403),
    "expiredtokenexception": (C.AUTH, 403),
    "requestexpired": (C.AUTH, 400),
    "notauthorized": (C.AUTH, 400),
    "optinrequired": (C.AUTH, 403),
    "throttlingexception": (C.RATE_LIMIT, 429),
    "toomanyrequestsexception": (C.RATE_LIMIT, 429),
    "servicequotaexceededexception": (C.QUOTA, 400),
    "modelnotreadyexception": (C.OVERLOADED, 429),
    "serviceunavailable": (C.OVERLOADED, 503),
    "serviceunavailableexception": (C.OVERLOADED, 503),
    "modeltimeoutexception": (C.TIMEOUT, 408),
    "modelerrorexception": (C.SERVER, 424),
    "modelstreamerrorexception": (C.SERVER, 424),
    "internalfailure": (C.SERVER, 500),
    "internalserverexception": (C.SERVER, 500),
    "resourcenotfoundexception": (C.NOT_FOUND, 404),
    "validationexception": (C.BAD_REQUEST, 400),
    "validationerror": (C.BAD_REQUEST, 400),
}
"""Exception name in lower case -> class, and the status that it stands for inside a 200."""

_BY_STATUS: Mapping[int, FailureClass] = {
    401: C.AUTH,
    402: C.QUOTA,
    403: C.AUTH,
    404: C.NOT_FOUND,
    408: C.TIMEOUT,
    410: C.NOT_FOUND,
    413: C.CONTEXT_LENGTH,
    424: C.SERVER,
    429: C.RATE_LIMIT,
    503: C.OVERLOADED,
    504: C.TIMEOUT,
    529: C.OVERLOADED,
}

_BY_TEXT: tuple[tuple[re.Pattern[str], FailureClass], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure_class)
    for pattern, failure_class in (
        ((r"model (?:identifier|id)\b.{0,200}\bis invalid|could not resolve the foundation model"
         r"|on-demand throughput isn.t supported|access to the model|end of its life"
         r"|model (?:\S+ )?is not (?:available|supported)"),
         C.NOT_FOUND),
        (r"content filter(?:ing)? policy|blocked by (?:our )?content filter|responsible ai polic", C.CONTENT_FILTER),
        (r"payment instrument", C.QUOTA),
    )
)  # fmt: skip
_REFINABLE: Mapping[FailureClass, frozenset[FailureClass]] = {
    C.BAD_REQUEST: frozenset({C.NOT_FOUND, C.CONTEXT_LENGTH, C.CONTENT_FILTER}),
    # A key without access to one model is not invalid: only the class `auth` disables a key.
    C.AUTH: frozenset({C.NOT_FOUND, C.QUOTA}),
    C.SERVER: frozenset({C.CONTEXT_LENGTH}),
}
"""The classes that a message may refine the class of a name or status to."""


def failure_of_response(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Return the failure of an HTTP response whose status is not 2xx. `headers` have names in lower case."""
    document = parse_leading_object(body)
    name = _strip_name(headers.get("x-amzn-errortype", ""))
    if document is None:
        message = strip_html(body.decode("utf-8", "replace"))
    else:
        name = name or _strip_name(as_text(document.get("__type")) or as_text(document.get("code")))
        message = _find_message(document) or find_message(document)
    known = _BY_NAME.get(name.lower())
    failure_class = known[0] if known else _class_of_status(status)
    return _make_failure(failure_class, name, message, Where.HTTP_STATUS, status, wait_ms_from_headers(headers))


def failure_of_exception(name: str, payload: bytes, where: Where) -> Failure:
    """Return the failure of an exception frame, or an error frame, of an event stream under status 200."""
    document = parse_leading_object(payload) or {}
    known = _BY_NAME.get(_strip_name(name).lower())
    original = document.get("originalStatusCode")
    status = known[1] if known else None
    failure_class = known[0] if known else C.SERVER
    if isinstance(original, int) and not isinstance(original, bool) and 400 <= original <= 599:
        status = original
    return _make_failure(failure_class, _strip_name(name), _find_message(document), where, status, None)


def failure_of_document(document: JsonObject, where: Where) -> Failure | None:
    """Return the failure that a document under status 200 holds in place of an answer; null if there is none."""
    name = _strip_name(as_text(document.get("__type")))
    if not name and not _find_message(document):
        return None
    known = _BY_NAME.get(name.lower())
    return _make_failure(
        known[0] if known else C.SERVER, name, _find_message(document), where, known[1] if known else None, None
    )


def _make_failure(
    failure_class: FailureClass, name: str, message: str, where: Where, status: int | None, retry_after_ms: int | None
) -> Failure:
    text = message[:4000]
    refined = next((known for pattern, known in _BY_TEXT if pattern.search(text)), None)
    if refined is None and is_context_overflow(text):
        refined = C.CONTEXT_LENGTH
    if refined is not None and refined in _REFINABLE.get(failure_class, frozenset()):
        failure_class = refined
    failure_class = without_blame(failure_class, text)
    what = f"status {status}" if where is Where.HTTP_STATUS else sanitise(name) or "an error"
    return Failure(
        failure_class=failure_class,
        message=sanitise(message) or f"The provider answered with {what} and no explanation.",
        where=where,
        status=status,
        provider_code=safe_code(name) if name else None,
        retry_after_ms=retry_after_ms,
    )


def _class_of_status(status: int) -> FailureClass:
    return _BY_STATUS.get(status) or (C.BAD_REQUEST if 400 <= status < 500 else C.SERVER)


def _strip_name(name: str) -> str:
    """Return an exception's name without the address after a colon and the namespace before a hash."""
    return name.partition(":")[0].rpartition("#")[2].strip()


def _find_message(document: JsonObject) -> str:
    for name in ("message", "Message", "originalMessage"):
        text = document.get(name)
        if isinstance(text, str) and text.strip():
            return text
    return ""
