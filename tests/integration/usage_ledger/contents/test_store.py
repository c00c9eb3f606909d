"""Stored content in PostgreSQL: read with an audit entry, removed when its time is over, shredded with its tenant."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from deploy.embedded.postgres import driver_url
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.content import CallContent, ContentRecord, GetContent
from keyferry.contracts.erasure import EraseTenant
from keyferry.contracts.tenancy import ContentPolicy
from keyferry.runtime.database.erasure import TenantEraser
from services.usage_ledger.audit_log import OwnAction
from services.usage_ledger.contents.encryption import ContentEncryption, UnreadableContent
from services.usage_ledger.contents.store import ContentStore
from services.usage_ledger.database import OUTBOX
from services.usage_ledger.tenant_data import TENANT_TABLES
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ENCRYPTION = ContentEncryption(X25519PrivateKey.generate())


class Contents:
    """The store, and what it has recorded in the audit."""

    def __init__(self, engine: AsyncEngine, database: MigratedDatabase) -> None:
        self.engine = engine
        self.database = database
        self.audit: list[OwnAction] = []
        self.store = ContentStore(engine, ENCRYPTION, self._record)

    async def _record(self, connection: AsyncConnection, action: OwnAction) -> AuditHead:
        self.audit.append(action)
        return AuditHead(tenant=action.tenant, position=1, digest="d", at=NOW, signature="s")

    async def add(self, number: int, tenant: str = "acme", days: int = 7) -> CallContent:
        content = CallContent(request=f"question {number} of {tenant}", answer=f"answer {number}")
        record = ContentRecord(
            attempt_id=f"att_{tenant}_{number}",
            request_id=f"req_{number}",
            tenant=tenant,
            policy=ContentPolicy.FULL,
            days=days,
            recorded_at=NOW + timedelta(seconds=number),
            sealed="AAAA",
        )
        await self.store.insert([(record, content), (record, content)], NOW)
        return content

    async def texts(self, request_id: str, tenant: str = "acme") -> list[str]:
        found, _ = await self.store.read(GetContent(tenant=tenant, request_id=request_id, actor="kim"))
        return [one.request for one in found]

    def column(self, query: str) -> list[Any]:
        with psycopg.connect(driver_url(self.database.admin_url)) as connection:
            return [value for (value,) in connection.execute(query.encode())]


@pytest.fixture
async def contents(tmp_path: Path) -> AsyncIterator[Contents]:
    database = migrated_database(tmp_path, "usage_ledger")
    engine = create_async_engine(database.url_files["usage_ledger"].read_text().strip())
    yield Contents(engine, database)
    await engine.dispose()


async def test_content_is_read_by_request_and_every_reading_is_in_the_audit(contents: Contents) -> None:
    stored = await contents.add(1)
    await contents.add(1, tenant="globex")
    assert await contents.texts("req_1") == [stored.request]
    assert await contents.texts("req_2") == []
    assert await contents.texts("req_1", tenant="initech") == []
    read = [(one.actor, one.action, one.target, one.tenant, one.details) for one in contents.audit]
    assert read[0] == ("kim", "content.read", "req_1", "acme", {"attempts": "1"})
    assert len(read) == 3


async def test_the_tables_have_no_text_of_it(contents: Contents) -> None:
    await contents.add(1)
    assert all(
        b"question" not in bytes(value) for value in contents.column("SELECT content FROM usage_ledger.contents")
    )
    assert len(contents.column("SELECT tenant FROM usage_ledger.content_keys")) == 1


async def test_content_goes_when_its_time_is_over(contents: Contents) -> None:
    await contents.add(1, days=1)
    await contents.add(2, days=2)
    assert await contents.store.purge(NOW + timedelta(hours=23)) == 0
    assert await contents.store.purge(NOW + timedelta(days=1, seconds=1)) == 1
    assert (await contents.texts("req_1"), len(await contents.texts("req_2"))) == ([], 1)


async def test_a_copy_of_the_rows_is_worth_nothing_without_the_data_key(contents: Contents) -> None:
    await contents.add(1)
    await contents.add(1, tenant="globex")
    copies = contents.column("SELECT content FROM usage_ledger.contents WHERE tenant = 'acme'")
    eraser = TenantEraser(contents.engine, "usage_ledger", TENANT_TABLES, OUTBOX)
    assert (await eraser.erase(EraseTenant(tenant="acme"))).done
    assert contents.column("SELECT tenant FROM usage_ledger.content_keys") == ["globex"]
    assert await contents.texts("req_1", tenant="globex") == ["question 1 of globex"]
    # The tenant would get another data key: the copy does not open with it.
    with pytest.raises(UnreadableContent):
        ENCRYPTION.decrypt(ENCRYPTION.new_data_key("acme"), "acme", "att_acme_1", bytes(copies[0]))
