"""The audit from the stream to the chains, and detection of tampering with the tables."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import psycopg
import pytest
from nats.aio.client import Client

from keyferry.contracts import ids
from keyferry.contracts.audit import (
    AuditEntries,
    AuditEvent,
    AuditOutcome,
    AuditVerification,
    CommandChannel,
    CommandSource,
    ListAudit,
    VerifyAudit,
)
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_RECORDED, AUDIT_VERIFY, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.engine import engine_for
from services.usage_ledger.audit_chain import ChainCheck
from services.usage_ledger.audit_store import AuditStore
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.waiting import eventually_async

T = TypeVar("T")
SERVICE = Role.KEY_VAULT.value


def event(sequence: int, tenant: str = "acme", event_id: str | None = None) -> AuditEvent:
    return AuditEvent(
        event_id=event_id or ids.new(ids.AUDIT_EVENT),
        service=SERVICE,
        sequence=sequence,
        tenant=tenant,
        actor="operator",
        action="key.add",
        target=f"key_{sequence}",
        outcome=AuditOutcome.DONE,
        details={"provider": "openai"},
        at=datetime.now(UTC),
    )


async def say(vault: Client, *events: AuditEvent) -> None:
    for item in events:
        await vault.jetstream().publish(AUDIT_RECORDED.format(service=SERVICE), item.encode())


async def listed(operator: Bus, tenant: str = "acme") -> AuditEntries:
    return await operator.ask(AUDIT_LIST, ListAudit(tenant=tenant), timeout_seconds=5)


async def verified(operator: Bus, **options: object) -> AuditVerification:
    return await operator.ask(AUDIT_VERIFY, VerifyAudit.model_validate(options), timeout_seconds=5)


def change_entries(servers: LedgerServers, statement: str) -> None:
    """Change the audit as the ledger's own role, which has to switch off the guard of the table first."""
    url = servers.database_url_file.read_text().strip().replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.RaiseException):
            connection.execute(statement.encode())
        connection.execute("ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_append_only")
        connection.execute(statement.encode())


async def arrived(operator: Bus, count: int, tenant: str = "acme") -> AuditEntries:
    async def there() -> AuditEntries | None:
        found = await listed(operator, tenant)
        return found if len(found.entries) >= count else None

    return await eventually_async(f"{count} entries of {tenant}", there)


async def test_events_are_chained_once_in_order(servers: LedgerServers) -> None:
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):
        first, second, other = event(1), event(2), event(3, tenant="other")
        await say(vault, first, second, other, first, second)
        await arrived(operator, 1, "other")
        found = (await arrived(operator, 2)).entries
        assert [entry.event.event_id for entry in found] == [second.event_id, first.event_id]
        assert [entry.position for entry in found] == [2, 1]
        assert found[0].previous == found[1].digest

        async def whole() -> bool:
            return await verified(operator) == AuditVerification(tenants=2, entries=3, faults=[], of_tenants=2)

        await eventually_async("the signed heads are stored", whole)


async def test_entries_are_found_by_actor_action_target_and_time(servers: LedgerServers) -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    source = CommandSource(channel=CommandChannel.API, address="10.0.0.1", request_id="req_1")
    changes: list[dict[str, object]] = [
        {"action": "key.add", "actor": "ann", "at": began, "source": source},
        {"action": "key.edit", "at": began + timedelta(days=1)},
        {"action": "keys.count", "at": began + timedelta(days=2)},
    ]
    events = [event(number + 1).model_copy(update=change) for number, change in enumerate(changes)]
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):
        await say(vault, *events)
        everything = (await arrived(operator, 3)).entries
        assert everything[-1].event.source == source

        async def found(**filters: object) -> list[int]:
            command = ListAudit.model_validate({"tenant": "acme", **filters})
            entries = (await operator.ask(AUDIT_LIST, command, timeout_seconds=20)).entries
            return [entry.position for entry in entries]

        assert await found(actor="ann") == [1]
        assert await found(action="key") == [2, 1], "and not keys.count"
        assert await found(action="key.edit") == [2]
        assert await found(target="key_3") == [3]
        assert await found(since=began + timedelta(days=1)) == [3, 2]
        assert await found(since=began, until=began + timedelta(days=1)) == [1]
        assert await found(action="key", before=2) == [1]
        assert await found(actor="nobody") == []
        assert (await verified(operator, tenant="acme")).faults == []


@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        (
            "UPDATE audit_entries SET event = jsonb_set(event, '{actor}', '\"nobody\"') WHERE position = 2",
            "was changed",
        ),
        ("DELETE FROM audit_entries WHERE position = 2", "missing or out of order"),
        ("DELETE FROM audit_entries WHERE position > 1", "cut off"),
        ("DELETE FROM audit_entries", "cut off"),
    ],
)
async def test_tampering_with_the_table_is_detected(servers: LedgerServers, statement: str, detail: str) -> None:
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):
        await say(vault, *(event(number) for number in (1, 2, 3)))
        await arrived(operator, 3)

        async def whole() -> bool:
            return not (await verified(operator)).faults

        await eventually_async("the untouched audit verifies", whole)
        change_entries(servers, statement)
        faults = (await verified(operator)).faults
        assert any(detail in fault for fault in faults), faults
        # The fault has removed the checkpoint that the untouched audit left behind.
        assert (await verified(operator, incremental=True)).faults == faults


