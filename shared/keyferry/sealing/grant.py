"""Grants: the process that takes a request in signs for it, so that the vault releases keys for requests under way only.

A grant is one line, `v1:<signer>:<end>:<SHA-256 of the body>:<signature>`, over these parts, the tenant and the request id, which
every message about the request has. The signer is a NATS user. Its role decides the algorithm, and no field of the grant: ingress
and the operator sign with HMAC-SHA256 under a secret that they share with the vault only, since every request waits for it;
a tenant's program signs with Ed25519, of which the vault has the public half. The vault checks grants (`grant_check`); this part
needs no further library than the bus does.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import nkeys

from keyferry.contracts.channels import Role
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import parse_digits
from keyferry.contracts.users import role_of
from keyferry.sealing.framing import frame, from_base64, to_base64

_CONTEXT = "keyferry/grant/v1"
_VERSION = "v1"
_SEPARATOR = ":"
_PARTS = 5
KEY_BYTES = 32
DIGEST_BYTES = 32
MAX_VALID_MS = 3_600_000
"""A grant ends with its request, and after this time at the latest."""
MAX_CHARACTERS = 300
HMAC_ROLES = (Role.INGRESS, Role.OPERATOR)


class MalformedGrant(ValueError):
    """A text that is no grant. The message may be shown; it repeats no part of the text."""


class UnusableGrantKey(ValueError):
    """A key or a user that cannot sign grants. The message may be shown."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The parts of a grant's line; nothing is checked yet."""

    signer: str
    end_unix_ms: int
    body_sha256: bytes
    signature: bytes

    def covers(self, body: bytes) -> bool:
        """Return whether the grant is for a request with this body."""
        return hmac.compare_digest(self.body_sha256, hashlib.sha256(body).digest())

    def signed_bytes(self, tenant: str, request_id: str) -> bytes:
        """Return what the signature has to be of, for a request of `tenant`."""
        return signed_bytes(self.signer, tenant, request_id, self.body_sha256, self.end_unix_ms)


class GrantSigner:
    """Signs for requests as one NATS user."""

    __slots__ = ("__sign", "signer")

    def __init__(self, signer: str, sign: Callable[[bytes], bytes]) -> None:
        self.signer = signer
        self.__sign = sign

    def sign(self, tenant: str, request_id: str, body: bytes, *, now_unix_ms: int, lasts_ms: int) -> str:
        """Return the grant of a request that ends in `lasts_ms`, or in MAX_VALID_MS if that is sooner."""
        end = now_unix_ms + min(lasts_ms, MAX_VALID_MS)
        digest = hashlib.sha256(body).digest()
        signature = self.__sign(signed_bytes(self.signer, tenant, request_id, digest, end))
        return _SEPARATOR.join((_VERSION, self.signer, str(end), to_base64(digest), to_base64(signature)))

    def __repr__(self) -> str:
        return f"GrantSigner({self.signer})"


def signer_of(user: str, key: Secret) -> GrantSigner:
    """Return what signs as a NATS user, with the 32 bytes in base64url of its file. Raises UnusableGrantKey."""
    try:
        raw, role = from_base64(key.reveal()), role_of(user)
    except ValueError as error:
        raise UnusableGrantKey(f"it holds no key that signs grants: {error}") from None
    if len(raw) != KEY_BYTES:
        raise UnusableGrantKey(f"the key that signs grants has {len(raw)} bytes and not {KEY_BYTES}")
    if role is Role.INTERNAL_CLIENT:
        seed = bytearray(nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER))
        return GrantSigner(user, nkeys.from_seed(seed).sign)
    if role not in HMAC_ROLES:
        raise UnusableGrantKey(f"{user} takes no requests in, and signs no grants")
    return GrantSigner(user, lambda data: hmac_of(raw, data))


def hmac_of(key: bytes, data: bytes) -> bytes:
    """Return the HMAC-SHA256 with which ingress and the operator sign."""
    return hmac.digest(key, data, "sha256")


def parse_grant(text: str) -> Grant:
    """Return the parts of a grant's line, which has exactly one form. Raises MalformedGrant."""
    if len(text) > MAX_CHARACTERS:
        raise MalformedGrant(f"a grant has at most {MAX_CHARACTERS} characters")
    parts = text.split(_SEPARATOR)
    if len(parts) != _PARTS or parts[0] != _VERSION:
        raise MalformedGrant(f"a grant is one line of {_PARTS} parts that begins with {_VERSION}")
    _, signer, end, digest, signature = parts
    end_unix_ms = parse_digits(end)
    if end_unix_ms is None or str(end_unix_ms) != end:
        raise MalformedGrant("the end of a grant is a number of milliseconds")
    try:
        grant = Grant(signer, end_unix_ms, from_base64(digest), from_base64(signature))
    except ValueError as error:
        raise MalformedGrant(f"a part of the grant cannot be read: {error}") from None
    if len(grant.body_sha256) != DIGEST_BYTES:
        raise MalformedGrant(f"the digest in a grant has {DIGEST_BYTES} bytes")
    return grant


def signed_bytes(signer: str, tenant: str, request_id: str, body_sha256: bytes, end_unix_ms: int) -> bytes:
    """Return what is signed: every part with its length, so that no other parts give the same bytes."""
    return frame(_CONTEXT, signer, tenant, request_id, body_sha256, end_unix_ms)
