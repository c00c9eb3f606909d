"""Verification covers every tenant that the table or a signed head knows of."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.audit import AuditEntry, AuditHead, VerifyAudit
from services.usage_ledger.audit_chain import sign
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.dead_letter import RejectedRecord

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"a" * 32)


class EmptyTables:
    """Tables from which everything was deleted."""

    async def tenants(self) -> list[str]:
        return []

    async def chain(self, tenant: str) -> AsyncIterator[list[AuditEntry]]:
        for _ in ():
            yield []

    async def missing(self) -> dict[str, int]:
        return {}


async def test_a_tenant_whose_whole_audit_was_deleted_is_missed() -> None:
    head = sign(AuditHead(tenant="acme", position=3, digest="1" * 64, at=NOW, signature=""), KEY)

    async def read_heads() -> dict[str, AuditHead]:
        return {"acme": head}

    async def save_head(head: AuditHead) -> None:
        raise AssertionError("nothing is appended")

    async def publish(rejected: RejectedRecord) -> None:
        raise AssertionError("nothing is rejected")

    log = AuditLog(
        store=cast(AuditStore, EmptyTables()),
        key=KEY,
        save_head=save_head,
        read_heads=read_heads,
        publish_dead_letter=publish,
        clock=lambda: NOW,
    )
    found = await log.verify(VerifyAudit())
    assert (found.tenants, found.entries) == (1, 0)
    assert found.faults == ["acme: cut off: it ends at 0, and 3 was signed"]
