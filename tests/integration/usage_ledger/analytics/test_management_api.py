"""Usage over HTTP, from attempts in a real ledger: what the rows of every split add up to, and a month's chargeback."""

import csv
import io
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

import httpx

from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, TokenUsage
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.tracing.telemetry import Telemetry
from services.console.handlers import build_application
from services.console.middleware import ManagementMiddleware
from services.console.sealing import Sealer
from services.console.usage_queries import SPLITS
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.servers.operator_only import no_page, no_sign_in, operator_only
from tests.support.servers.recorded_access import RecordingAsk

TOKEN = "an-operator-token-of-forty-characters-0123"
USAGE = "/api/v1/ops/tenants/acme/usage"
BERLIN = ZoneInfo("Europe/Berlin")
MONTH = {"period": "2026-10", "tz": "Europe/Berlin"}
COUNTS = ("requests", "attempts", "completed", "failed", "cancelled", "total_tokens", "unpriced", "spend_unknown")


@asynccontextmanager
async def management_api(bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    """Run the routes on a bus, with the permissions of the console."""
    routes = build_application(
        ask=RecordingAsk(bus.ask),
        sealer=Sealer(""),
        clock=lambda: datetime.now(UTC),
        waiting_for=list,
        draining=lambda: False,
    )
    middleware = ManagementMiddleware(
        routes,
        authenticate=operator_only(Secret(TOKEN)),
        sign_in=no_sign_in,
        page=no_page,
        webhooks=no_page,
        waiting_for=list,
        telemetry=Telemetry("console", {}),
        upload_timeout_seconds=5,
        failures=AddressLimiter(1000),
    )
    transport = httpx.ASGITransport(app=cast(Any, middleware))
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://console.test", headers=headers) as client:
        yield client


def attempts_of_october(seed: int) -> list[AttemptRecord]:
    """Return attempts around and inside the month of Berlin, many near its midnights."""
    chance = random.Random(seed)
    records: list[AttemptRecord] = []
    for number in range(120):
        day = chance.choice((0, 0, 1, 15, 24, 25, 31, 31))
        began = datetime(2026, 9, 30, 22, tzinfo=UTC) + timedelta(days=day, minutes=chance.randrange(-90, 90))
        for attempt in range(1, chance.choice((1, 1, 2)) + 1):
            outcome = chance.choice(list(Outcome))
            records.append(
                attempt_record(
                    tenant=chance.choice(("acme", "acme", "acme", "globex")) if attempt == 1 else records[-1].tenant,
                    request_id=f"req_{number}",
                    attempt_number=attempt,
                    started_at=began + timedelta(minutes=attempt),
                    provider=chance.choice(("openai", "custom")),
                    model=chance.choice(("gpt-4o", "gpt-4.1-mini")),
                    operation=chance.choice((None, "search")),
                    team=chance.choice((None, "red", "blue")),
                    member=chance.choice((None, "ann")),
                    key_source=chance.choice(list(KeySource)),
                    outcome=outcome,
                    token_usage=TokenUsage(input=chance.randrange(1, 5000), output=chance.randrange(500)),
                    tags=chance.choice(({}, {"project": "alpha"}, {"project": "=1+1; =2"})),
                )
            )
    return records


def added(rows: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((Decimal(str(row[name] or 0)) for row in rows), Decimal(0))


def in_month(record: AttemptRecord) -> bool:
    local = record.started_at.astimezone(BERLIN)
    return record.tenant == "acme" and (local.year, local.month) == (2026, 10)


async def chargeback(api: httpx.AsyncClient, records: list[AttemptRecord], by: str) -> None:
    """Check a month's CSV against the attempts themselves."""
    response = await api.get(f"{USAGE}/breakdown", params={"by": by, "format": "csv", "limit": 500, **MONTH})
    *rows, total = csv.DictReader(io.StringIO(response.text))
    assert (total["row"], {row["row"] for row in rows}) == ("total", {"value", "none"})
    assert (total["since"], total["until"]) == ("2026-10-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00")
    inside = [record for record in records if in_month(record)]
    for row in rows:
        value = row[by].removeprefix("'") or None
        mine = [each for each in inside if (each.tags.get("project") if by.startswith("tag:") else each.team) == value]
        assert int(row["attempts"]) == len(mine)
        assert int(row["total_tokens"]) == sum(each.token_usage.total for each in mine)
    assert int(total["attempts"]) == len(inside)
    for name in ("cost_usd", "charge_micro_usd", "spend_micro_usd", *COUNTS):
        assert added(rows, name) == Decimal(total[name] or 0), name


async def test_rows_of_every_split_add_up_to_the_summary(servers: LedgerServers) -> None:
    records = attempts_of_october(seed=3)
    async with (
        servers.in_process(),
        servers.worker() as worker,
        servers.installation.connected(Role.CONSOLE) as bus,
        management_api(bus) as api,
    ):
        for start in range(0, len(records), 60):
            await worker.publish([record.encode() for record in records[start : start + 60]])
        await worker.until_confirmed(records)

        for filters in ({}, {"team": ["red", ""]}, {"outcome": ["completed"], "key_source": ["byok", "none"]}):
            query = {**MONTH, **filters}
            summary = (await api.get(f"{USAGE}/summary", params=query)).json()
            assert summary["tz"] == "Europe/Berlin"
            assert summary["since"] == "2026-09-30T22:00:00Z"
            assert summary["total"]["attempts"] > 10
            splits = [name for name in SPLITS if not name.startswith("tag:")] + ["tag:project"]
            for by in ([each] for each in splits) if not filters else (["team", "model"], ["tag:project"]):
                found = (await api.get(f"{USAGE}/breakdown", params={"by": by, "limit": 2, **query})).json()
                assert found["total"] == {**summary["total"], "latency": None, "first_token": None}, by
                parts = [row["figures"] for row in found["rows"]] + ([found["rest"]] if found["rest"] else [])
                for name in (*COUNTS, "cost_usd", "charge_micro_usd", "spend_micro_usd"):
                    assert added(parts, name) == added([summary["total"]], name), (by, name)
            for bucket in ("hour", "day", "month"):
                params = {"bucket": bucket, "by": "model", "lines": 1, **query}
                series = (await api.get(f"{USAGE}/series", params=params)).json()
                points = [point for line in series["lines"] for point in line["points"]]
                for name in (*COUNTS, "cost_usd"):
                    assert added(points, name) == added([summary["total"]], name), (bucket, name)
        for split in ("team", "tag:project"):
            await chargeback(api, records, split)
        await other_answers(api, records)
        await refusals(api)


async def other_answers(api: httpx.AsyncClient, records: list[AttemptRecord]) -> None:
    inside = [record for record in records if in_month(record)]
    errors = (await api.get(f"{USAGE}/errors", params=MONTH)).json()
    assert errors["total"]["failed"] == sum(record.outcome is Outcome.FAILED for record in inside)
    latency = (await api.get(f"{USAGE}/latency", params=MONTH)).json()
    completed = sum(record.outcome is Outcome.COMPLETED for record in inside)
    assert sum((row["figures"]["latency"] or {"count": 0})["count"] for row in latency["rows"]) == completed
    models = (await api.get(f"{USAGE}/top-models", params={"sort": "tokens", **MONTH})).json()["rows"]
    tokens = [row["figures"]["total_tokens"] for row in models]
    assert tokens == sorted(tokens, reverse=True)
    savings = (await api.get(f"{USAGE}/savings", params=MONTH)).json()
    own = sum(record.key_source in (KeySource.BYOK, KeySource.CUSTOM) for record in inside)
    assert savings["own_key_attempts"] == own
    assert (await api.get(f"{USAGE}/tags", params=MONTH)).json()["names"][0]["name"] == "project"
    forecast = (await api.get(f"{USAGE}/forecast", params={"tz": "Asia/Kolkata"})).json()
    assert forecast["tz"] == "Asia/Kolkata"


async def refusals(api: httpx.AsyncClient) -> None:
    for path in (
        "series?bucket=15m&period=all",
        "series?bucket=hour&since=1970-01-01&until=2026-11-01",
        "summary?period=1969-12",
        "summary?since=2199-01-01",
    ):
        refused = await api.get(f"{USAGE}/{path}")
        assert refused.status_code == 422, (path, refused.text)
    injection = "red' OR 1=1 --"
    for name in ("team", "model", "member", "key"):
        found = await api.get(f"{USAGE}/summary", params={name: injection, **MONTH})
        assert found.json()["total"]["attempts"] == 0


async def test_without_a_ledger_the_answer_is_503(servers: LedgerServers) -> None:
    async with servers.installation.connected(Role.CONSOLE) as bus, management_api(bus) as api:
        response = await api.get(f"{USAGE}/summary")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
