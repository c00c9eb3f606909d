"""HPKE (RFC 9180) in base mode, single-shot: the one place that names algorithms.

Base mode seals and says nothing of who did: where that matters, the sender signs (`keyferry.sealing.delivery`). The suite's id
is carried in every message and bound into every seal, so that another suite can become the default without a flag day.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

X25519_AES_256_GCM = "x25519-hkdf-sha256-aes-256-gcm"
"""DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
DEFAULT_SUITE = X25519_AES_256_GCM

_SUITES = {X25519_AES_256_GCM: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)}


class UnknownSuite(ValueError):
    """A suite that this build does not have: the other side is newer or older."""

    def __init__(self, suite: str) -> None:
        super().__init__(f"this build does not know the sealing suite {suite[:64]!r}; it has {', '.join(_SUITES)}")


class CannotOpen(ValueError):
    """Sealed to another key, for another purpose, or changed on the way; which of them cannot be told."""


def known(suite: str) -> None:
    """Nothing when `suite` is one of ours. Raises UnknownSuite."""
    if suite not in _SUITES:
        raise UnknownSuite(suite)


def seal(suite: str, public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
    """The encapsulated key and the ciphertext, one behind the other. Raises UnknownSuite, and ValueError for a bad public key."""
    known(suite)
    return _SUITES[suite].encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info=info)


def unseal(suite: str, private_key: X25519PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """What was sealed to `private_key` with the same `info`. Raises UnknownSuite and CannotOpen."""
    known(suite)
    try:
        return _SUITES[suite].decrypt(sealed, private_key, info=info)
    except (InvalidTag, ValueError):  # ValueError: too short, or a public key that no honest sender makes
        raise CannotOpen(
            "it does not open: sealed to another key or for another purpose, or changed on the way"
        ) from None
