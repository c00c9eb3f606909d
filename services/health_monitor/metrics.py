"""What the health monitor shows: the circuits that are not closed, by provider and by whom they affect."""

from collections import Counter

from keyferry.contracts.health import Health
from keyferry.runtime.metrics.gauges import ProcessGauges, Readings
from services.health_monitor.registry import TargetHealthRegistry


def register_gauges(gauges: ProcessGauges, registry: TargetHealthRegistry) -> None:
    """Register what is read when somebody asks."""
    gauges.gauge(
        "keyferry_circuits",
        "Circuits that are not closed: of everybody's targets, of one tenant's, or of one key.",
        lambda: _count(registry),
        ("provider", "state", "scope"),
    )
    gauges.gauge("keyferry_targets", "Targets whose health is followed.", lambda: len(registry))


def _count(registry: TargetHealthRegistry) -> Readings:
    counts = Counter(
        (health.target.provider, health.state.value, _scope_of(health)) for health in registry.entries().values()
    )
    return {values: float(count) for values, count in counts.items()}


def _scope_of(health: Health) -> str:
    if health.target.key_id is not None:
        return "key"
    return "shared" if health.target.tenant is None else "tenant"
