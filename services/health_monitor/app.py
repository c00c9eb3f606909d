"""Assembles the health monitor."""

import random
from datetime import UTC, datetime
from functools import partial

from keyferry.contracts.health import CircuitState
from keyferry.contracts.topology import Role
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from services.health_monitor.handlers import Handlers
from services.health_monitor.publisher import HealthPublisher
from services.health_monitor.registry import TargetHealthRegistry
from services.health_monitor.settings import HealthSettings

_FLUSH_SECONDS = 5.0


def create_app(settings: HealthSettings | None = None) -> Service:
    """Assemble a health monitor from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(HealthSettings)
    service = Service(Role.HEALTH_MONITOR, settings)
    clock = partial(datetime.now, UTC)
    registry = TargetHealthRegistry(settings.policy())
    publisher = HealthPublisher(service.bus, registry, clock)
    handlers = Handlers(
        registry, on_change=publisher.enqueue, short_timeout=settings.short_timeout(), clock=clock, jitter=random.random
    )
    handlers.register(service.bus)
    service.opens(publisher.start, publisher.stop)
    service.drains(lambda: publisher.flush(_FLUSH_SECONDS))
    service.needs("the reconciled health bucket", lambda: publisher.synced)

    def facts() -> dict[str, str]:
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

    service.facts = facts
    return service
