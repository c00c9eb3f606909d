"""The audit as one hash chain per tenant: the digest of every entry covers the entry before it.

A digest is SHA-256 over the framed position, the previous digest, and the event as JSON with sorted keys. The head of each chain
is signed and stored apart from the table, so that truncation is detected as well as a changed, removed or moved entry. Pure.
"""

import hashlib
from collections.abc import Iterable

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keyferry.contracts.audit import AuditEntry, AuditEvent, AuditHead
from keyferry.sealing.framing import frame, from_base64, to_base64
from services.usage_ledger.audit_checkpoint import AuditCheckpoint

BEGINNING = "0" * 64
"""The previous digest of the first entry."""
_ENTRY = "keyferry/audit/entry/v1"
_HEAD = "keyferry/audit/head/v1"


def digest(position: int, previous: str, event: AuditEvent) -> str:
    """Return the digest of an entry, in hex."""
    stored = event.model_dump(mode="json")
    if event.source is None:
        # Digests of earlier builds, which knew no sources, are those of the same event without one.
        del stored["source"]
    document = orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(frame(_ENTRY, position, previous, document)).hexdigest()


def sign(head: AuditHead, key: Ed25519PrivateKey) -> AuditHead:
    """Return the head with its signature."""
    return head.model_copy(update={"signature": to_base64(key.sign(_signed_bytes(head)))})


def is_signed(head: AuditHead, key: Ed25519PublicKey) -> bool:
    """Return whether the signature of the head is valid."""
    try:
        key.verify(from_base64(head.signature), _signed_bytes(head))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed_bytes(head: AuditHead) -> bytes:
    return frame(_HEAD, head.tenant, head.position, head.digest, head.at.isoformat())


class ChainCheck:
    """Verifies one tenant's chain. Call `feed` or `check` with entries in the order of their positions, then `close`.

    With `start`, whose signature is valid, the first entry is the one that `start` names.
    """

    def __init__(self, tenant: str, head: AuditHead | None, start: AuditCheckpoint | None = None) -> None:
        self._tenant = tenant
        self._head = head
        self._start = start
        self._previous = None if start is not None else BEGINNING
        self._position = 0 if start is None else start.position - 1
        self.faults: list[str] = []

    def feed(self, entries: Iterable[AuditEntry]) -> None:
        """Check the next entries."""
        for entry in entries:
            self.check(entry.position, entry)

    def close(self, key: Ed25519PublicKey) -> None:
        """Compare the end of the table's chain with the signed head."""
        head, start = self._head, self._start
        if start is not None and self._position < start.position:
            self._fault(f"cut off: entry {start.position} is gone, which was verified")
            return
        if head is None:
            if self._position:
                self._fault("its signed head is missing")
            return
        if head.tenant != self._tenant or not is_signed(head, key):
            self._fault("its signed head was forged")
        elif self._position < head.position:
            self._fault(f"cut off: it ends at {self._position}, and {head.position} was signed")

    def check(self, position: int, entry: AuditEntry | None) -> None:
        """Check the next entry; None stands for one that cannot be read."""
        if position != self._position + 1:
            self._fault(f"entries are missing or out of order between {self._position} and {position}")
        if entry is None:
            self._fault(f"entry {position} was changed: it cannot be read")
            self._position, self._previous = position, None
            return
        if self._previous is not None and entry.previous != self._previous:
            self._fault(f"entry {entry.position} does not follow the one before it")
        computed = digest(entry.position, entry.previous, entry.event)
        if computed != entry.digest or entry.event.tenant != self._tenant:
            self._fault(f"entry {entry.position} was changed")
        if self._start is not None and position == self._start.position and entry.digest != self._start.digest:
            self._fault(f"entry {position} is not the one that was verified")
        if self._head is not None and entry.position == self._head.position and entry.digest != self._head.digest:
            self._fault(f"entry {entry.position} is not the one that was signed")
        self._position, self._previous = entry.position, entry.digest

    def _fault(self, detail: str) -> None:
        self.faults.append(f"{self._tenant}: {detail}")
