"""The health of targets as operators and tenants see it. Pure."""

from collections.abc import Iterable

from keyferry.contracts.health import CircuitState, Health, KeyClass
from services.health_monitor.tracked_target import TrackedTarget

_MAX_NAMED = 5


def describe_outages(targets: Iterable[TrackedTarget]) -> list[str]:
    """Return which shared targets fail, one text for each provider and class of keys.

    Those of one tenant's requests are among them, as there may be no other tenant.
    """
    failing: dict[tuple[str, str], list[Health]] = {}
    for tracked in targets:
        target = tracked.target
        if target.tenant is not None and not tracked.is_of_one_tenant:
            continue
        if tracked.entry is not None and tracked.entry.state is CircuitState.OPEN and tracked.forced is None:
            failing.setdefault((target.provider, target.key_class.value), []).append(tracked.entry)
    return [_alert(*called, found) for called, found in sorted(failing.items())]


def without_private_addresses(found: list[Health]) -> list[Health]:
    """Return the health of targets as tenants see them: of two that differ in a hidden address only, the worse one."""
    shown: dict[str, Health] = {}
    for health in found:
        target = health.target.shown_to_tenants
        seen = health if target is health.target else health.model_copy(update={"target": target})
        before = shown.get(target.key)
        if before is None or before.state is CircuitState.CLOSED:
            shown[target.key] = seen
    return list(shown.values())


def _alert(provider: str, key_class: str, failing: list[Health]) -> str:
    models = sorted({health.target.model for health in failing})
    named = ", ".join(models[:_MAX_NAMED]) + (", …" if len(models) > _MAX_NAMED else "")
    keys = "the platform's keys" if key_class == KeyClass.PLATFORM else "tenants' own keys"
    return f"{provider} gets no requests for {named} with {keys}: {failing[0].reason}"
