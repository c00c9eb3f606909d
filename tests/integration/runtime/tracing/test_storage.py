"""Spans of two processes on a real bus: both store a trace that one of them found worth a look."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keyferry.contracts.topology import Role, worker_id
from keyferry.contracts.traces import SPANS_RECORDED, TRACES, SpanBatch, SpanRecord
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.runtime.tracing.sampling import KeepReason, TraceOptions
from keyferry.runtime.tracing.storage import SpanStorage
from keyferry.runtime.tracing.telemetry import Telemetry
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus
from tests.support.waiting import eventually, eventually_async


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path) as found:
        yield found


@asynccontextmanager
async def process(found: ProvisionedBus, role: Role) -> AsyncIterator[tuple[Telemetry, Bus]]:
    """Record as one process of a role does."""
    user = worker_id(1) if role is Role.PROVIDER_WORKER else role.value
    telemetry = Telemetry(role.value, {}, TraceOptions())
    bus = Bus(role, ServiceSettings(nats_url=found.nats_url, nats_nkey_file=found.seed_file(user)), telemetry)
    storage = SpanStorage(bus, telemetry)
    await bus.connect()
    await storage.start()
    await bus.start()
    try:
        yield telemetry, bus
    finally:
        await storage.stop()
        await bus.broker.stop()


async def stored(found: ProvisionedBus, trace_id: str) -> list[SpanRecord]:
    """Return the spans of a trace, read as the usage ledger reads them."""
    async with found.client(Role.USAGE_LEDGER.value) as client:
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        wanted = {"batch": 100, "seq": 1, "next_by_subj": SPANS_RECORDED.pattern(trace=trace_id)}
        await client.publish(f"$JS.API.DIRECT.GET.{TRACES.name}", json.dumps(wanted).encode(), reply=inbox)
        spans: list[SpanRecord] = []
        while (message := await answers.next_msg(timeout=10)).data:
            assert message.headers is not None
            batch = SpanBatch.decode(message.data)
            publisher = message.headers["Nats-Subject"].rpartition(".")[2]
            assert all((span.trace_id, span.service) == (trace_id, publisher) for span in batch.spans)
            spans += batch.spans
        return spans


async def until_stored(found: ProvisionedBus, trace_id: str, count: int) -> dict[str, SpanRecord]:
    async def whole() -> list[SpanRecord] | None:
        spans = await stored(found, trace_id)
        return spans if len(spans) >= count else None

    spans = await eventually_async(f"{count} spans are stored", whole)
    assert spans is not None
    assert len(spans) == count
    return {span.name: span for span in spans}


async def test_every_process_stores_a_trace_that_one_announces(bus: ProvisionedBus) -> None:
    trace_id = secrets.token_hex(16)
    parent = f"00-{trace_id}-{secrets.token_hex(8)}-00"
    async with process(bus, Role.INGRESS) as (ingress, _), process(bus, Role.PROVIDER_WORKER) as (worker, _):
        root = ingress.start("POST /v1/chat/completions", parent)
        attempt = worker.start("attempt", root.traceparent)
        late = worker.start("late", attempt.traceparent)
        attempt.end()
        ingress.start("quiet").end()
        root.fail("server")
        ingress.finish(root)
        found = await until_stored(bus, trace_id, 2)
        late.end()
        found = await until_stored(bus, trace_id, 3)
    assert (found["attempt"].service, found["attempt"].parent_span_id) == (worker_id(1), root.span_id)
    assert found["POST /v1/chat/completions"].error == "server"


async def test_texts_from_outside_are_cleaned_and_secrets_left_out(bus: ProvisionedBus) -> None:
    trace_id, key = secrets.token_hex(16), "sk-proj-" + "Zq8Xw2Lr6Tn0Vb4KdYm3Pc5Hs7" * 2
    async with process(bus, Role.ROUTER) as (router, _):
        for number in range(3):
            span = router.start(f"{number} \x00\ud800\n" + "x" * 10_000, f"00-{trace_id}-{secrets.token_hex(8)}-01")
            span.set(a="\x00\u202e" + "y" * 10_000, b=f"the key {key}", c=None, d=7, e=True, f=2**70 if number else 1.5)
            span.set(**{f"more_{index}": index for index in range(100)})
            span.end()
        found = await until_stored(bus, trace_id, 1)
        await eventually("the spans with an impossible number are counted", lambda: router.counts["dropped"] == 2)
    ((name, record),) = found.items()
    assert (len(name), name[:5]) == (300, "0 \ufffd\ufffd ")
    assert (len(record.attributes), len(str(record.attributes["a"]))) == (64, 500)
    assert key not in str(record.attributes)
    assert (record.attributes["d"], record.attributes["e"], record.attributes["f"]) == (7, True, 1.5)


async def test_spans_wait_while_the_bus_is_away(bus: ProvisionedBus) -> None:
    trace_id = secrets.token_hex(16)
    async with process(bus, Role.ROUTER) as (router, connection):
        bus.server.kill()
        await eventually("the bus is away", lambda: not connection.connected)
        span = router.start("while away", f"00-{trace_id}-{secrets.token_hex(8)}-00")
        span.end()
        span.keep(KeepReason.ERROR)
        bus.server.restart()
        await until_stored(bus, trace_id, 1)
