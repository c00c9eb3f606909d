"""Assembles the health monitor."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial

from keyferry.contracts.health import CircuitState
from keyferry.contracts.route import Endpoint, EndpointProbe, ProbeEndpoint
from keyferry.contracts.topology import ENDPOINT_PROBE, ENDPOINTS_VIEW, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.providers import follow_providers
from keyferry.runtime.views import KvView
from services.health_monitor.address_prober import AddressProber, Probe
from services.health_monitor.handlers import Handlers
from services.health_monitor.latency_publisher import LatencyPublisher
from services.health_monitor.metrics import register_gauges
from services.health_monitor.overrides import OverrideKeeper
from services.health_monitor.publisher import HealthPublisher
from services.health_monitor.registry import TargetHealthRegistry
from services.health_monitor.settings import HealthSettings

_FLUSH_SECONDS = 5.0
_PROBE_SECONDS = 12.0
"""A worker takes at most ten."""


def create_app(settings: HealthSettings | None = None) -> Service:
    """Assemble a health monitor from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(HealthSettings)
    service = Service(Role.HEALTH_MONITOR, settings)
    clock = partial(datetime.now, UTC)
    registry = TargetHealthRegistry(settings.policy())
    publisher = HealthPublisher(service.bus, registry, clock)
    endpoints = KvView(service.bus, ENDPOINTS_VIEW)

    def known_endpoints() -> list[Endpoint]:
        return [endpoint for _, endpoint in endpoints]

    overrides = OverrideKeeper(
        service.bus, registry, endpoints=known_endpoints, on_change=publisher.enqueue, clock=clock
    )
    handlers = Handlers(
        registry,
        on_change=publisher.enqueue,
        short_timeout=settings.short_timeout(),
        clock=clock,
        jitter=random.random,
        overrides=overrides,
    )
    handlers.register(service.bus)
    latency = LatencyPublisher(service.bus, registry, clock)
    prober = AddressProber(
        registry,
        endpoints=known_endpoints,
        probe=_probe_through(service.bus),
        on_change=publisher.enqueue,
        on_extended=publisher.rewrite,
        clock=clock,
        idle=timedelta(seconds=settings.probe_idle_seconds),
    )
    follow_providers(service)
    for part in (endpoints, overrides, publisher, latency, prober):
        service.opens(part.start, part.stop)
    service.drains(lambda: publisher.flush(_FLUSH_SECONDS))
    service.needs_view(overrides.view)
    service.needs("the reconciled health bucket", lambda: publisher.synced)
    service.degraded = registry.alerts
    register_gauges(service.metrics, registry)
    service.facts = lambda: (
        _facts(registry, publisher)
        | {
            "forced": str(len(overrides.active())),
            "probes": str(prober.probes),
        }
    )
    return service


def _facts(registry: TargetHealthRegistry, publisher: HealthPublisher) -> dict[str, str]:
    states = registry.states()
    return {
        "targets": str(len(registry)),
        "open": str(states[CircuitState.OPEN]),
        "cooling": str(states[CircuitState.COOLING]),
        "attempts": str(registry.counters.received),
        "repeated": str(registry.counters.repeated),
        "stale": str(registry.counters.stale),
        "untracked": str(registry.counters.untracked),
        "unpublished": str(publisher.waiting),
    }


def _probe_through(bus: Bus) -> Probe:
    async def probe(command: ProbeEndpoint) -> EndpointProbe:
        return await bus.ask(ENDPOINT_PROBE, command, timeout_seconds=_PROBE_SECONDS)

    return probe
