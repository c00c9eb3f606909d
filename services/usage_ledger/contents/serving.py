"""Assembles what stores and shows content."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.process.lifecycle import Service
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.contents.encryption import ContentEncryption
from services.usage_ledger.contents.handlers import ContentHandlers
from services.usage_ledger.contents.intake import ContentIntake
from services.usage_ledger.contents.store import ContentStore

_log = logging.getLogger(__name__)


def serve_contents(
    service: Service,
    engine: AsyncEngine,
    key: X25519PrivateKey | None,
    tenant_of: Callable[[str], Tenant | None],
    audit_log: AuditLog,
) -> None:
    """Take in content, show it, and remove what is over, while the service runs. Without a key of its own it is a new one.

    Nothing that is sealed to the pinned key opens with that, so nothing is stored, and what is stored cannot be read.
    """
    if key is None:
        _log.warning("KEYFERRY_CONTENT_KEY_FILE is not set: no content is stored, whatever tenants want")
    clock = partial(datetime.now, UTC)
    encryption = ContentEncryption(key or X25519PrivateKey.generate())
    store = ContentStore(engine, encryption, audit_log.append)
    intake = ContentIntake(store, encryption, tenant_of, clock)
    ContentHandlers(store, intake, audit_log.publish).register(service.bus)
    service.opens(intake.start, intake.stop)
