"""Where a request carries its credential: `Authorization: Bearer`, or a header of SDKs that have their own. Pure."""

from keyferry.runtime.http.asgi import Scope

_KEY_HEADERS = (b"x-api-key", b"api-key")
"""Sent by Anthropic's SDKs and by clients of Azure."""


class ConflictingCredentials(Exception):
    """The request has several credentials that differ; the message is for the client."""


def read_credential(scope: Scope) -> str | None:
    """Return the request's credential in the form of an Authorization header, or None.

    Raises ConflictingCredentials rather than choosing one: a proxy in front could have checked the other.
    """
    found = {
        value.strip() if name == b"authorization" else b"Bearer " + value.strip()
        for name, value in scope["headers"]
        if name == b"authorization" or (name in _KEY_HEADERS and value.strip())
    }
    found.discard(b"")
    if len({_normalize(value) for value in found}) > 1:
        raise ConflictingCredentials(
            "the request has different credentials in its Authorization, x-api-key and api-key headers: send one of them"
        )
    return found.pop().decode("latin-1") if found else None


def _normalize(value: bytes) -> bytes:
    scheme, _, text = value.partition(b" ")
    return scheme.lower() + b" " + text.strip()
