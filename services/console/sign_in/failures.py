"""Why somebody is not signed in: the closed list of codes with which a browser is sent to the page's /sign-in.

A code says nothing that comes from outside. What the identity provider has said is in the console's log. Pure.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlencode

from keyferry.contracts.service import ErrorCode

SIGN_IN_PATH = "/sign-in"
"""The page's address for people who are not signed in: `/sign-in?error=CODE&return_to=/path`, both optional."""


class SignInFailure(StrEnum):
    """The codes. Each has a text in `MESSAGES`, and the page its own for the same."""

    NOT_CONFIGURED = "not_configured"
    INVALID_LINK = "invalid_link"
    EXPIRED_LINK = "expired_link"
    USED_LINK = "used_link"
    OTHER_BROWSER = "other_browser"
    TOO_SLOW = "too_slow"
    REFUSED = "refused"
    NOT_ACCEPTED = "not_accepted"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    UNAVAILABLE = "unavailable"


MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        SignInFailure.NOT_CONFIGURED: "Nobody can sign in with an identity provider here: none is configured.",
        SignInFailure.INVALID_LINK: (
            "This link does not sign you in: it is not complete, or of another installation. `make console` prints a new one."
        ),
        SignInFailure.EXPIRED_LINK: "This link has expired. `make console` prints a new one.",
        SignInFailure.USED_LINK: (
            "This link has been used: each one works once. If that was not you, somebody else has signed in with it."
            " `make console` prints a new one."
        ),
        SignInFailure.OTHER_BROWSER: (
            "This browser has not begun to sign in, or has begun again in another tab, or keeps no cookies. Sign in again."
        ),
        SignInFailure.TOO_SLOW: "Signing in has taken too long. Sign in again.",
        SignInFailure.REFUSED: "The identity provider has refused to sign you in. Ask those who run it.",
        SignInFailure.NOT_ACCEPTED: (
            "The answer of the identity provider is not accepted. The log of the console says why to those who run it."
        ),
        SignInFailure.PROVIDER_UNAVAILABLE: "The identity provider does not answer. Try again in a moment.",
        SignInFailure.TOO_MANY_ATTEMPTS: "Too many attempts to sign in come from your address. Wait a minute.",
        SignInFailure.UNAVAILABLE: "The console cannot sign you in now, as a part of it does not answer. Try again in a moment.",
    }
)
"""What people read."""
_BY_ERROR_CODE: Mapping[str, SignInFailure] = MappingProxyType(
    {
        "invalid_code": SignInFailure.INVALID_LINK,
        "expired_code": SignInFailure.EXPIRED_LINK,
        ErrorCode.CONFLICT.value: SignInFailure.USED_LINK,
        "cross_site_request": SignInFailure.OTHER_BROWSER,
        ErrorCode.NOT_FOUND.value: SignInFailure.INVALID_LINK,
        "rate_limit_exceeded": SignInFailure.TOO_MANY_ATTEMPTS,
    }
)
"""Code of an error = what a browser is sent to the page with; `unavailable` for all others."""


class SignInFailed(Exception):
    """A browser cannot be signed in. The message is for programs and the log: it may repeat what the provider has said."""

    def __init__(
        self,
        failure: SignInFailure,
        status: int,
        message: str,
        return_to: str | None = None,
        *,
        is_over: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.status = status
        self.return_to = return_to
        self.is_over = is_over
        """Whether the state of the sign-in, which the browser keeps, is of no more use."""


def failure_of(error_code: str) -> SignInFailure:
    """Return with what a browser is sent to the page after an error with this code."""
    return _BY_ERROR_CODE.get(error_code, SignInFailure.UNAVAILABLE)


def describe_failure(code: str) -> str | None:
    """Return the text for a code of the list, and None for anything else, which is never repeated."""
    return MESSAGES.get(code)


def failure_address(failure: SignInFailure, return_to: str | None = None) -> str:
    """Return where to send a browser. `return_to` has been checked to be a path of the console."""
    query = {"error": failure.value, **({"return_to": return_to} if return_to not in (None, "/") else {})}
    return f"{SIGN_IN_PATH}?{urlencode(query)}"
