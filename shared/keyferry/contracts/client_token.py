"""Client tokens: the credentials that callers present to the ingress.

A token is `kf_live_`, 40 base62 characters (238 random bits) and six more that are a CRC-32 over everything before them. So a
typing error is recognised without a look-up, and secret scanners recognise a token by PATTERN.

The installation stores an HMAC, under its pepper, of the token's SHA-256. The command that mints a token sends only the
SHA-256, so a token never crosses the bus; without the pepper a copy of the database is useless. 238 random bits need no slow
hash.
"""

import hashlib
import hmac
import re
import secrets
import zlib

from keyferry.contracts.secret import Secret

PREFIX = "kf_live_"
PATTERN = r"\bkf_(live|test)_[0-9A-Za-z]{46}\b"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""Base62, in the order of its digits."""
RANDOM_LENGTH = 40
CHECKSUM_LENGTH = 6
_WHOLE = re.compile(r"kf_(?:live|test)_[0-9A-Za-z]{46}", re.ASCII)


def mint() -> Secret:
    """Return a new client token."""
    return mint_after(PREFIX)


def mint_after(prefix: str) -> Secret:
    """Return a new secret: `prefix`, random digits, and the checksum of both."""
    body = prefix + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return Secret(body + checksum(body))


def is_well_formed(text: str) -> bool:
    """Return whether `text` has the form and the checksum of a client token."""
    return _WHOLE.fullmatch(text) is not None and has_checksum(text)


def has_checksum(text: str) -> bool:
    """Return whether `text` ends in the checksum of all that is before it."""
    return text[-CHECKSUM_LENGTH:] == checksum(text[:-CHECKSUM_LENGTH])


def digest(token: str) -> str:
    """Return the SHA-256 of the token as 64 hex digits, which registration carries."""
    return hashlib.sha256(token.encode()).hexdigest()


def fingerprint(token_digest: str, pepper: Secret) -> str:
    """Return the look-up key of a token's digest under the installation's pepper, as 64 hex digits."""
    return hmac.digest(pepper.reveal().encode(), bytes.fromhex(token_digest), "sha256").hex()


def checksum(body: str) -> str:
    """Return the six base62 digits of the CRC-32 of `body`."""
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, index = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[index])
    return "".join(reversed(digits))
