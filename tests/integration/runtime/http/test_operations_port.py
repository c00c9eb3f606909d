"""The operations port over real sockets: what it serves, and that its absence harms nobody."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from keyferry.runtime.metrics import operations_port
from keyferry.runtime.metrics.gauges import ProcessGauges
from keyferry.runtime.metrics.operations_port import OperationsPort
from keyferry.runtime.metrics.registry import EveryMetric
from tests.support.servers.ports import find_free_port
from tests.support.waiting import eventually


class Process:
    """What the port reports about."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.waiting: list[str] = []
        self.draining = False
        self.gauges = ProcessGauges()
        self.port = OperationsPort(
            host,
            port,
            metrics=EveryMetric(self.gauges),
            waiting_for=lambda: self.waiting,
            draining=lambda: self.draining,
        )


@asynccontextmanager
async def serving(process: Process) -> AsyncIterator[None]:
    await process.port.start()
    try:
        await eventually("the operations port is open", lambda: process.port.served)
        yield
    finally:
        await process.port.stop()


async def test_it_serves_metrics_health_and_readiness() -> None:
    port = find_free_port()
    process = Process(port)
    process.gauges.gauge("keyferry_test_depth", "Text.", lambda: 7)
    async with serving(process), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(metrics.text)}
        assert families["keyferry_test_depth"].samples[0].value == 7
        assert families["process_resident_memory_bytes"].samples[0].value > 1e6
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready", "waiting_for": []}
        process.waiting = ["the bus (NATS)"]
        waiting = await client.get("/readyz")
        assert (waiting.status_code, waiting.json()) == (503, {"status": "waiting", "waiting_for": ["the bus (NATS)"]})
        process.draining = True
        assert (await client.get("/readyz")).json()["status"] == "draining"
        assert (await client.get("/healthz")).status_code == 200
        head = await client.head("/metrics")
        assert (head.status_code, head.content) == (200, b"")
        refused = [
            await client.request(*asked) for asked in (("POST", "/metrics"), ("GET", "/"), ("GET", "/v1/models"))
        ]
        assert [one.status_code for one in refused] == [405, 404, 404]
        assert all(json.loads(one.content)["error"]["message"] for one in refused)


async def test_a_successor_takes_the_port_over_when_its_predecessor_ends() -> None:
    port = find_free_port()
    old, new = Process(port), Process(port)
    new.gauges.gauge("keyferry_test_new", "Text.", lambda: 1)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        async with serving(old):
            await new.port.start()
            answers = [(await client.get("/metrics", headers={"connection": "close"})).text for _ in range(20)]
            assert not any("keyferry_test_new" in answer for answer in answers)
            assert not new.port.served
        await eventually("the successor serves", lambda: new.port.served)
        assert "keyferry_test_new" in (await client.get("/metrics")).text
    await new.port.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.7"])
async def test_a_port_that_cannot_be_opened_is_a_note_for_the_operator(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations_port, "_REPORT_AFTER_SECONDS", 0.0)
    port = find_free_port()
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    process = Process(port, host)
    await process.port.start()
    try:
        (note,) = await eventually("there is a note", process.port.alerts)
        assert f"{host}:{port}" in note
        taken.close()
        await taken.wait_closed()
        if host == "127.0.0.1":
            await eventually("it serves", lambda: process.port.served)
            assert not process.port.alerts()
    finally:
        await process.port.stop()


async def test_no_port_serves_nothing() -> None:
    process = Process(0)
    await process.port.start()
    await process.port.stop()
    assert not process.port.served
    assert not process.port.alerts()