@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        (
            "UPDATE audit_entries SET event = jsonb_set(event, '{actor}', '\"nobody\"') WHERE position = 2",
            "entry 2 was changed",
        ),
        ("UPDATE audit_entries SET event = '{}' WHERE position = 3", "entry 3 was changed: it cannot be read"),
        ("DELETE FROM audit_entries WHERE position = 2", "missing or out of order"),
        ("DELETE FROM audit_entries WHERE position > 2", "cut off"),
        ("DELETE FROM audit_entries", "entry 1 is gone, which was verified"),
        ("DELETE FROM audit_entries; DELETE FROM audit_chain_heads; DELETE FROM audit_checkpoints", "cut off"),
    ],
)
async def test_tampering_after_a_checkpoint_is_detected(servers: LedgerServers, statement: str, detail: str) -> None:
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):

        async def untouched() -> bool:
            return not (await verified(operator, incremental=True, limit=1)).faults

        await say(vault, event(1))
        await arrived(operator, 1)
        await eventually_async("the first entry is verified", untouched)
        await eventually_async("there is a checkpoint", lambda: continued(operator))
        await say(vault, event(2), event(3))
        await arrived(operator, 3)

        change_entries(servers, statement)

        async def faulty() -> list[str] | None:
            # The heads are stored a moment after the entries.
            return (await verified(operator, incremental=True)).faults or None

        faults = await eventually_async("it is detected", faulty)
        assert any(detail in fault for fault in faults), faults


async def continued(operator: Bus) -> bool:
    return (await verified(operator, tenant="acme", incremental=True)).continued == 1


async def test_pages_continue_from_signed_checkpoints(servers: LedgerServers) -> None:
    tenants = [f"tenant-{number}" for number in range(5)]
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):
        await say(vault, *(event(number, tenant) for number, tenant in enumerate(tenants * 2, 1)))
        await arrived(operator, 2, tenants[-1])

        async def whole() -> bool:
            return await verified(operator) == AuditVerification(tenants=5, entries=10, of_tenants=5)

        await eventually_async("the signed heads are stored", whole)
        first = await verified(operator, incremental=True, limit=3)
        assert (first.tenants, first.entries, first.continued, first.next) == (3, 3, 3, "tenant-2")
        assert first.full_at is not None
        second = await verified(operator, incremental=True, limit=3, after=first.next)
        assert (second.tenants, second.continued, second.next, second.of_tenants) == (2, 2, None, 5)

        servers.query("UPDATE usage_ledger.audit_checkpoints SET position = 1 WHERE tenant = 'tenant-0'")
        change_entries(
            servers, "UPDATE audit_entries SET previous = repeat('1', 64) WHERE tenant = 'tenant-1' AND position = 1"
        )
        found = await verified(operator, incremental=True)
        assert found.faults == ["tenant-0: its checkpoint was forged"], "an edit before a checkpoint is not seen"
        faults = (await verified(operator)).faults
        assert "tenant-1: entry 1 was changed" in faults
        assert (await verified(operator, incremental=True)).faults == faults, "from then on it is seen"


async def test_a_service_cannot_write_anothers_audit(servers: LedgerServers) -> None:
    """The server checks who publishes to which subject; the ledger checks that the event names no other service."""
    foreign = event(1).model_copy(update={"service": "console"})
    own = event(1)
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):
        await say(vault, foreign, own)
        (entry,) = (await arrived(operator, 1)).entries
        assert entry.event == own
        (letter,) = await servers.dead_letters()
        assert (letter.original, letter.producer, letter.stream) == (foreign.encode(), SERVICE, "AUDIT")
        assert "a service may not write another's audit" in letter.message
        assert (await listed(operator)).entries == [entry]


async def test_two_processes_append_to_one_chain_without_a_gap(servers: LedgerServers) -> None:
    engine = engine_for(servers.settings())
    try:
        stores = [AuditStore(engine), AuditStore(engine)]
        events = [event(number) for number in range(1, 41)]
        heads = await asyncio.gather(
            *(stores[number % 2].append([item], item.at) for number, item in enumerate(events))
        )
        assert sorted(head.position for (head,) in heads) == list(range(1, 41))
        check = ChainCheck("acme", None)
        async for page in stores[0].chain("acme"):
            check.feed(page)
        assert check.faults == []
    finally:
        await engine.dispose()


async def test_a_lost_event_is_reported_as_missing(servers: LedgerServers) -> None:
    async with (
        servers.in_process(),
        servers.operator() as operator,
        servers.installation.client(SERVICE) as vault,
    ):
        await say(vault, event(1), event(3))
        await arrived(operator, 2)
        assert f"1 events of the {SERVICE} are missing" in (await verified(operator)).faults


async def test_a_number_that_was_used_twice_hides_no_lost_event(servers: LedgerServers) -> None:
    engine = engine_for(servers.settings())
    try:
        store = AuditStore(engine)
        await store.append([event(1), event(1), event(3)], datetime.now(UTC))
        assert await store.missing() == {SERVICE: 1}
    finally:
        await engine.dispose()
