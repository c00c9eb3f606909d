"""Live events of the console's process, on a bus with the deployed permissions and streams."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.credit_management import CreditState
from keyferry.contracts.health import CircuitState, HealthChange, KeyClass, Target
from keyferry.contracts.key import KeyChange, KeyChanged, KeyStatus
from keyferry.contracts.live_events import (
    CREDITS_CHANGED,
    DEAD_LETTERS_COUNTED,
    REQUESTS_RECORDED,
    CreditAmounts,
    DeadLetterCount,
    RequestsRecorded,
)
from keyferry.contracts.topology import HEALTH_CHANGED, KEY_CHANGED, Role
from keyferry.sealing.private_keys import public_key_text
from tests.integration.console.console import TOKEN, Console, console
from tests.integration.console.test_process import report_of_console
from tests.support.clients.event_stream import EventReader, events
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus
from tests.support.waiting import eventually_async

PINNED = public_key_text(X25519PrivateKey.generate())
ACME, GLOBEX, ALL = "/api/v1/ops/tenants/acme/events", "/api/v1/ops/tenants/globex/events", "/api/v1/ops/events"
NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path) as found:
        yield found


@pytest.fixture
async def face(bus: ProvisionedBus, tmp_path: Path) -> AsyncIterator[Console]:
    async with console(bus, tmp_path, PINNED) as found:
        yield found


@pytest.fixture
async def ledger(bus: ProvisionedBus) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Publish counts of requests as the ledger does: the number distinguishes the messages."""
    async with bus.client(Role.USAGE_LEDGER) as client:

        async def publish(*numbers: int, tenant: str = "acme") -> None:
            for number in numbers:
                message = RequestsRecorded(tenant=tenant, skipped=number, at=NOW)
                await client.publish(REQUESTS_RECORDED.format(tenant=tenant), message.encode())
            await client.flush()

        yield publish


def health(target: Target, **known: object) -> HealthChange:
    return HealthChange.model_validate(
        {"target": target, "state": CircuitState.OPEN, "reason": "it fails", "changed_at": NOW} | known
    )


async def numbers(reader: EventReader, count: int) -> list[int]:
    return [(await reader.expect("requests")).data["skipped"] for _ in range(count)]


async def test_a_tenant_gets_what_is_its_own_and_what_is_shared(bus: ProvisionedBus, face: Console) -> None:
    own = Target(provider="custom", model="llama", tenant="acme", endpoint="lab", origin="https://lab.acme.example")
    foreign = Target(provider="custom", model="secret", tenant="globex", endpoint="x", origin="https://x.example")
    tuned = Target(provider="openai", model="ft:gpt-4o:globex", origin="https://api.openai.com")
    shared = Target(provider="openai", model="gpt-4o", key_class=KeyClass.PLATFORM, origin="https://eu.example")
    key = Target(provider="openai", model="gpt-4o", key_class=KeyClass.PLATFORM, key_id="key_0001")
    amounts = {
        "balance": 12,
        "available": 10,
        "held": 2,
        "balance_usd": "0.012",
        "state": CreditState.LOW,
        "as_of": NOW,
    }
    changed = {
        "provider": "openai",
        "change": KeyChange.TESTED,
        "status": KeyStatus.VALID,
        "detail": "it works",
        "at": NOW,
    }
    async with (
        events(face.client, ACME) as acme,
        events(face.client, GLOBEX) as globex,
        events(face.client, ALL) as everything,
        bus.client(Role.HEALTH_MONITOR) as monitor,
        bus.client(Role.KEY_VAULT) as vault,
        bus.client(Role.USAGE_LEDGER) as usage,
    ):
        ready = (await acme.expect("ready")).data
        assert ready == {
            "topics": ["alerts", "credits", "health", "keys", "members", "requests", "rules", "tokens"],
            "tenant": "acme",
            "role": "operator",
            "resumed": False,
        }
        assert acme.retry == 2000
        assert (await everything.expect("ready")).data["topics"] == ["dead_letters", "health", "requests"]
        await globex.expect("ready")
        for change in (health(foreign), health(tuned, known_to="globex"), health(key), health(own), health(shared)):
            subject = HEALTH_CHANGED.format(provider=change.target.provider)
            await monitor.jetstream().publish(subject, change.encode())
        for tenant in ("globex", "acme"):
            event = KeyChanged.model_validate({"key_id": "key_0002", "tenant": tenant} | changed)
            await vault.jetstream().publish(KEY_CHANGED.format(tenant=tenant), event.encode())
            credit = CreditAmounts.model_validate({"tenant": tenant} | amounts)
            await usage.publish(CREDITS_CHANGED.format(tenant=tenant), credit.encode())
            recorded = RequestsRecorded(tenant=tenant, skipped=7, at=NOW)
            await usage.publish(REQUESTS_RECORDED.format(tenant=tenant), recorded.encode())
        await usage.publish(DEAD_LETTERS_COUNTED.format(), DeadLetterCount(count=3, at=NOW).encode())
        seen = [found for _ in range(5) if (found := await acme.next()) is not None]
        texts = [str(found.data) for found in seen]
        assert sorted(found.name for found in seen) == ["credits", "health", "health", "keys", "requests"]
        assert not any(word in text for text in texts for word in ("globex", "secret", "ft:", "key_0001"))
        first, second = (found.data for found in seen if found.name == "health")
        assert (first["health"]["target"]["endpoint"], first["outage"]) == ("lab", "began")
        assert second["health"]["target"]["origin"] is None, "the operator has chosen that address"
        assert next(found.data for found in seen if found.name == "credits")["balance"] == "12"
        theirs = [found for _ in range(6) if (found := await globex.next()) is not None]
        assert sorted(found.name for found in theirs) == ["credits", "health", "health", "health", "keys", "requests"]
        assert not any("acme" in str(found.data) for found in theirs)
        assert (await everything.expect("dead_letters")).data["count"] == 3


