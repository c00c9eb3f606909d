"""Session tokens: what somebody who has signed in presents to the management API, in a cookie or as a bearer token.

A token is `kfs_`, 40 base62 characters (238 random bits) and six more that are a CRC-32 over everything before them. The console
makes it, and the directory stores only its SHA-256: 238 random bits need neither a slow hash nor a pepper.
"""

import hashlib
import re
import secrets

from keyferry.contracts.client_token import ALPHABET, CHECKSUM_LENGTH, RANDOM_LENGTH, checksum
from keyferry.contracts.own_credentials import SESSION_PREFIX
from keyferry.contracts.secret import Secret

PATTERN = r"\bkfs_[0-9A-Za-z]{46}\b"
_WHOLE = re.compile(r"kfs_[0-9A-Za-z]{46}", re.ASCII)


def mint() -> Secret:
    """Return a new session token."""
    body = SESSION_PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return Secret(body + checksum(body))


def is_well_formed(text: str) -> bool:
    """Return whether `text` has the form and the checksum of a session token."""
    return _WHOLE.fullmatch(text) is not None and text[-CHECKSUM_LENGTH:] == checksum(text[:-CHECKSUM_LENGTH])


def digest(token: str) -> str:
    """Return the SHA-256 of a session token as 64 hex digits, which the directory stores."""
    return hashlib.sha256(token.encode()).hexdigest()
