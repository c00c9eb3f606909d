"""Usage events at the double of Lago: each counted once, whatever fails in between."""

import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from nats.aio.msg import Msg

from deploy.billing_demo.faults import FailureKind, PlannedFailure
from deploy.billing_demo.lago.server import LagoDouble
from keyferry.contracts.lago import LagoCustomer, LagoCustomerState, LagoOutcome, ListParkedLagoEvents
from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import AttemptRecord, KeySource, TokenUsage, UsageSource
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.lago.client import LagoClient, LagoUnavailable
from services.billing.lago.consumer import AttemptReporter, NotReported
from services.billing.lago.customers import LagoCustomerDirectory, external_id
from services.billing.lago.events import UsageEvent, usage_event
from services.billing.lago.reporter import LagoReporter
from services.billing.lago.store import LagoStore
from tests.support.billing.lago_double import running_lago
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FAR_AWAY = datetime(9998, 1, 1, tzinfo=UTC)
"""A time that Lago does not take."""
_tenants = itertools.count()


CLIENTS: list[LagoClient] = []
"""Those of the current test."""


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while CLIENTS:
        await CLIENTS.pop().close()


@pytest.fixture
async def lago() -> AsyncIterator[LagoDouble]:
    async with running_lago() as double:
        yield double


class Reporting:
    """What one process has about Lago, without a bus."""

    def __init__(
        self,
        database: ServiceDatabase,
        url: str,
        key: str,
        plan: str | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        async def api_key() -> Secret:
            return Secret(key)

        self.store = LagoStore(database)
        self.client = LagoClient(url, api_key, transport)
        CLIENTS.append(self.client)
        self.customers = LagoCustomerDirectory(self.store, self.client, plan, lambda: NOW)
        self.reporter = LagoReporter(self.store, self.client, self.customers, lambda: NOW)

    async def report(self, events: list[UsageEvent]) -> LagoOutcome:
        return (await self.reporter.report(events)).outcome()


@pytest.fixture
async def reporting(billing_database: ServiceDatabase, lago: LagoDouble) -> Reporting:
    found = Reporting(billing_database, lago.url, lago.api_key, "keyferry", None)
    await found.store.begin(NOW)
    return found


def new_tenant() -> str:
    return f"tenant-{next(_tenants)}"


def used(tenant: str, tokens: int = 15, **changes: Any) -> UsageEvent:
    fields = {"tenant": tenant, "started_at": NOW, "token_usage": TokenUsage(input=tokens)} | changes
    event = usage_event(attempt_record(**fields))
    assert event is not None
    return event


def counted(lago: LagoDouble, tenant: str) -> tuple[int, int]:
    """Return the events of a tenant in Lago, and their tokens."""
    found = [
        event
        for event in lago.state.table("event").values()
        if event["external_subscription_id"] == external_id(tenant)
    ]
    return len(found), sum(event["properties"]["tokens"] for event in found)


async def test_each_attempt_is_counted_once_however_often_it_is_reported(
    reporting: Reporting, lago: LagoDouble
) -> None:
    one, other = new_tenant(), new_tenant()
    events = [used(one, 10) for _ in range(150)] + [used(other, 3) for _ in range(60)]
    assert await reporting.report([*events, events[0]]) == LagoOutcome(accepted=210)
    assert await reporting.report([*events, used(one, 10)]) == LagoOutcome(accepted=1, known=210)
    assert (counted(lago, one), counted(lago, other)) == ((151, 1510), (60, 180))
    batches = [path for method, path in lago.requests if path == "/events/batch"]
    assert len(batches) <= 7


async def test_an_event_says_what_was_used_and_by_whose_key(reporting: Reporting, lago: LagoDouble) -> None:
    event = used(
        new_tenant(),
        key_source=KeySource.BYOK,
        operation="summarize",
        provider="openai",
        model="gpt-4o",
        token_usage=TokenUsage(input=7, cached_read=2, output=4, reasoning=1),
        usage_source=UsageSource.ESTIMATED,
        latency_ms=1500,
    )
    await reporting.report([event])
    stored = lago.state.table("event")[event.attempt_id]
    expected = {
        "tokens": 14,
        "input_tokens": 7,
        "cached_read_tokens": 2,
        "output_tokens": 4,
        "reasoning_tokens": 1,
        "byok_used": "true",
        "provider": "openai",
        "model": "gpt-4o",
        "operation": "summarize",
        "usage_source": "estimated",
    }
    assert stored["properties"].items() >= expected.items()
    assert stored["code"] == "llm_tokens"
    assert stored["timestamp"] == "2026-11-30T12:00:01Z"


@pytest.mark.parametrize("kind", [FailureKind.LOST_ANSWER, FailureKind.SERVER_ERROR, FailureKind.RATE_LIMIT])
async def test_what_was_lost_on_the_way_is_reported_again_and_counted_once(
    reporting: Reporting, lago: LagoDouble, kind: FailureKind
) -> None:
    tenant = new_tenant()
    events = [used(tenant, 1) for _ in range(120)]
    lago.failures.add(PlannedFailure(kind, path="/events/batch"))
    with pytest.raises(LagoUnavailable):
        await reporting.report(events)
    await reporting.report(events)
    assert counted(lago, tenant) == (120, 120)


@pytest.mark.parametrize("path", ["/customers", "/subscriptions", "/wallets"])
async def test_a_customer_is_added_once_although_an_answer_was_lost(
    reporting: Reporting, lago: LagoDouble, path: str
) -> None:
    tenant = new_tenant()
    lago.failures.add(PlannedFailure(FailureKind.LOST_ANSWER, path=path, method="POST"))
    with pytest.raises(LagoUnavailable):
        await reporting.report([used(tenant)])
    assert await reporting.report([used(tenant)]) == LagoOutcome(accepted=1)
    name = external_id(tenant)
    wallets = [each for each in lago.state.table("wallet").values() if each["external_customer_id"] == name]
    assert (len(wallets), name in lago.state.table("customer"), name in lago.state.table("subscription")) == (
        1,
        True,
        True,
    )
    (saved,) = (await reporting.store.read_customers([tenant])).values()
    assert saved.wallet_id == wallets[0]["lago_id"]


async def test_a_bad_event_blocks_no_other_and_is_reported_once_it_is_mended(
    reporting: Reporting, lago: LagoDouble
) -> None:
    tenant = new_tenant()
    bad = UsageEvent("att_bad", tenant, FAR_AWAY, {"tokens": 5})
    good = [used(tenant, 1) for _ in range(30)]
    assert await reporting.report([*good[:20], bad, *good[20:]]) == LagoOutcome(accepted=30, parked=1)
    total, (parked,) = await reporting.store.list_parked(ListParkedLagoEvents(only=tenant))
    assert (total, parked.tokens, parked.reason) == (1, 5, "timestamp: invalid_format")
    await reporting.report([bad])
    _, (again,) = await reporting.store.list_parked(ListParkedLagoEvents(only=tenant))
    assert again.replays == 1
    await reporting.store.remove_parked(["att_bad"])
    assert (await reporting.store.read_progress())["parked"] == 0


async def test_a_batch_that_is_refused_without_a_position_is_halved(billing_database: ServiceDatabase) -> None:
    tenant, sent = new_tenant(), list[list[str]]()
    events = [used(tenant) for _ in range(9)]
    bad = events[4].attempt_id

    def answer(request: httpx.Request) -> httpx.Response:
        ids = [event["transaction_id"] for event in json.loads(request.content)["events"]]
        sent.append(ids)
        return (
            httpx.Response(422, json={"error_details": {"properties": ["invalid"]}})
            if bad in ids
            else httpx.Response(200)
        )

    reporting = Reporting(billing_database, "http://lago", "key", None, httpx.MockTransport(answer))
    await save(reporting, tenant, LagoCustomerState.REPORTED)
    outcome = await reporting.report(events)
    assert outcome == LagoOutcome(accepted=8, parked=1)
    assert sum(bad in ids for ids in sent) <= 5
    await reporting.store.remove_parked([bad])


@pytest.mark.parametrize("state", [None, LagoCustomerState.SKIPPED])
async def test_a_tenant_without_a_customer_is_left_out(
    billing_database: ServiceDatabase, lago: LagoDouble, state: LagoCustomerState | None
) -> None:
    reporting = Reporting(billing_database, lago.url, lago.api_key, None, None)
    tenant = new_tenant()
    if state is not None:
        await save(reporting, tenant, state)
    assert await reporting.report([used(tenant), used(tenant)]) == LagoOutcome(skipped=2)
    assert not lago.requests


async def test_a_plan_that_lago_does_not_know_delays_no_other_tenant(
    billing_database: ServiceDatabase, lago: LagoDouble
) -> None:
    reporting = Reporting(billing_database, lago.url, lago.api_key, "no-such-plan", None)
    known, unknown = new_tenant(), new_tenant()
    await save(reporting, known, LagoCustomerState.REPORTED)
    outcome = await reporting.report([used(unknown), used(known)])
    assert outcome == LagoOutcome(accepted=1, parked=1)
    _, (parked,) = await reporting.store.list_parked(ListParkedLagoEvents(only=unknown))
    assert "no customer could be added" in parked.reason
    await reporting.store.remove_parked([parked.attempt_id])


async def test_a_wrong_key_is_an_outage_and_parks_nothing(billing_database: ServiceDatabase, lago: LagoDouble) -> None:
    reporting = Reporting(billing_database, lago.url, "wrong", "keyferry", None)
    with pytest.raises(LagoUnavailable, match="does not accept the API key"):
        await reporting.report([used(new_tenant())])
    assert (await reporting.store.read_progress())["parked"] == 0


async def save(reporting: Reporting, tenant: str, state: LagoCustomerState) -> None:
    name = external_id(tenant)
    customer = LagoCustomer(
        tenant=tenant,
        state=state,
        external_customer_id=name,
        external_subscription_id=name,
        created_by="operator",
        updated_at=NOW,
    )
    await reporting.store.save_customer(customer, actor="operator", replace=True)


# --- from the stream


class Clock:
    """A clock that each look moves by some seconds, so that no test waits."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=7)
        return self.now


def message(records: list[AttemptRecord], waiting: int = 0) -> Msg:
    metadata = SimpleNamespace(num_pending=waiting, timestamp=NOW - timedelta(hours=1))
    data = batch_message([record.encode() for record in records])
    return cast(Msg, SimpleNamespace(subject=f"kf.{WORKER}", data=data, metadata=metadata))


def records(tenant: str, count: int, **changes: Any) -> list[AttemptRecord]:
    return [attempt_record(tenant=tenant, started_at=NOW, worker_id=WORKER, **changes) for _ in range(count)]


async def test_a_batch_is_returned_while_lago_is_away_and_goes_on_where_it_stopped(
    reporting: Reporting, lago: LagoDouble
) -> None:
    tenant, alerts = new_tenant(), list[bool]()

    async def report_backlog(raised: bool, _text: str) -> None:
        alerts.append(raised)

    reader = AttemptReporter(reporting.reporter, lambda: NOW, report_backlog, Clock())
    batch = [message(records(tenant, 250), waiting=3)]
    await reporting.report([used(tenant)])
    lago.requests.clear()
    lago.failures.add(PlannedFailure(FailureKind.SERVER_ERROR, path="/events/batch", times=1000))
    with pytest.raises(NotReported):
        await reader.on_attempts(batch)
    assert (reader.waiting_messages, alerts[-1], bool(reader.last_error)) == (4, True, True)
    lago.failures.planned.clear()
    await reader.on_attempts(batch)
    assert counted(lago, tenant)[0] == 251
    assert reader.last_error is None
    lago.requests.clear()
    await reader.on_attempts([message([], waiting=0), *batch[:0]])
    assert (reader.waiting_messages, alerts[-1]) == (0, False)
    await reader.on_attempts(batch)
    assert not lago.requests


async def test_only_attempts_with_usage_since_the_beginning_are_reported(
    reporting: Reporting, lago: LagoDouble
) -> None:
    tenant = new_tenant()
    batch = [
        *records(tenant, 2),
        *records(tenant, 3, token_usage=TokenUsage(), usage_source=UsageSource.NONE),
        *(record.model_copy(update={"started_at": NOW - timedelta(days=1)}) for record in records(tenant, 4)),
    ]

    async def report_backlog(_raised: bool, _text: str) -> None: ...

    reader = AttemptReporter(reporting.reporter, lambda: NOW, report_backlog, lambda: NOW)
    foreign = [record.model_copy(update={"worker_id": "provider-worker-2"}) for record in records(tenant, 1)]
    await reader.on_attempts([message(batch), message(foreign)])
    assert counted(lago, tenant)[0] == 2


async def test_without_lago_attempts_are_acknowledged_and_dropped() -> None:
    async def report_backlog(_raised: bool, _text: str) -> None:
        raise AssertionError("nothing to report")

    await AttemptReporter(None, lambda: None, report_backlog).on_attempts([message(records("t", 1))])