async def test_the_installation_gets_counts(face: Console, ledger: Callable[..., Awaitable[None]]) -> None:
    async with events(face.client, f"{ALL}?topics=requests") as everything:
        await everything.expect("ready")
        await ledger(5, 6)
        await ledger(1, tenant="globex")
        total: dict[str, int] = {}
        while sum(total.values()) < 12:
            found = (await everything.expect("requests")).data
            for each in found["requests"]:
                total[each["tenant"]] = total.get(each["tenant"], 0) + each["count"]
    assert total == {"acme": 11, "globex": 1}


async def test_a_stream_that_was_cut_goes_on_at_any_process(
    bus: ProvisionedBus, face: Console, ledger: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """Nothing is lost and nothing comes twice, whichever process the browser connects to again."""
    (tmp_path / "second").mkdir()
    async with console(bus, tmp_path / "second", PINNED, records=False) as second:
        async with events(face.client, ACME) as reader:
            await reader.expect("ready")
            await ledger(*range(1, 6))
            assert await numbers(reader, 5) == [1, 2, 3, 4, 5]
            last = reader.last_id
        await ledger(*range(6, 300))
        await ledger(1000, tenant="globex")
        for process in (second, face):
            async with events(process.client, ACME, last_event_id=last) as reader:
                assert (await reader.expect("ready")).data["resumed"]
                await ledger(300)
                assert await numbers(reader, 295) == [*range(6, 301)]
                last, again = reader.last_id, reader.last_id
            await ledger(*range(6, 300))
        async with events(face.client, f"{ACME}?last_event_id={again}") as reader:
            assert await numbers(reader, 294) == [*range(6, 300)]


@pytest.mark.parametrize("given", ["1-1", "nonsense", "0-99999999999999999999", "19d2f0a1b2c-17"])
async def test_an_id_of_another_log_is_answered_with_a_reset(face: Console, given: str) -> None:
    async with events(face.client, ACME, last_event_id=given) as reader:
        assert not (await reader.expect("ready")).data["resumed"]
        found = await reader.next()
        assert found is not None
        assert (found.name, found.data) == ("reset", {"reason": "unknown_id"})


async def test_what_the_log_has_no_more_is_a_reset(
    bus: ProvisionedBus, face: Console, ledger: Callable[..., Awaitable[None]]
) -> None:
    async with events(face.client, ACME) as reader:
        last = (await reader.expect("ready")).id
    await ledger(1, 2, 3)
    async with bus.client(Role.PROVISIONER) as provisioner:
        await provisioner.jetstream().purge_stream("LIVE", keep=1)
    async with events(face.client, ACME, last_event_id=last) as reader:
        assert not (await reader.expect("ready")).data["resumed"]
        assert (await reader.expect("reset")).data == {"reason": "too_old"}
        await ledger(4)
        assert await numbers(reader, 1) == [4]


async def test_nothing_is_lost_while_the_bus_restarts(
    bus: ProvisionedBus, face: Console, ledger: Callable[..., Awaitable[None]]
) -> None:
    async with events(face.client, ACME) as reader:
        await reader.expect("ready")
        await ledger(1)
        assert await numbers(reader, 1) == [1]
        bus.server.stop()
        bus.server.restart()
        async with bus.client(Role.USAGE_LEDGER) as client:
            for number in range(2, 6):
                message = RequestsRecorded(tenant="acme", skipped=number, at=NOW)
                await client.publish(REQUESTS_RECORDED.format(tenant="acme"), message.encode())
            await client.flush()
        assert await numbers(reader, 4) == [2, 3, 4, 5]


async def test_a_console_that_drains_ends_its_streams(face: Console) -> None:
    async with events(face.client, ACME) as reader:
        await reader.expect("ready")
        draining = asyncio.create_task(face.drain())
        found = await reader.rest()
        assert [(each.name, each.data) for each in found] == [("closing", {"reason": "draining"})]
    assert await draining == 0


async def test_topics_are_checked(face: Console) -> None:
    unknown = await face.client.get(f"{ACME}?topics=requests,money")
    assert unknown.status_code == 422
    assert "credits, health, keys, members, requests, rules, tokens" in unknown.json()["error"]["message"]
    assert (await face.client.get("/api/v1/events?tenant=acme")).status_code == 404
    async with events(face.client, f"{ACME}?topics=health,keys") as reader:
        assert (await reader.expect("ready")).data["topics"] == ["health", "keys"]


async def test_a_session_has_only_so_many_streams(face: Console) -> None:
    """One that is gone makes way for another at once."""
    async with AsyncExitStack() as stack:
        for _ in range(12):
            await stack.enter_async_context(events(face.client, ACME))
        refused = await face.client.get(ACME)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_streams")
    async with asyncio.timeout(10):
        while True:
            async with face.client.stream("GET", ACME) as response:
                if response.status_code == 200:
                    break
            await asyncio.sleep(0.02)


async def test_who_reads_too_slowly_is_cut_off_and_others_are_not(bus: ProvisionedBus, face: Console) -> None:
    """The queue of a reader that takes nothing is bounded, and the console forgets it."""
    host, port = face.client.base_url.host, face.client.base_url.port or 0
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, port))
        slow.sendall(f"GET {ACME} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
        async with events(face.client, ACME) as reader, bus.client(Role.USAGE_LEDGER) as client:
            await reader.expect("ready")
            await eventually_async("both are open", lambda: _has_streams(bus, 2))
            wide = health(Target(provider="openai", model="m" * 200, key_class=KeyClass.PLATFORM), reason="x" * 500)
            async with bus.client(Role.HEALTH_MONITOR) as monitor:
                for number in range(6000):
                    subject = HEALTH_CHANGED.format(provider="openai")
                    await monitor.publish(subject, wide.encode())
                    if number % 100 == 99:
                        await monitor.flush()
                        for _ in range(100):
                            await reader.expect("health")
            message = RequestsRecorded(tenant="acme", skipped=5, at=NOW)
            await client.publish(REQUESTS_RECORDED.format(tenant="acme"), message.encode())
            assert await numbers(reader, 1) == [5], "nothing of the other reader is lost"
            await eventually_async("the slow reader is forgotten", lambda: _has_streams(bus, 1))
        slow.settimeout(30)
        taken = b""
        while data := slow.recv(65536):
            taken += data
    assert taken.count(b"event: health") < 6000


async def _has_streams(bus: ProvisionedBus, count: int) -> bool:
    return (await report_of_console(bus)).facts["event_streams"] == str(count)
