"""What alert rules cost the recording of attempts: with a hundred rules of each tenant, and with none of their own.

No rule fires, so that what counts are the marks of tenants and the evaluation beside the recording. Both are measured in turn.
Rules that every tenant has are evaluated in both.
"""

import asyncio
import json
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres.migrate import migrate
from tests.bench.ledger.alerts import INSERT_RULES, publish_views, rule_row
from tests.bench.ledger.figures import ALERT_INGEST, LedgerFigure
from tests.bench.ledger.ingest import open_leases, until_recorded
from tests.bench.ledger.mix import Mix
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.servers.postgres import postgres_server
from tests.support.servers.provisioned_bus import provisioned_bus

_TENANTS, _RULES = 100, 100
_NEVER = 10**9
"""The threshold of the first rule, which no tenant reaches; the others have higher ones."""
_REQUESTS, _QUICK_REQUESTS = 20_000, 4_000
_ROUNDS = 2
_PER_MESSAGE = 64


def measure(directory: Path, *, quick: bool) -> LedgerFigure:
    """Return the rate with rules as a multiple of that without; every server is stopped at the end.

    Raises:
        BenchError: not everything was recorded.
    """
    return asyncio.run(_measure(directory, _QUICK_REQUESTS if quick else _REQUESTS))


async def _measure(directory: Path, count: int) -> LedgerFigure:
    seconds = {0: 0.0, _RULES: 0.0}
    for number in range(_ROUNDS):
        for rules in seconds:
            own = directory / f"ingest-{number}-{rules}"
            own.mkdir()
            own.chmod(0o711)
            seconds[rules] += await _record(own, count, rules)
    return LedgerFigure(ALERT_INGEST, seconds[0] / seconds[_RULES])


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
            async with servers.worker() as worker:
                for first in range(0, len(attempts), _PER_MESSAGE):
                    await worker.publish(attempts[first : first + _PER_MESSAGE])
            async with servers.process():
                ended = await until_recorded(servers, "attempts", len(attempts))
            ((began,),) = servers.query("SELECT min(recorded_at) FROM usage_ledger.attempts")
    return float((ended - began).total_seconds())


async def _add_rules(url: str, tenants: list[str], rules: int) -> None:
    rows = [rule_row(tenant, _NEVER + number) for tenant in tenants for number in range(rules)]
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(INSERT_RULES, {"rows": json.dumps(rows)})
    await engine.dispose()
