"""What alert rules cost the recording of attempts: with a hundred rules of each tenant, and with none of their own.

No rule fires, so that what counts are the marks of tenants and the evaluation beside the recording. Both are measured in turn.
Rules that every tenant has are evaluated in both, and all rules were read before.
"""

import asyncio
import json
import time
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres.migrate import migrate
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.ledger.alerts import INSERT_RULES, publish_views, rule_row
from tests.bench.ledger.figure_names import ALERT_INGEST
from tests.bench.ledger.ingest import open_leases, until_recorded
from tests.bench.ledger.mix import Mix
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.servers.postgres import postgres_server
from tests.support.servers.provisioned_bus import provisioned_bus

_TENANTS, _RULES = 100, 100
_NEVER = 10**9
"""The threshold of the first rule, which no tenant reaches; the others have higher ones."""
_REQUESTS, _QUICK_REQUESTS = 20_000, 4_000
_ROUNDS = 3
"""Of which the quickest counts: what else runs on a machine only ever delays."""
_PER_MESSAGE = 64
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.05


def measure(directory: Path, *, quick: bool) -> Figure:
    """Return the rate with rules as a multiple of that without; every server is stopped at the end.

    Raises:
        BenchError: not everything was recorded.
    """
    return asyncio.run(_measure(directory, _QUICK_REQUESTS if quick else _REQUESTS))


async def _measure(directory: Path, count: int) -> Figure:
    seconds: dict[int, list[float]] = {0: [], _RULES: []}
    for number in range(_ROUNDS):
        for rules, found in seconds.items():
            own = directory / f"ingest-{number}-{rules}"
            own.mkdir()
            own.chmod(0o711)
            found.append(await _record(own, count, rules))
    return Figure(ALERT_INGEST, min(seconds[0]) / min(seconds[_RULES]))


async def _record(directory: Path, count: int, rules: int) -> float:
    """Return how many seconds it takes to record so many requests of tenants that have so many rules each."""
    mix = Mix(_TENANTS)
    attempts = [one.attempt.encode() for one in mix.requests(count) if one.attempt is not None]
    with postgres_server() as database:
        admin_url = database.new_database()
        urls = migrate(admin_url, directory / "database", services=["usage_ledger"])
        url = urls["usage_ledger"].read_text()
        await open_leases(url, mix.leases)
        await _add_rules(url, list(mix.leases), rules)
        async with provisioned_bus(directory, worker_slots=1) as bus:
            servers = LedgerServers(bus, admin_url, urls["usage_ledger"], directory)
            await publish_views(servers, list(mix.leases))
            async with servers.process(), servers.worker() as worker:
                await worker.publish([attempt_record(tenant=tenant).encode() for tenant in mix.leases])
                await until_recorded(servers, "attempts", _TENANTS)
                await _until_evaluated(servers)
                ((began,),) = servers.query("SELECT clock_timestamp()")
                for first in range(0, len(attempts), _PER_MESSAGE):
                    await worker.publish(attempts[first : first + _PER_MESSAGE])
                ended = await until_recorded(servers, "attempts", _TENANTS + len(attempts))
    return float((ended - began).total_seconds())


async def _until_evaluated(servers: LedgerServers) -> None:
    """Wait until the rules of all tenants have been read, which happens once."""
    until = time.monotonic() + _WAIT_SECONDS
    while servers.query("SELECT FROM usage_ledger.alert_causes LIMIT 1"):
        if time.monotonic() > until:
            raise BenchError(f"the rules were not evaluated within {_WAIT_SECONDS:.0f} s.")
        await asyncio.sleep(_LOOK_SECONDS)


async def _add_rules(url: str, tenants: list[str], rules: int) -> None:
    rows = [rule_row(tenant, _NEVER + number) for tenant in tenants for number in range(rules)]
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(INSERT_RULES, {"rows": json.dumps(rows)})
    await engine.dispose()
