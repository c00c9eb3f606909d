"""The audit as a chain for each tenant: every entry's digest covers the entry before it. Pure.

A digest is SHA-256 over the frame position, the digest before, and the event as JSON with sorted keys. The end of each chain is
signed and kept apart from the table, so that cutting entries off shows as well as changing, removing or moving one.
"""

import hashlib
from collections.abc import Iterable

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keyferry.contracts.audit import AuditEntry, AuditEvent, AuditHead
from keyferry.sealing.framing import frame, from_base64, to_base64

BEGINNING = "0" * 64
"""What stands before the first entry of a chain."""
_ENTRY = "keyferry/audit/entry/v1"
_HEAD = "keyferry/audit/head/v1"


def digest(position: int, previous: str, event: AuditEvent) -> str:
    """The digest of an entry, in hex."""
    document = orjson.dumps(event.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(frame(_ENTRY, position, previous, document)).hexdigest()


def sign(head: AuditHead, key: Ed25519PrivateKey) -> AuditHead:
    """The head with its signature."""
    return head.model_copy(update={"signature": to_base64(key.sign(_signed(head)))})


def is_signed(head: AuditHead, key: Ed25519PublicKey) -> bool:
    """Whether the head says what was signed."""
    try:
        key.verify(from_base64(head.signature), _signed(head))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(head: AuditHead) -> bytes:
    return frame(_HEAD, head.tenant, head.position, head.digest, head.at.isoformat())


class ChainCheck:
    """Walks one tenant's chain and notes where it breaks. Feed entries in the order of their positions, then `close`."""

    def __init__(self, tenant: str, head: AuditHead | None) -> None:
        self._tenant = tenant
        self._head = head
        self._previous = BEGINNING
        self._position = 0
        self.faults: list[str] = []

    def feed(self, entries: Iterable[AuditEntry]) -> None:
        """The next entries."""
        for entry in entries:
            self._entry(entry)

    def close(self, key: Ed25519PublicKey) -> None:
        """The table has no more entries of the tenant."""
        head = self._head
        if head is None:
            if self._position:
                self._fault("its signed end is missing")
            return
        if head.tenant != self._tenant or not is_signed(head, key):
            self._fault("its signed end was forged")
        elif self._position < head.position:
            self._fault(f"cut off: it ends at {self._position}, and {head.position} was signed")

    def _entry(self, entry: AuditEntry) -> None:
        if entry.position != self._position + 1:
            self._fault(f"entries are missing or out of order between {self._position} and {entry.position}")
        if entry.previous != self._previous:
            self._fault(f"entry {entry.position} does not follow the one before it")
        computed = digest(entry.position, entry.previous, entry.event)
        if computed != entry.digest or entry.event.tenant != self._tenant:
            self._fault(f"entry {entry.position} was changed")
        if self._head is not None and entry.position == self._head.position and entry.digest != self._head.digest:
            self._fault(f"entry {entry.position} is not the one that was signed")
        self._position, self._previous = entry.position, entry.digest

    def _fault(self, detail: str) -> None:
        self.faults.append(f"{self._tenant}: {detail}")
