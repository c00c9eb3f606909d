"""The codes of invitations: who has one, and the address that it was sent to, becomes a member.

A code is `kfi_`, 40 base62 characters (238 random bits) and six more that are a checksum, like a client token's. Only its SHA-256
is sent and stored: so many random bits need no slow hash.
"""

import re

from keyferry.contracts.client_token import digest as digest
from keyferry.contracts.client_token import has_checksum, mint_after
from keyferry.contracts.secret import Secret

PREFIX = "kfi_"
_WHOLE = re.compile(r"kfi_[0-9A-Za-z]{46}", re.ASCII)


def mint() -> Secret:
    """Return a new code."""
    return mint_after(PREFIX)


def is_well_formed(text: str) -> bool:
    """Return whether `text` has the form and the checksum of a code."""
    return _WHOLE.fullmatch(text) is not None and has_checksum(text)
