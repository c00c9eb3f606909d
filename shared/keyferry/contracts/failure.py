"""The failures of a request, as a closed set that fallback, HTTP statuses, health and the ledger branch on. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

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
    CREDIT = "credit"
    """The tenant's credits do not cover the request; waiting does not help."""
    BUDGET = "budget"
    """A budget with a hard cap does not cover the request."""
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


COUNTS_AGAINST_TARGET: Mapping[FailureClass, bool] = MappingProxyType(
    {
        FailureClass.SERVER: True,
        FailureClass.OVERLOADED: True,
        FailureClass.TIMEOUT: True,
        FailureClass.TRUNCATED: True,
        FailureClass.UNREACHABLE: True,
        FailureClass.AUTH: False,
        FailureClass.QUOTA: False,
        FailureClass.RATE_LIMIT: False,
        FailureClass.CONTEXT_LENGTH: False,
        FailureClass.CONTENT_FILTER: False,
        FailureClass.NOT_FOUND: False,
        FailureClass.BAD_REQUEST: False,
        FailureClass.POLICY: False,
        FailureClass.LIMIT: False,
        FailureClass.CREDIT: False,
        FailureClass.BUDGET: False,
        FailureClass.UNAVAILABLE: False,
        FailureClass.EXPIRED: False,
        FailureClass.CANCELLED: False,
        FailureClass.INTERNAL: False,
        # Our worker died, which ends all of its streams; their targets had no part in it.
        FailureClass.INDETERMINATE: False,
    }
)
"""Whether a failure is the doing of the provider that was called, and not of a key, a request or this gateway.

Lists every class, so that a new one needs a decision.
"""


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
    charged_earlier: bool = False
    """Whether an earlier attempt of the request may have been charged, although this one was not."""
