"""How long a backup of a million attempts takes to restore, with its verification, up to servers that were stopped cleanly."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from deploy.backup import create, restore
from deploy.backup.encryption import make_identity, parse_recipient, read_identities
from deploy.backup.servers import servers_of
from deploy.embedded.home import Home
from keyferry.contracts.secret import Secret
from tests.bench.figure import Figure
from tests.bench.ledger.figure_names import RESTORE
from tests.bench.ledger.summaries import fill
from tests.support.system.keyferry_system import running_system

_TENANT = "demo"
_ATTEMPTS, _QUICK_ATTEMPTS = 1_000_000, 20_000
_DAYS = 30


def measure(directory: Path, *, quick: bool) -> list[Figure]:
    """Return the seconds of one restore."""
    home = Home(directory / "home")
    with running_system(home.path):
        asyncio.run(_fill(home, _QUICK_ATTEMPTS if quick else _ATTEMPTS))
    key, file = directory / "backup.key", directory / "backup.age"
    recipient = parse_recipient(make_identity(key, None))
    asyncio.run(_create(home, file, recipient))
    identities = read_identities(key, _no_passphrase)
    started_seconds = time.monotonic()
    asyncio.run(restore.restore(str(file), identities, Home(directory / "restored"), _ignore))
    return [Figure(RESTORE, time.monotonic() - started_seconds)]


async def _fill(home: Home, attempts: int) -> None:
    engine = create_async_engine((home.database_secrets / "usage_ledger.url").read_text().strip())
    try:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        await fill(engine, attempts, _DAYS, tenant=_TENANT, now=yesterday, keep_attempts=True)
    finally:
        await engine.dispose()


async def _create(home: Home, file: Path, recipient: object) -> None:
    async with servers_of(home, _ignore) as servers:
        source = create.BackupSource(servers=servers, secrets_dir=home.secrets, spool_dir=home.path / "spool")
        await create.create(source, str(file), [recipient], _ignore)


def _no_passphrase() -> Secret:
    raise AssertionError("the key has none")


def _ignore(_: str) -> None:
    """Show nothing."""
