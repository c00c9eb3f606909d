"""When the lease requests of a worker look like those of one that was broken into.

A worker asks for a key when an attempt needs it and its lease of the key is over. So an honest one is hardly ever refused for
want of a grant, rarely needs several keys for a request, and leases each key once a minute. Bounds are for one worker. Pure.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from keyferry.contracts.lease_management import LeaseAlarm, LeaseAlarmReason

WINDOW_SECONDS = 60
MOST_REFUSALS = 5
"""Lease requests refused for their grant or certificate: a clock that is wrong, a program that does not sign, or an intruder."""
MOST_FURTHER_KEYS = 30
"""Keys beyond the first of each request: more is neither fallback nor retry."""
MOST_LEASES = 6000
"""Leases in all; a setting, since an installation may have more keys in use than that."""
T = TypeVar("T")
_WINDOW_MS = WINDOW_SECONDS * 1000
_REASONS = {
    LeaseAlarmReason.REFUSALS: "asked {refusals} times for keys without a valid grant",
    LeaseAlarmReason.FURTHER_KEYS: "leased {leases} keys for only {requests} requests",
    LeaseAlarmReason.LEASES: "leased {leases} keys",
}
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


@dataclass(slots=True)
class _Worker:
    leases: deque[_Lease] = field(default_factory=deque)
    requests: Counter[str] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Request and key: a key that is leased again for its request, as when an answer was lost, is no further key."""
    refusals: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_REFUSALS * 20))
    silent_until_ms: int = 0

    def add(self, lease: _Lease) -> None:
        self.leases.append(lease)
        self.requests[lease.request_id] += 1
        self.keys[lease.request_id, lease.key_id] += 1

    def drop_before(self, oldest_ms: int, most_leases: int) -> None:
        while self.refusals and self.refusals[0] <= oldest_ms:
            self.refusals.popleft()
        while self.leases and (self.leases[0].at_ms <= oldest_ms or len(self.leases) > most_leases):
            gone = self.leases.popleft()
            _decrement(self.requests, gone.request_id)
            _decrement(self.keys, (gone.request_id, gone.key_id))


def _decrement(counter: Counter[T], item: T) -> None:
    counter[item] -= 1
    if not counter[item]:
        del counter[item]


class LeaseWatch:
    """Counts leases and refusals, by worker. One alarm per worker and minute; times are in Unix milliseconds."""

    def __init__(self, most_leases: int = MOST_LEASES) -> None:
        self._most_leases = most_leases
        self._workers: dict[str, _Worker] = {}
        """By NATS user, which the server checks, so there are as many as workers."""

    def count_lease(self, worker_id: str, tenant: str, request_id: str, key_id: str, now_ms: int) -> LeaseAlarm | None:
        """Count a key that was released for a request of a tenant; return the alarm that it raises, if any."""
        worker = self._workers.setdefault(worker_id, _Worker())
        worker.add(_Lease(now_ms, tenant, request_id, key_id))
        return self._alarm(worker_id, worker, now_ms)

    def count_refusal(self, worker_id: str, now_ms: int) -> LeaseAlarm | None:
        """Count a lease request that had no valid grant or certificate; return the alarm that it raises, if any."""
        worker = self._workers.setdefault(worker_id, _Worker())
        worker.refusals.append(now_ms)
        return self._alarm(worker_id, worker, now_ms)

    def retract(self, alarm: LeaseAlarm) -> None:
        """Take an alarm back that could not be recorded, so that what comes next raises it again."""
        if (worker := self._workers.get(alarm.worker)) is not None:
            worker.silent_until_ms = 0

    def _alarm(self, worker_id: str, worker: _Worker, now_ms: int) -> LeaseAlarm | None:
        # One more lease than the bound is enough to know that it is passed.
        worker.drop_before(now_ms - _WINDOW_MS, self._most_leases + 1)
        reason = self._reason(worker)
        if reason is None or now_ms < worker.silent_until_ms:
            return None
        worker.silent_until_ms = now_ms + _WINDOW_MS
        counts = {
            "refusals": len(worker.refusals),
            "leases": len(worker.leases),
            "requests": len(worker.requests),
            "tenants": len({lease.tenant for lease in worker.leases}),
        }
        return LeaseAlarm(
            worker=worker_id,
            reason=reason,
            window_seconds=WINDOW_SECONDS,
            detail=f"{worker_id} {_REASONS[reason].format(**counts)} {_ADVICE}",
            at=datetime.fromtimestamp(now_ms / 1000, UTC),
            **counts,
        )

    def _reason(self, worker: _Worker) -> LeaseAlarmReason | None:
        if len(worker.refusals) >= MOST_REFUSALS:
            return LeaseAlarmReason.REFUSALS
        if len(worker.keys) - len(worker.requests) > MOST_FURTHER_KEYS:
            return LeaseAlarmReason.FURTHER_KEYS
        return LeaseAlarmReason.LEASES if len(worker.leases) > self._most_leases else None
