"""The codes of invitations: who has one, and the address that it was sent to, becomes a member.

A code is `kfi_`, 40 base62 characters (238 random bits) and six more that are a checksum, like a client token's. Only its SHA-256
is sent and stored: so many random bits need no slow hash.
"""

import hashlib
import re
import secrets

from keyferry.contracts.client_token import ALPHABET, checksum
from keyferry.contracts.secret import Secret

PREFIX = "kfi_"
_RANDOM_LENGTH = 40
_CHECKSUM_LENGTH = 6
_WHOLE = re.compile(r"kfi_[0-9A-Za-z]{46}", re.ASCII)


def mint() -> Secret:
    """Return a new code."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(_RANDOM_LENGTH))
    return Secret(body + checksum(body))


def is_well_formed(text: str) -> bool:
    """Return whether `text` has the form and the checksum of a code."""
    return _WHOLE.fullmatch(text) is not None and text[-_CHECKSUM_LENGTH:] == checksum(text[:-_CHECKSUM_LENGTH])


def digest(code: str) -> str:
    """Return the SHA-256 of a code as 64 hex digits."""
    return hashlib.sha256(code.encode()).hexdigest()
