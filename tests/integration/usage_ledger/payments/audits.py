"""An audit log for tests of stores: its entries are in the tables, its heads are not published."""

from datetime import UTC, datetime
from functools import partial
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.audit_verification import AuditVerifier


async def _ignore(_: object) -> None:
    """Publish nothing."""


def audit_log_of(engine: AsyncEngine) -> AuditLog:
    """Return an audit log in the tables of `engine`."""
    return AuditLog(
        store=AuditStore(engine),
        key=Ed25519PrivateKey.generate(),
        save_head=_ignore,
        verifier=cast(AuditVerifier, None),
        publish_dead_letter=_ignore,
        clock=partial(datetime.now, UTC),
    )
