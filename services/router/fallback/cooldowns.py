"""Pauses that providers asked for, remembered by the router that plans the request again.

The health view has the same pauses a moment later, from every worker. Until then this router sends no other requests into a
limit that it knows of. Pure.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.health import LONGEST_COOLING, CircuitState, Health, KeyClass, Target, target_of_call

MAX_COOLDOWNS = 5000
_DROPPED_SHARE = 20
"""Of the oldest, a twentieth is dropped where all still hold."""
_ASKS_FOR_PAUSES = frozenset({FailureClass.RATE_LIMIT, FailureClass.OVERLOADED})
_MS = timedelta(milliseconds=1)


class Cooldowns:
    """Current pauses by target: of one key after a rate limit, else of all its keys."""

    def __init__(self) -> None:
        self._by_target: dict[str, Health] = {}
        self.keys: set[str] = set()
        """The ids of keys that may have a pause."""

    def __len__(self) -> int:
        return len(self._by_target)

    def learn(self, tenant: str, failed_attempts: Sequence[FailedAttempt], now: datetime) -> None:
        """Remember the pause that the provider of the last failed attempt asked for, if it did."""
        last = failed_attempts[-1]
        if last.failure.where is Where.GATEWAY:
            return  # a worker without a free place for this provider, of which others may have one
        until = recovery_of(last, now)
        target = _target_of(last, tenant)
        if last.failure.failure_class not in _ASKS_FOR_PAUSES or until is None or target is None or until <= now:
            return
        known = self._by_target.get(target.key)
        if known is not None and known.until is not None and known.until >= until:
            return
        self._make_place(now)
        if target.key_id is not None:
            self.keys.add(target.key_id)
        self._by_target[target.key] = Health(
            target=target,
            state=CircuitState.COOLING,
            reason=f"it answered with {last.failure.failure_class} and asked for a pause",
            failure_class=last.failure.failure_class,
            until=until,
            changed_at=now,
        )

    def of(self, target: Target, now: datetime) -> Health | None:
        """Return the current pause of a target; None if there is none."""
        found = self._by_target.get(target.key) if self._by_target else None
        return found if found is not None and found.until is not None and found.until > now else None

    def later(self, target: Target, published: Health | None, now: datetime) -> Health | None:
        """Return the health of a target: as it is published, or the pause that this router knows of, if that lasts longer.

        An open circuit stays open, whatever pause was asked for.
        """
        own = self.of(target, now)
        if own is None or published is None:
            return own or published
        if published.state is CircuitState.OPEN:
            return published
        assert own.until is not None
        return published if published.until is not None and published.until >= own.until else own

    def _make_place(self, now: datetime) -> None:
        if len(self._by_target) < MAX_COOLDOWNS:
            return
        self._by_target = {name: kept for name, kept in self._by_target.items() if kept.until and kept.until > now}
        if len(self._by_target) >= MAX_COOLDOWNS:
            # Several at once: this look at all of them must not be paid for with each new one.
            for name in list(islice(self._by_target, max(1, MAX_COOLDOWNS // _DROPPED_SHARE))):
                del self._by_target[name]
        self.keys = {kept.target.key_id for kept in self._by_target.values() if kept.target.key_id is not None}


def recovery_of(failed: FailedAttempt, now: datetime) -> datetime | None:
    """Return when the candidate of a failed attempt takes requests again, if its provider said so; LONGEST_COOLING at most.

    The provider's delay counts from the failure. Whatever the worker's clock says, the attempt failed neither in the future
    nor longer ago than the delay.
    """
    if failed.failure.retry_after_ms is None:
        return None
    delay_ms = min(failed.failure.retry_after_ms, LONGEST_COOLING // _MS)
    if failed.failed_at_unix_ms is None:
        return now + delay_ms * _MS
    now_unix_ms = int((now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp() * 1000)
    passed_ms = min(max(now_unix_ms - failed.failed_at_unix_ms, 0), delay_ms)
    return now + (delay_ms - passed_ms) * _MS


def _target_of(failed: FailedAttempt, tenant: str) -> Target | None:
    """Return what the pause is for; None if it is not known who asked for it."""
    if failed.origin is None or failed.key_source is None:
        return None
    target = target_of_call(
        provider=failed.provider,
        model=failed.model,
        origin=failed.origin,
        key_source=failed.key_source,
        tenant=tenant,
        endpoint=failed.endpoint,
    )
    if failed.failure.failure_class is FailureClass.RATE_LIMIT and failed.key_id is not None:
        return target.of_key(failed.key_id, tenant)
    # What a provider asks of an own key may be about its account; the platform's is everybody's.
    shared_by_accounts = target.tenant is None and target.key_class is KeyClass.OWN
    return target.of_tenant(tenant) if shared_by_accounts else target
