"""What an identity provider says of itself (OpenID Connect Discovery 1.0), and how its answers are explained to people. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from keyferry.contracts.text import clean

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MAX_URL_CHARACTERS = 2000
_MAX_REASON_CHARACTERS = 300


class ProviderProblem(Exception):
    """The identity provider cannot be used now, or answers with something else than it should; the message says what."""


class ProviderRefusal(Exception):
    """The identity provider refuses: its `error` (RFC 6749, section 5.2), and its explanation, cleaned."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}" if description else error)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class ProviderDocument:
    """The endpoints of a provider. Those that it may lack are None."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None = None
    device_authorization_endpoint: str | None = None


def is_allowed_url(url: str) -> bool:
    """Return whether the console may send a request to `url`, or a browser: https, or http on this machine."""
    if len(url) > _MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.password is not None or parts.fragment or "\\" in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


def read_document(document: Mapping[str, object], issuer: str) -> ProviderDocument:
    """Return the endpoints in a discovery document. Raises ProviderProblem if it is another issuer's, or lacks one."""
    if document.get("issuer") != issuer:
        raise ProviderProblem(
            "the provider's own name (`issuer`) is another one than KEYFERRY_OIDC_ISSUER: both must be equal, letter by letter"
        )
    needed = {
        name: _endpoint(document, name, issuer) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    }
    missing = [name for name, url in needed.items() if url is None]
    if missing:
        raise ProviderProblem(f"the provider's document has no usable {', '.join(missing)}: each must be an https URL")
    return ProviderDocument(
        issuer=issuer,
        authorization_endpoint=needed["authorization_endpoint"] or "",
        token_endpoint=needed["token_endpoint"] or "",
        jwks_uri=needed["jwks_uri"] or "",
        end_session_endpoint=_endpoint(document, "end_session_endpoint", issuer),
        device_authorization_endpoint=_endpoint(document, "device_authorization_endpoint", issuer),
    )


def read_refusal(answer: Mapping[str, object]) -> ProviderRefusal:
    """Return the error in a provider's answer, as text that may be shown."""
    error, description = answer.get("error"), answer.get("error_description")
    return ProviderRefusal(
        clean(error, 64) if isinstance(error, str) else "unknown_error",
        clean(description, _MAX_REASON_CHARACTERS) if isinstance(description, str) else "",
    )


def _endpoint(document: Mapping[str, object], name: str, issuer: str) -> str | None:
    """Return an endpoint; None for one on the console's own machine, unless the issuer is there, too: it is none of its own."""
    url = document.get(name)
    if not isinstance(url, str) or not is_allowed_url(url):
        return None
    return url if _is_here(issuer) or not _is_here(url) else None


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK
