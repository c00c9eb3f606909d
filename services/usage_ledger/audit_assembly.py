"""Assembles the audit of the ledger: its tables, its key and the bucket with the signed heads."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.audit import AuditHead
from keyferry.contracts.topology import AUDIT_HEADS
from keyferry.runtime.bucket_reading import read_keys
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.views import ViewWriter, snapshot
from services.usage_ledger.audit_checkpoint_store import AuditCheckpointStore
from services.usage_ledger.audit_log import AuditLog, PublishDeadLetter
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.audit_verification import AuditVerifier


def assemble_audit_log(
    bus: Bus, engine: AsyncEngine, key: Ed25519PrivateKey, publish_dead_letter: PublishDeadLetter
) -> AuditLog:
    """Return the audit log in the tables of `engine`, whose heads are signed with `key`."""
    clock = partial(datetime.now, UTC)
    store = AuditStore(engine)
    verifier = AuditVerifier(
        store=store,
        checkpoints=AuditCheckpointStore(engine),
        key=key,
        read_heads=partial(_read_heads, bus),
        clock=clock,
    )
    return AuditLog(
        store=store,
        key=key,
        save_head=partial(_save_head, bus),
        verifier=verifier,
        publish_dead_letter=publish_dead_letter,
        clock=clock,
    )


async def _save_head(bus: Bus, head: AuditHead) -> None:
    await ViewWriter(bus.client, AUDIT_HEADS).put(head.tenant, head.encode())


async def _read_heads(bus: Bus, tenants: Sequence[str] | None) -> dict[str, AuditHead]:
    if tenants is None:
        entries, _ = await snapshot(bus.client, AUDIT_HEADS)
    else:
        entries = await read_keys(bus.client, AUDIT_HEADS, tenants)
    return {tenant: AuditHead.decode(value) for tenant, value in entries.items()}
