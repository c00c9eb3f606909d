"""For the notifier: a migrated database that the tests of a module share, and receivers of what is sent."""

from collections.abc import AsyncIterator

import pytest

from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier import tables
from services.notifier.schema import NOTIFIER_SCHEMA
from services.notifier.settings import NotifierSettings
from tests.integration.notifier.receiver import HookReceiver, MailReceiver
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> MigratedDatabase:
    """Provide a migrated database, in which each test uses tenants of its own."""
    return migrated_database(tmp_path_factory.mktemp("database"), "notifier")


@pytest.fixture
async def database(migrated: MigratedDatabase) -> AsyncIterator[ServiceDatabase]:
    """Provide connections of the notifier's own role, in a database without rows."""
    settings = NotifierSettings(nats_url="nats://unused", database_url_file=migrated.url_files["notifier"])
    database = ServiceDatabase.of(settings, NOTIFIER_SCHEMA)
    names = [
        table.fullname for table in tables.alert_positions.metadata.sorted_tables if table.name != "audit_sequence"
    ]
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(f"TRUNCATE {', '.join(names)}")
    yield database
    await database.engine.dispose()


@pytest.fixture
async def receiver() -> AsyncIterator[HookReceiver]:
    """Provide a receiver of webhooks."""
    async with HookReceiver() as found:
        yield found


@pytest.fixture
async def mails() -> AsyncIterator[MailReceiver]:
    """Provide a mail server that takes everything."""
    async with MailReceiver() as found:
        yield found
