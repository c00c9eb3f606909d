"""How a call to a provider can fail, distinguished by whether the request was sent and whether a response began.

The messages may be shown to a tenant: they name the origin at most, never a path, query, header or resolved address. Pure.
"""

from enum import StrEnum


class NotSentReason(StrEnum):
    """Why a request was not sent."""

    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    NAME = "name"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    POOL = "pool"


class UpstreamError(Exception):
    """One of NotSent, NoResponse and IncompleteResponse."""


class NotSent(UpstreamError):
    """No request has reached the provider, so nothing can have been charged."""

    def __init__(self, message: str, reason: NotSentReason) -> None:
        super().__init__(message)
        self.reason = reason


class NoResponse(UpstreamError):
    """The request may have reached the provider and no response began: it may have been charged."""

    def __init__(self, origin: str, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(f"{origin} took the request and did not answer: {detail}")
        self.timed_out = timed_out


class IncompleteResponse(UpstreamError):
    """The response began and did not end as it should, or was too large to be read."""

    def __init__(self, origin: str, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(f"the answer of {origin} broke off: {detail}")
        self.timed_out = timed_out
