"""Where a request carries its credential: `Authorization: Bearer`, or a header of SDKs that have their own. Pure."""

from collections.abc import Collection

from keyferry.runtime.http.asgi import Scope

KEY_HEADERS = (b"x-api-key", b"api-key")
"""Sent by Anthropic's SDKs and by clients of Azure."""


class ConflictingCredentials(Exception):
    """The request has several credentials that differ; the message is for the client."""


def read_credential(scope: Scope, key_headers: Collection[bytes]) -> str | None:
    """Return the request's credential in the form of an Authorization header, or None.

    It is in an Authorization header or in one of `key_headers` (lower case).

    Raises ConflictingCredentials rather than choosing one: a proxy in front could have checked the other.
    """
    found = {
        value.strip() if name == b"authorization" else b"Bearer " + value.strip()
        for name, value in scope["headers"]
        if name == b"authorization" or (name in key_headers and value.strip())
    }
    found.discard(b"")
    if len({_normalize(value) for value in found}) > 1:
        raise ConflictingCredentials(
            f"the request has different credentials in its {_list(key_headers)}: send one of them"
        )
    return found.pop().decode("latin-1") if found else None


def _list(key_headers: Collection[bytes]) -> str:
    *first, last = ["Authorization", *(name.decode() for name in key_headers)]
    return f"{', '.join(first)} and {last} headers" if first else f"{last} headers"


def _normalize(value: bytes) -> bytes:
    scheme, _, text = value.partition(b" ")
    return scheme.lower() + b" " + text.strip()
