"""Verification covers every tenant that the table or a signed head knows of."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.audit import AuditHead, VerifyAudit
from services.usage_ledger.audit_chain import sign
from services.usage_ledger.audit_checkpoint import AuditCheckpoint
from services.usage_ledger.audit_checkpoint_store import AuditCheckpointStore, ChainRow
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.audit_verification import AuditVerifier

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"a" * 32)


class EmptyTables:
    """Tables from which everything was deleted."""

    async def count_tenants(self) -> int:
        return 0

    async def tenants_after(self, tenant: str | None, limit: int) -> list[str]:
        return []

    async def tenants_without_head(self) -> list[str]:
        return []

    async def chains(self) -> list[str]:
        return []

    async def entries(self, starts: Mapping[str, int]) -> AsyncIterator[list[ChainRow]]:
        for _ in ():
            yield []

    async def checkpoints(self, tenants: Sequence[str]) -> dict[str, AuditCheckpoint]:
        return {}

    async def keep(self, checkpoints: Sequence[AuditCheckpoint], without: Sequence[str]) -> None:
        assert not checkpoints, "nothing was verified"

    async def missing(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("limit", [None, 1])
async def test_a_tenant_whose_whole_audit_was_deleted_is_missed(incremental: bool, limit: int | None) -> None:
    head = sign(AuditHead(tenant="acme", position=3, digest="1" * 64, at=NOW, signature=""), KEY)

    async def read_heads(tenants: Sequence[str] | None) -> dict[str, AuditHead]:
        return {"acme": head}

    tables = EmptyTables()
    verifier = AuditVerifier(
        store=cast(AuditStore, tables),
        checkpoints=cast(AuditCheckpointStore, tables),
        key=KEY,
        read_heads=read_heads,
        clock=lambda: NOW,
    )
    found = await verifier.verify(VerifyAudit(incremental=incremental, limit=limit))
    assert (found.tenants, found.entries) == (1, 0)
    assert found.faults == ["acme: cut off: it ends at 0, and 3 was signed"]
