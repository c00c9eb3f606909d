"""How parts become bytes that are signed or bound, without two lists of parts ever becoming the same bytes.

Each part stands behind its length in four bytes, so that nothing can slide over a boundary: `("ab", "c")` and `("a", "bc")`
differ. The first part is the context: it names what the bytes are for, so that a signature over one thing is none over another.
"""

import base64
import binascii

_LENGTH_BYTES = 4


def frame(context: str, *parts: bytes | str | int) -> bytes:
    """The parts behind `context`, each with its length; text as UTF-8, numbers in decimal."""
    encoded = (_bytes_of(part) for part in (context, *parts))
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in encoded)


def _bytes_of(part: bytes | str | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def to_base64(data: bytes) -> str:
    """Base64url without padding, as in every message."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64(text: str) -> bytes:
    """The bytes behind base64url without padding, in its one canonical spelling. Raises ValueError, which repeats none of it."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64url without padding") from None
    if to_base64(data) != text:
        raise ValueError("it is not base64url in its canonical form")
    return data
