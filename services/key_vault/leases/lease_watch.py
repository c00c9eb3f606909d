"""When the lease requests of a worker look like those of one that was broken into.

A worker asks for a key when an attempt needs it and its lease of the key is over. So an honest one is hardly ever refused for
want of a grant, rarely needs more than three keys for a request, and leases each key once a minute. While a provider is down,
many requests need two or three. Bounds are for one worker. Pure.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from keyferry.contracts.lease_management import LeaseAlarm, LeaseAlarmReason

WINDOW_SECONDS = 60
MOST_REFUSALS = 5
"""Lease requests refused for their grant or certificate: a clock that is wrong, a program that does not sign, or an intruder."""
USUAL_KEYS = 3
"""Keys that a request may need: the first, another one of its provider, and that of a fallback."""
MOST_FURTHER_KEYS = 30
"""Keys beyond the usual ones of each request: more is neither fallback nor retry."""
MOST_LEASES = 6000
"""Leases in all; a setting, since an installation may have more keys in use than that."""
T = TypeVar("T")
_WINDOW_MS = WINDOW_SECONDS * 1000
_REASONS = {
    LeaseAlarmReason.REFUSALS: "asked {refusals} times for keys without a valid grant",
    LeaseAlarmReason.FURTHER_KEYS: "leased {leases} keys for only {requests} requests",
    LeaseAlarmReason.LEASES: "leased {leases} keys",
}
_OF_ONE_TENANT = " (all of them for requests of {tenant}: look at its programs first)"
_ADVICE = (
    "within a minute. If it is of this version and its clock is right, take it for broken into: stop it, remove it from the"
    " enrolled workers, and replace the keys that it leased, which the audit names"
)


@dataclass(frozen=True, slots=True)
class _Lease:
    at_ms: int
    tenant: str
    request_id: str
    key_id: str


@dataclass(frozen=True, slots=True)
class _Refusal:
    at_ms: int
    tenant: str


@dataclass(slots=True)
class _Worker:
    leases: deque[_Lease] = field(default_factory=deque)
    requests: Counter[str] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Request and key: a key that is leased again for its request, as when an answer was lost, is no further key."""
    keys_of: Counter[str] = field(default_factory=Counter)
    """How many of `keys` each request has."""
    further_keys: int = 0
    """Keys beyond the usual ones of each request."""
    refusals: deque[_Refusal] = field(default_factory=lambda: deque(maxlen=MOST_REFUSALS * 20))
    silent_until_ms: dict[LeaseAlarmReason, int] = field(default_factory=dict)

    def add(self, lease: _Lease) -> None:
        self.leases.append(lease)
        self.requests[lease.request_id] += 1
        key = (lease.request_id, lease.key_id)
        self.keys[key] += 1
        if self.keys[key] == 1:
            self.keys_of[lease.request_id] += 1
            self.further_keys += self.keys_of[lease.request_id] > USUAL_KEYS

    def drop_before(self, oldest_ms: int, most_leases: int) -> None:
        while self.refusals and self.refusals[0].at_ms <= oldest_ms:
            self.refusals.popleft()
        while self.leases and (self.leases[0].at_ms <= oldest_ms or len(self.leases) > most_leases):
            self._drop(self.leases.popleft())

    def _drop(self, lease: _Lease) -> None:
        _decrement(self.requests, lease.request_id)
        key = (lease.request_id, lease.key_id)
        _decrement(self.keys, key)
        if key not in self.keys:
            self.further_keys -= self.keys_of[lease.request_id] > USUAL_KEYS
            _decrement(self.keys_of, lease.request_id)


def _decrement(counter: Counter[T], item: T) -> None:
    counter[item] -= 1
    if not counter[item]:
        del counter[item]


class LeaseWatch:
    """Counts leases and refusals, by worker. Times are in Unix milliseconds.

    There is one alarm a minute for each worker and reason: a tenant whose program does not sign must not hide what is worse.
    """

    def __init__(self, most_leases: int = MOST_LEASES) -> None:
        self._most_leases = most_leases
        self._workers: dict[str, _Worker] = {}
        """By NATS user, which the server checks, so there are as many as workers."""

    def count_lease(self, worker_id: str, tenant: str, request_id: str, key_id: str, now_ms: int) -> LeaseAlarm | None:
        """Count a key that was released for a request of a tenant; return the alarm that it raises, if any."""
        worker = self._workers.setdefault(worker_id, _Worker())
        worker.add(_Lease(now_ms, tenant, request_id, key_id))
        return self._alarm(worker_id, worker, now_ms)

    def count_refusal(self, worker_id: str, tenant: str, now_ms: int) -> LeaseAlarm | None:
        """Count a lease request without valid grant or certificate, for `tenant`; return the alarm that it raises, if any."""
        worker = self._workers.setdefault(worker_id, _Worker())
        worker.refusals.append(_Refusal(now_ms, tenant))
        return self._alarm(worker_id, worker, now_ms)

    def retract(self, alarm: LeaseAlarm) -> None:
        """Take an alarm back that could not be recorded, so that what comes next raises it again."""
        if (worker := self._workers.get(alarm.worker)) is not None:
            worker.silent_until_ms.pop(alarm.reason, None)

    def _alarm(self, worker_id: str, worker: _Worker, now_ms: int) -> LeaseAlarm | None:
        # One more lease than the bound is enough to know that it is passed.
        worker.drop_before(now_ms - _WINDOW_MS, self._most_leases + 1)
        reason = next((one for one in self._reasons(worker) if now_ms >= worker.silent_until_ms.get(one, 0)), None)
        if reason is None:
            return None
        worker.silent_until_ms[reason] = now_ms + _WINDOW_MS
        refused = {refusal.tenant for refusal in worker.refusals}
        tenants = refused if reason is LeaseAlarmReason.REFUSALS else {lease.tenant for lease in worker.leases}
        counts = {
            "refusals": len(worker.refusals),
            "leases": len(worker.leases),
            "requests": len(worker.requests),
            "tenants": len(tenants),
        }
        happened = _REASONS[reason].format(**counts)
        if reason is LeaseAlarmReason.REFUSALS and len(refused) == 1:
            happened += _OF_ONE_TENANT.format(tenant=next(iter(refused)))
        return LeaseAlarm(
            worker=worker_id,
            reason=reason,
            window_seconds=WINDOW_SECONDS,
            detail=f"{worker_id} {happened} {_ADVICE}",
            at=datetime.fromtimestamp(now_ms / 1000, UTC),
            **counts,
        )

    def _reasons(self, worker: _Worker) -> Iterator[LeaseAlarmReason]:
        if worker.further_keys > MOST_FURTHER_KEYS:
            yield LeaseAlarmReason.FURTHER_KEYS
        if len(worker.leases) > self._most_leases:
            yield LeaseAlarmReason.LEASES
        if len(worker.refusals) >= MOST_REFUSALS:
            yield LeaseAlarmReason.REFUSALS
