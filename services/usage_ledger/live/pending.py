"""Requests that are still to be published: some each second for each tenant, and the number of the others. Pure."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import LedgerRow, Outcome
from services.usage_ledger.live.rows import Json, committed_request, encode_requests, refused_request

ROWS_PER_TENANT = 50
"""Rows of one tenant in a second: more move faster than anybody reads."""
ROWS_PER_SECOND = 400
"""Rows of all tenants in a second, so that they take no noticeable part of a process's time."""
_MAX_FAILED = 2000
"""Requests whose attempts so far have failed: another one may follow, in a later batch."""


TracedDecision = tuple[DecisionRecord, str | None]
"""A decision, and the id of its trace."""


@dataclass(slots=True)
class _Tenant:
    attempts: dict[str, list[LedgerRow]] = field(default_factory=dict)
    """By request."""
    refusals: list[TracedDecision] = field(default_factory=list)
    skipped: int = 0


class PendingRequests:
    """The requests of all tenants since the last call of `take`. Times are in seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}
        self._failed: OrderedDict[str, list[LedgerRow]] = OrderedDict()
        self._second = 0
        self._taken: dict[str, int] = {}
        self._all_taken = 0

    def __bool__(self) -> bool:
        return bool(self._tenants)

    def add_attempts(self, rows: Iterable[LedgerRow], now_seconds: float) -> None:
        """Add attempts that were just committed."""
        self._begin(now_seconds)
        skipped: set[str] = set()
        for row in rows:
            record = row.record
            tenant = self._tenant(record.tenant)
            known = tenant.attempts.get(record.request_id)
            if known is None:
                if record.request_id in skipped:
                    continue
                if not self._may_take(record.tenant):
                    skipped.add(record.request_id)
                    tenant.skipped += 1
                    continue
                known = tenant.attempts[record.request_id] = [*self._failed.pop(record.request_id, ())]
            known.append(row)

    def add_decisions(self, records: Iterable[TracedDecision], now_seconds: float) -> None:
        """Add those decisions that refused a request, which were just committed."""
        self._begin(now_seconds)
        for record, trace in records:
            if record.refusal is None or record.attempt_number != 1:
                continue
            tenant = self._tenant(record.tenant)
            if self._may_take(record.tenant):
                tenant.refusals.append((record, trace))
            else:
                tenant.skipped += 1

    def take(self, now: datetime) -> Iterator[tuple[str, bytes]]:
        """Yield what is to be published, a tenant and its message, and forget it."""
        tenants, self._tenants = self._tenants, {}
        for name, tenant in tenants.items():
            requests = [self._row(attempts) for attempts in tenant.attempts.values()]
            refused = (refused_request(*traced) for traced in tenant.refusals)
            requests += [request for request in refused if request is not None]
            yield name, encode_requests(name, requests, tenant.skipped, now)

    def _row(self, attempts: list[LedgerRow]) -> Json:
        attempts.sort(key=lambda row: row.record.attempt_number)
        last = attempts[-1].record
        if last.outcome is Outcome.FAILED:
            self._failed[last.request_id] = attempts
            if len(self._failed) > _MAX_FAILED:
                self._failed.popitem(last=False)
        return committed_request(attempts)

    def _tenant(self, name: str) -> _Tenant:
        return self._tenants.setdefault(name, _Tenant())

    def _begin(self, now_seconds: float) -> None:
        """Begin a new second, in which rows may be taken again; not before those of the last one were published."""
        if int(now_seconds) != self._second and not self._tenants:
            self._second = int(now_seconds)
            self._taken.clear()
            self._all_taken = 0

    def _may_take(self, tenant: str) -> bool:
        taken = self._taken.get(tenant, 0)
        if taken >= ROWS_PER_TENANT or self._all_taken >= ROWS_PER_SECOND:
            return False
        self._taken[tenant] = taken + 1
        self._all_taken += 1
        return True
