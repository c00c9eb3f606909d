"""From the cause of an alert to its event with ten thousand rules, and how long it takes to try a rule on a million attempts.

A hundred tenants have a hundred rules each. First each attempt makes one rule of its tenant fire; then one batch makes all others
fire at once. The time is from the publication of an attempt to the event in the stream, on one clock.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from nats.aio.msg import Msg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres.migrate import migrate
from keyferry.contracts import ids
from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_management import ALERT_RULE_PREVIEW, ALERTS
from keyferry.contracts.alert_rules import PreviewAlertRule
from keyferry.contracts.buckets import PROVIDER_KEYS_VIEW, TENANTS_VIEW
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import Role
from keyferry.runtime.views import ViewWriter
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.ledger.figure_names import ALERT_AT_ONCE, ALERT_LATENCY, ALERT_PREVIEW
from tests.bench.ledger.summaries import fill
from tests.integration.usage_ledger.processes import LedgerServers, reports
from tests.support.ledger.attempt_records import attempt_record
from tests.support.servers.postgres import postgres_server
from tests.support.servers.provisioned_bus import provisioned_bus

_TENANTS, _RULES = 100, 100
_ROUNDS = 10
_WAIT_SECONDS = 120.0
_PER_MESSAGE = 64
_PREVIEWED = 1_000_000
_DAYS = 30
INSERT_RULES = text("""
INSERT INTO usage_ledger.alert_rules (tenant, rule_id, terms, revision, created_at)
SELECT tenant, rule_id, terms, 1, now()
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS added (tenant text, rule_id text, terms jsonb)
""")


class ReceivedAlerts:
    """When each rule's alert arrived."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], float] = {}
        self.changed = asyncio.Event()

    async def note(self, message: Msg) -> None:
        event = AlertChanged.decode(message.data)
        if event.metric == "requests" and event.threshold is not None:
            self.at.setdefault((event.tenant, int(event.threshold)), time.perf_counter())
            self.changed.set()

    async def until(self, count: int) -> None:
        """Wait for so many. Raises BenchError."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while len(self.at) < count:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise BenchError(f"{len(self.at)} of {count} alerts arrived within {_WAIT_SECONDS:.0f} s.") from None


def measure(directory: Path) -> list[Figure]:
    """Return the 99th percentiles in seconds, and the seconds of a preview; every server is stopped at the end.

    Raises:
        BenchError: an alert is missing.
    """
    return asyncio.run(_measure(directory))


async def _measure(directory: Path) -> list[Figure]:
    tenants = [f"tenant-{number}" for number in range(_TENANTS)]
    with postgres_server() as database:
        admin_url = database.new_database()
        urls = migrate(admin_url, directory / "database", services=["usage_ledger"])
        engine = create_async_engine(urls["usage_ledger"].read_text())
        await fill(engine, _PREVIEWED, _DAYS, tenant="million", now=datetime.now(UTC))
        async with engine.begin() as connection:
            await connection.execute(
                INSERT_RULES, {"rows": json.dumps([rule_row(t, n) for t in tenants for n in range(1, _RULES + 1)])}
            )
        await engine.dispose()
        async with provisioned_bus(directory, worker_slots=1) as bus:
            servers = LedgerServers(bus, admin_url, urls["usage_ledger"], directory)
            await publish_views(servers, [*tenants, "million"])
            async with servers.process(), servers.operator() as operator:
                await reports(operator, 1)
                single, at_once = await _fire(servers, tenants)
                command = PreviewAlertRule.model_validate(
                    {
                        "tenant": "million",
                        "name": "x",
                        "metric": "requests",
                        "window": "hour",
                        "condition": {"unusual": "high"},
                    }
                )
                began = time.perf_counter()
                found = await operator.ask(ALERT_RULE_PREVIEW, command, timeout_seconds=120)
                took = time.perf_counter() - began
                if not found.can_be_previewed or not found.points:
                    raise BenchError("the rule was not tried on anything")
    return [
        Figure(ALERT_LATENCY, _percentile(single)),
        Figure(ALERT_AT_ONCE, _percentile(at_once)),
        Figure(ALERT_PREVIEW, took),
    ]


async def _fire(servers: LedgerServers, tenants: list[str]) -> tuple[list[float], list[float]]:
    received = ReceivedAlerts()
    async with servers.installation.client(Role.PROVISIONER) as reader, servers.worker() as worker:
        await reader.jetstream().subscribe(
            "kf.v1.alert.changed.*", stream=ALERTS.name, cb=received.note, ordered_consumer=True
        )
        single: list[float] = []
        for number in range(1, _ROUNDS + 1):
            sent: dict[str, float] = {}
            for tenant in tenants:
                sent[tenant] = time.perf_counter()
                await worker.publish([attempt_record(tenant=tenant, started_at=datetime.now(UTC)).encode()])
            await received.until(number * len(tenants))
            single += [received.at[tenant, number] - sent[tenant] for tenant in tenants]
        records = [
            attempt_record(tenant=tenant, started_at=datetime.now(UTC)).encode()
            for tenant in tenants
            for _ in range(_RULES - _ROUNDS)
        ]
        began = time.perf_counter()
        for first in range(0, len(records), _PER_MESSAGE):
            await worker.publish(records[first : first + _PER_MESSAGE])
        await received.until(_TENANTS * _RULES)
    return single, [at - began for (_, number), at in received.at.items() if number > _ROUNDS]


async def publish_views(servers: LedgerServers, tenants: list[str]) -> None:
    await servers.publish_prices({})
    async with servers.installation.client(Role.TENANT_DIRECTORY) as directory:
        entries = {name: Tenant(tenant=name, name=name, tier=Tier.STARTER).encode() for name in tenants}
        await ViewWriter(directory, TENANTS_VIEW).reconcile(entries)
    async with servers.installation.client(Role.KEY_VAULT) as vault:
        await ViewWriter(vault, PROVIDER_KEYS_VIEW).reconcile({})


def rule_row(tenant: str, threshold: int) -> dict[str, object]:
    terms = {
        "name": f"rule {threshold}",
        "metric": "requests",
        "window": "month",
        "condition": {"threshold": str(threshold)},
    }
    return {"tenant": tenant, "rule_id": ids.new(ids.ALERT_RULE), "terms": terms}


def _percentile(found: list[float]) -> float:
    return sorted(found)[-(-99 * len(found) // 100) - 1]
