"""Idle addresses are probed through workers, and what they find changes the health of their targets."""

from datetime import datetime, timedelta

from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.route import Endpoint, EndpointProbe, ProbeEndpoint, ProbeOutcome
from keyferry.runtime.bus.requests import BusError
from services.health_monitor.address_prober import AddressProber
from services.health_monitor.circuit import CircuitPolicy
from services.health_monitor.probe_schedule import IDLE
from services.health_monitor.registry import TargetHealthRegistry
from tests.unit.health_monitor.attempts import NOON, seconds

LAB = Endpoint(tenant="acme", name="lab", base_url="https://lab.example/v1", models=["llama"])
TARGET = Target(provider="custom", model="llama", tenant="acme", endpoint="lab", origin="https://lab.example")


class Probing:
    """A prober of one endpoint at a clock of its own, with a worker that finds what it is set to."""

    def __init__(self) -> None:
        self.now = NOON
        self.outcome: ProbeOutcome | None = ProbeOutcome.LISTED
        self.asked: list[str] = []
        self.changes: list[Health] = []
        self.extended: list[Target] = []
        self.registry = TargetHealthRegistry(CircuitPolicy())
        self.prober = AddressProber(
            self.registry,
            endpoints=lambda: [LAB],
            probe=self._probe,
            on_change=self.changes.append,
            on_extended=self.extended.append,
            clock=lambda: self.now,
            idle=IDLE,
        )

    async def run(self, until: datetime) -> None:
        """Let the prober work every five seconds until this time."""
        while self.now < until:
            await self.prober.probe_due()
            self.now += seconds(5)

    async def _probe(self, command: ProbeEndpoint) -> EndpointProbe:
        self.asked.append(command.base_url)
        if self.outcome is None:
            raise BusError("no worker answers")
        return EndpointProbe(outcome=self.outcome, status=200, detail="x", duration_ms=1)


async def test_an_unused_endpoint_that_cannot_be_reached_is_open_before_a_request_comes() -> None:
    probing = Probing()
    probing.outcome = ProbeOutcome.UNREACHABLE
    await probing.run(NOON + timedelta(minutes=2))
    [change] = probing.changes
    assert change.state is CircuitState.OPEN
    assert {*probing.extended} == {TARGET}
    entry = probing.registry.entry(TARGET)
    assert entry is not None
    assert entry.until is not None
    assert change.until is not None
    assert entry.until > change.until
    assert probing.registry.entries().keys() == {TARGET.key}
    probing.outcome = ProbeOutcome.ANSWERED
    await probing.run(NOON + timedelta(minutes=4))
    assert probing.changes[-1].state is CircuitState.CLOSED
    assert probing.registry.entries() == {}


async def test_an_endpoint_that_stays_unreachable_is_news_every_half_hour() -> None:
    probing = Probing()
    probing.outcome = ProbeOutcome.UNREACHABLE
    await probing.run(NOON + timedelta(minutes=100))
    assert 3 <= len(probing.changes) <= 4
    assert len(probing.asked) > 90


async def test_an_answering_endpoint_is_probed_every_five_minutes() -> None:
    probing = Probing()
    await probing.run(NOON + timedelta(minutes=21))
    assert 4 <= len(probing.asked) <= 5
    assert {*probing.asked} == {LAB.base_url}
    assert probing.changes == []


async def test_without_a_worker_nothing_is_concluded() -> None:
    probing = Probing()
    probing.outcome = None
    await probing.run(NOON + timedelta(minutes=30))
    assert probing.asked
    assert probing.changes == []
    assert probing.prober.probes == 0
