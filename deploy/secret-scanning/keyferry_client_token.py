"""A plugin of detect-secrets that finds Keyferry's client tokens. It needs this file and nothing else of Keyferry.

A token ends with a checksum of all before it. What has the form but another checksum is an example or a typing error, and is not
reported.
"""

import re
import zlib
from collections.abc import Generator

from detect_secrets.plugins.base import BasePlugin

_TOKEN = re.compile(r"\bkf_(?:live|test)_[0-9A-Za-z]{46}\b", re.ASCII)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM_LENGTH = 6


class KeyferryClientTokenDetector(BasePlugin):
    """Finds client tokens with a valid checksum."""

    secret_type = "Keyferry Client Token"  # noqa: S105 - the name of a kind of secret

    def analyze_string(self, string: str) -> Generator[str, None, None]:
        """Yield the tokens in a line."""
        for match in _TOKEN.finditer(string):
            if match[0].endswith(_checksum(match[0][:-_CHECKSUM_LENGTH])):
                yield match[0]


def _checksum(text: str) -> str:
    """Return the CRC-32 of a text in base 62."""
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        value, index = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[index] + digits
    return digits
