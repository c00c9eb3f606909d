"""Checks of the URLs of a provider that an operator adds. Pure."""

from urllib.parse import urlsplit

from keyferry.contracts.addresses import AddressPolicy, check_reachable
from keyferry.contracts.origin import ForbiddenUrl
from keyferry.contracts.service import ErrorCode
from services.router.catalog.editing import RefusedChange
from services.router.endpoints.validation import InvalidEndpoint, parse_base_url


def check_base_url(text: str, policy: AddressPolicy) -> str:
    """Return the base URL of a provider without a slash at its end. Raises RefusedChange for one that is never called."""
    try:
        url = parse_base_url(text)
        check_reachable(url, policy)
    except InvalidEndpoint as error:
        raise RefusedChange(ErrorCode.INVALID, str(error)) from None
    except ForbiddenUrl as error:
        raise RefusedChange(ErrorCode.INVALID, f"the base URL cannot be used: {error.reason}") from None
    if not url.isascii() or "{" in url or "}" in url:
        raise RefusedChange(ErrorCode.INVALID, "the base URL must be plain ASCII without braces")
    return url


def check_link(text: str | None) -> None:
    """Check a link that is shown to people. Raises RefusedChange."""
    if text is None:
        return
    try:
        parts = urlsplit(text)
        named = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and parts.password is None
    except ValueError:
        named = False
    if not named or not text.isascii() or not text.isprintable() or " " in text:
        raise RefusedChange(ErrorCode.INVALID, "a link must be an https:// URL in plain ASCII that names a host")
