"""How many attempts a second one ledger records, and how much space they and their decisions take.

The messages are on the stream before the ledger starts. What counts is the time from its first record to the commit of the last.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres.migrate import migrate
from keyferry.contracts.accounts import GRANTED, lease_account
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.credit import sql
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.ledger.figure_names import INGEST, STORAGE
from tests.bench.ledger.mix import Mix, RecordedRequest
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.servers.postgres import postgres_server
from tests.support.servers.provisioned_bus import provisioned_bus

_TENANTS = 1000
_REQUESTS, _QUICK_REQUESTS = 60_000, 6_000
_PER_MESSAGE = 64
_LEASED = 10**9
"""Micro-dollars, more than all attempts hold."""
_WAIT_SECONDS = 180.0
_LOOK_SECONDS = 0.05
_SIZE = """
    SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
    WHERE inhparent IN ('usage_ledger.attempts'::regclass, 'usage_ledger.decisions'::regclass)
"""


def measure(directory: Path, *, quick: bool) -> list[Figure]:
    """Return attempts per second, and bytes per request; every server runs in `directory` and is stopped at the end.

    Raises:
        BenchError: not everything was recorded.
    """
    return asyncio.run(_measure(directory, _QUICK_REQUESTS if quick else _REQUESTS))


async def _measure(directory: Path, count: int) -> list[Figure]:
    mix = Mix(_TENANTS)
    requests = list(mix.requests(count))
    attempts = [one.attempt.encode() for one in requests if one.attempt is not None]
    with postgres_server() as database:
        admin_url = database.new_database()
        urls = migrate(admin_url, directory / "database", services=["usage_ledger"])
        await open_leases(urls["usage_ledger"].read_text(), mix.leases)
        async with provisioned_bus(directory, worker_slots=1) as bus:
            servers = LedgerServers(bus, admin_url, urls["usage_ledger"], directory)
            await servers.publish_prices({})
            async with servers.worker() as worker:
                for first in range(0, len(attempts), _PER_MESSAGE):
                    await worker.publish(attempts[first : first + _PER_MESSAGE])
            async with servers.process():
                ended = await until_recorded(servers, "attempts", len(attempts))
                await _publish_decisions(servers, requests)
                await until_recorded(servers, "decisions", len(requests))
            ((began,),) = servers.query("SELECT min(recorded_at) FROM usage_ledger.attempts")
            ((size,),) = servers.query(_SIZE)
    seconds = (ended - began).total_seconds()
    return [Figure(INGEST, len(attempts) / seconds), Figure(STORAGE, float(size) / len(requests))]


async def open_leases(url: str, leases: Mapping[str, str]) -> None:
    """Give each of these tenants credits, and a router a lease of half of them, as it has before any attempt is made."""
    now = datetime.now(UTC)
    transfers = []
    for tenant, lease_id in leases.items():
        account, of_lease = f"credits/{tenant}", lease_account(lease_id)
        transfers += [
            Transfer(
                transfer_id=f"bench:{tenant}",
                debit=GRANTED,
                credit=account,
                amount=2 * _LEASED,
                purpose=TransferPurpose.GRANT,
            ),
            Transfer(
                transfer_id=f"grant:{lease_id}",
                debit=account,
                credit=of_lease,
                amount=_LEASED,
                purpose=TransferPurpose.LEASE,
            ),
        ]
    shared = {"router": "router", "epoch": "router-a", "amount": _LEASED, "now": now}
    not_after_ms = int((now + timedelta(hours=1)).timestamp() * 1000)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await apply_transfers(connection, transfers, now)
        for tenant, lease_id in leases.items():
            own = {"lease_id": lease_id, "tenant": tenant, "account": f"credits/{tenant}", "not_after_ms": not_after_ms}
            await connection.execute(sql.ADD_LEASE, shared | own)
    await engine.dispose()


async def _publish_decisions(servers: LedgerServers, requests: Sequence[RecordedRequest]) -> None:
    lines = [one.decision.encode() for one in requests]
    for first in range(0, len(lines), _PER_MESSAGE):
        await servers.decide(lines[first : first + _PER_MESSAGE])


async def until_recorded(servers: LedgerServers, table: str, count: int) -> datetime:
    """Return the time at which so many rows were there."""
    until = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < until:
        ((found, now),) = servers.query(f"SELECT count(*), clock_timestamp() FROM usage_ledger.{table}")
        if found == count:
            return now.astimezone(UTC) if isinstance(now, datetime) else datetime.now(UTC)
        await asyncio.sleep(_LOOK_SECONDS)
    raise BenchError(f"{table}: only {found} of {count} rows were recorded.")
