"""Injective encoding of parts as bytes to sign or bind: two different lists of parts never give the same bytes. Pure.

Each part is prefixed with its length in four bytes, so `("ab", "c")` and `("a", "bc")` differ. The first part is the context: it
names the purpose of the bytes, so that a signature for one purpose is not valid for another.
"""

import base64
import binascii

_LENGTH_BYTES = 4


def frame(context: str, *parts: bytes | str | int) -> bytes:
    """Return `context` and the parts, each length-prefixed; text as UTF-8, numbers in decimal."""
    encoded = (_encode(part) for part in (context, *parts))
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in encoded)


def _encode(part: bytes | str | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def to_base64(data: bytes) -> str:
    """Encode as base64url without padding, as in every message."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64(text: str) -> bytes:
    """Decode canonical base64url without padding. Raises ValueError, which repeats no part of the text."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64url without padding") from None
    if to_base64(data) != text:
        raise ValueError("it is not base64url in its canonical form")
    return data
