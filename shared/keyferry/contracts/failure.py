"""The failures of a request, as a closed set that fallback, HTTP statuses, health and the ledger branch on. Pure."""

from enum import StrEnum

from keyferry.contracts.envelope import Message
from keyferry.contracts.text import Count, Explanation, Reported


class FailureClass(StrEnum):
    """Why an attempt or a request failed.

    The first group are failures of providers, the second failures of the gateway itself.
    """

    AUTH = "auth"
    """The provider does not accept the key. The only class that may invalidate a key."""
    QUOTA = "quota"
    """The key's account has no balance or quota left; waiting does not help."""
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    TIMEOUT = "timeout"
    SERVER = "server"
    TRUNCATED = "truncated"
    """The answer stopped without an end marker from the provider."""
    UNREACHABLE = "unreachable"
    """No connection: the request was not sent, so nothing was charged."""

    POLICY = "policy"
    """Policies exclude every candidate."""
    LIMIT = "limit"
    """A limit of the gateway is reached."""
    UNAVAILABLE = "unavailable"
    """The gateway has no process for the work at the moment."""
    EXPIRED = "expired"
    """The request's deadline passed before the work was done."""
    CANCELLED = "cancelled"
    """The caller disconnected."""
    INDETERMINATE = "indeterminate"
    """A worker died between sending the request and learning the result: the provider may have charged."""
    INTERNAL = "internal"
    """A defect of the gateway."""


class Where(StrEnum):
    """The point at which a failure occurred."""

    GATEWAY = "gateway"
    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"
    HTTP_STATUS = "http_status"
    HTTP_200_BODY = "http_200_body"
    MID_STREAM = "mid_stream"


class Failure(Message):
    """One failure, suitable for the tenant: it contains no key, organisation id or internal address."""

    failure_class: FailureClass
    message: Explanation
    where: Where = Where.GATEWAY
    status: Count | None = None
    """The provider's own status, even if it arrived inside a 200."""
    provider_code: Reported | None = None
    param: Reported | None = None
    retry_after_ms: Count | None = None
