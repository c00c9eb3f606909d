"""How far a tenant's audit chain has been verified, signed so that nobody can move it forward. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keyferry.contracts.audit import AuditHead
from keyferry.sealing.framing import frame, from_base64, to_base64

_CHECKPOINT = "keyferry/audit/checkpoint/v1"


@dataclass(frozen=True, slots=True)
class AuditCheckpoint:
    """The entry up to which a chain was found unchanged: later verifications may begin with it."""

    tenant: str
    position: int
    digest: str
    full_at: datetime
    """When the chain was last verified from its first entry."""
    signature: str = ""


def sign_checkpoint(checkpoint: AuditCheckpoint, key: Ed25519PrivateKey) -> AuditCheckpoint:
    """Return the checkpoint with its signature."""
    return replace(checkpoint, signature=to_base64(key.sign(_signed_bytes(checkpoint))))


def is_checkpoint_signed(checkpoint: AuditCheckpoint, key: Ed25519PublicKey) -> bool:
    """Return whether the signature of the checkpoint is valid."""
    try:
        key.verify(from_base64(checkpoint.signature), _signed_bytes(checkpoint))
    except (InvalidSignature, ValueError):
        return False
    return True


def next_checkpoint(head: AuditHead | None, start: AuditCheckpoint | None, now: datetime) -> AuditCheckpoint | None:
    """Return the unsigned checkpoint after a verification without faults; None if there is none, or it stays as it is.

    It is the signed head, since entries behind that are not signed yet. `start` is where the verification began; None if at the
    first entry.
    """
    if head is None or head.position == 0 or (start is not None and head.position <= start.position):
        return None
    return AuditCheckpoint(head.tenant, head.position, head.digest, now if start is None else start.full_at)


def _signed_bytes(checkpoint: AuditCheckpoint) -> bytes:
    full_at = checkpoint.full_at.astimezone(UTC).isoformat()
    return frame(_CHECKPOINT, checkpoint.tenant, checkpoint.position, checkpoint.digest, full_at)
