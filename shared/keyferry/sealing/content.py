"""Stored content on its way to the ledger, sealed to the ledger's content key by the worker that has it.

Tenant and attempt are bound into the seal, so that nobody on the bus can have it stored for another tenant.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.sealing.framing import frame, from_base64, to_base64
from keyferry.sealing.suite import DEFAULT_SUITE, CannotOpen, seal, unseal

_CONTEXT = "keyferry/content/v1"


def seal_content(public_key: bytes, tenant: str, attempt_id: str, content: bytes) -> str:
    """Seal content to the raw public key, for this tenant and attempt only. Raises ValueError for a bad public key."""
    info = frame(_CONTEXT, DEFAULT_SUITE, tenant, attempt_id)
    return to_base64(seal(DEFAULT_SUITE, public_key, info, content))


def open_content(private_key: X25519PrivateKey, tenant: str, attempt_id: str, sealed: str) -> bytes:
    """Return what was sealed for exactly this tenant and attempt. Raises CannotOpen."""
    info = frame(_CONTEXT, DEFAULT_SUITE, tenant, attempt_id)
    try:
        raw = from_base64(sealed)
    except ValueError:
        raise CannotOpen("the sealed content is not base64url") from None
    return unseal(DEFAULT_SUITE, private_key, info, raw)
