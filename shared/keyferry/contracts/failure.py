"""How a request can fail, as a closed set. Fallback, statuses, health and the ledger all branch on these and nothing else."""

from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Message


class FailureClass(StrEnum):
    """Why an attempt or a request failed.

    The first group is said by providers (or by the silence of one), the second by the gateway itself.
    """

    AUTH = "auth"
    """The provider does not accept the key. The only class that may condemn a key."""
    QUOTA = "quota"
    """The key's account has no money or allowance left; waiting does not help."""
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    TIMEOUT = "timeout"
    SERVER = "server"
    TRUNCATED = "truncated"
    """The answer stopped without the provider saying that it was over."""
    UNREACHABLE = "unreachable"
    """No connection: the request was never sent, so nothing was paid."""

    POLICY = "policy"
    """A rule forbids every candidate."""
    LIMIT = "limit"
    """A limit of the gateway's own is reached."""
    UNAVAILABLE = "unavailable"
    """The gateway has nobody to do the work just now."""
    EXPIRED = "expired"
    """The request's deadline passed before the work was done."""
    CANCELLED = "cancelled"
    """The caller went away."""
    INDETERMINATE = "indeterminate"
    """A worker died between sending the request and learning the result: the provider may have been paid."""
    INTERNAL = "internal"
    """A defect of ours."""


class Where(StrEnum):
    """At which point a failure showed."""

    GATEWAY = "gateway"
    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"
    HTTP_STATUS = "http_status"
    HTTP_200_BODY = "http_200_body"
    MID_STREAM = "mid_stream"


class Failure(Message):
    """One failure, fit to be shown to the tenant: no key, no organisation id, no address of ours."""

    failure_class: FailureClass
    message: str
    where: Where = Where.GATEWAY
    status: int | None = None
    """The provider's own status, also where it came inside a 200."""
    provider_code: str | None = None
    param: str | None = None
    retry_after_ms: int | None = Field(default=None, ge=0)
