"""The circuits that an operator forces open or closed, as the router obeys them. Pure."""

from collections.abc import Iterable
from datetime import datetime

from keyferry.contracts.health import CircuitState, Health, Override, Target

_Owner = str | tuple[str | None, str | None]
"""A provider, or a tenant and the name of its endpoint."""


class OverrideIndex:
    """The overrides by provider or by endpoint, most specific first; rebuilt whenever the view changes."""

    def __init__(self) -> None:
        self._by_owner: dict[_Owner, list[Override]] = {}

    def rebuild(self, overrides: Iterable[Override]) -> None:
        """Replace the index by the overrides of the whole view."""
        fresh: dict[_Owner, list[Override]] = {}
        for override in sorted(overrides, key=lambda each: each.precedence):
            owner = override.provider if override.endpoint is None else (override.tenant, override.endpoint)
            fresh.setdefault(owner, []).append(override)
        self._by_owner = fresh

    def of(self, target: Target, now: datetime) -> Override | None:
        """Return the override that applies to `target`, the most specific one; None where none does."""
        if not self._by_owner:
            return None
        owners = ((target.tenant, target.endpoint), target.provider)
        found = (each for owner in owners for each in self._by_owner.get(owner, ()))
        return next((each for each in found if each.until > now and each.selects(target)), None)


def forced_health(target: Target, override: Override) -> Health:
    """Return the health of a target whose circuit an operator forces open or closed."""
    is_open = override.state is CircuitState.OPEN
    return Health(
        target=target,
        state=override.state,
        reason=f"an operator has forced its circuit {override.state}: {override.reason}",
        until=override.until if is_open else None,
        changed_at=override.since,
        forced=override,
    )
