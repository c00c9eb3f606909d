"""Admission: the attempts that run, those that wait, and whose turn is next.

An attempt starts at once while the process, its provider, its tenant, and its tenant at that provider all have less than their
limits. Otherwise it waits, if it may expect to start in time, and is refused if not. A place that becomes free goes to the tenant
with the fewest running attempts, so that a tenant with many requests delays only itself.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from services.provider_worker.admission.group_load import GroupLoad
from services.provider_worker.admission.limits import AdmissionLimits

_CAUTION = 2
"""An attempt waits only if the estimate, were it wrong by this factor, lets it start in time: a refusal should come at once.

The only attempt of its tenant is among the next, and needs no such reserve.
"""
_IDLE_SECONDS = 600.0
"""A provider or tenant counts as another one until it has had no request for this long."""
_SWEEP_SECONDS = 60.0


class AdmissionRefusalReason(StrEnum):
    """Whose limit is the reason."""

    TENANT = "tenant"
    TENANT_AT_PROVIDER = "tenant at provider"
    PROVIDER = "provider"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class AdmissionRefusal:
    """An attempt is not run here. After `retry_after_seconds` what is ahead of it now should have started."""

    reason: AdmissionRefusalReason
    retry_after_seconds: float


class _TenantAtProvider:
    """One tenant's attempts for one provider: how many run, and those that wait, in order."""

    __slots__ = ("asked_at", "bulkhead", "key", "running", "tenant", "tickets")

    def __init__(self, key: tuple[str, str], tenant: GroupLoad, bulkhead: GroupLoad) -> None:
        self.key = key
        self.tenant = tenant
        self.bulkhead = bulkhead
        self.running = 0
        self.asked_at = 0.0
        self.tickets: deque[AdmissionTicket] = deque()

    def first(self, now: float) -> "AdmissionTicket | None":
        """Return the first waiting attempt that may still start."""
        for ticket in self.tickets:
            if ticket.start_before > now:
                return ticket
        return None


class AdmissionTicket:
    """An attempt that runs or waits; `bulkhead` names its provider, or a tenant's server. It has left once it does neither."""

    __slots__ = ("bulkhead", "number", "of", "start_before", "started_at", "tenant", "waiting")

    def __init__(self, of: _TenantAtProvider, start_before: float, number: int) -> None:
        self.of = of
        self.tenant, self.bulkhead = of.key
        self.start_before = start_before
        self.number = number
        self.started_at: float | None = None
        self.waiting = False


class AttemptAdmission:
    """The attempts of one worker process. Times are monotonic seconds, which never go back.

    `built_in` is a provider that is no other one: it calls nobody, and the first request after a start goes to it.
    """

    def __init__(self, limits: AdmissionLimits, built_in: str = "") -> None:
        self._built_in = built_in
        self._limits = limits
        alone = limits.running_alone
        self._bulkhead_limits = (max(limits.running_of_provider, alone), limits.running_of_provider)
        self._tenant_limits = (max(limits.running_of_tenant, alone), limits.running_of_tenant)
        """Of one that is alone, and of one among several."""
        self._process = GroupLoad()
        self._tenants: dict[str, GroupLoad] = {}
        self._bulkheads: dict[str, GroupLoad] = {}
        self._pairs: dict[tuple[str, str], _TenantAtProvider] = {}
        self._queues: dict[tuple[str, str], _TenantAtProvider] = {}
        """Those with waiting attempts: by tenant and bulkhead, since a full one must not hold up the others."""
        self._busy_tenants = 0
        """Tenants that have an attempt here."""
        self._number = 0
        self._sweep_at = 0.0
        self.refused: dict[AdmissionRefusalReason, int] = dict.fromkeys(AdmissionRefusalReason, 0)

    @property
    def running(self) -> int:
        """Number of running attempts."""
        return self._process.running

    @property
    def waiting(self) -> int:
        """Number of waiting attempts."""
        return self._process.waiting

    @property
    def bulkheads(self) -> dict[str, tuple[int, int]]:
        """The numbers of running and waiting attempts of each provider, or tenant's server, that has any."""
        return {
            name: (load.running, load.waiting) for name, load in self._bulkheads.items() if load.running or load.waiting
        }

    def request(
        self, tenant: str, bulkhead: str, start_before: float, now: float
    ) -> AdmissionTicket | AdmissionRefusal:
        """Return a ticket that has started or waits, or the refusal. An attempt must not wait beyond `start_before`."""
        if now >= self._sweep_at:
            self._sweep(now)
        pair = self._pairs.get((tenant, bulkhead)) or self._new_pair(tenant, bulkhead)
        pair.asked_at = pair.tenant.asked_at = pair.bulkhead.asked_at = now
        self._number += 1
        ticket = AdmissionTicket(pair, min(start_before, now + self._limits.wait_seconds), self._number)
        if self._may_start(pair):
            # Nothing is overtaken: what waits could have started as well.
            self._join(pair.tenant)
            self._start(ticket, now)
            return ticket
        estimate = self._estimate(pair, now)
        caution = _CAUTION if pair.tenant.running or pair.tenant.waiting else 1
        if not self._may_wait(pair) or now + caution * estimate > ticket.start_before:
            return self._refuse(pair, estimate)
        self._join(pair.tenant)
        pair.tickets.append(ticket)
        self._queues[pair.key] = pair
        self._count_waiting(ticket, 1)
        return ticket

    def leave(self, ticket: AdmissionTicket, now: float) -> list[AdmissionTicket]:
        """Remove an attempt that has ended or does not want to wait any longer. Return those that start in its place."""
        if ticket.waiting:
            self._dequeue(ticket)
            self._part(ticket.of.tenant)
            return []
        if ticket.started_at is None:
            return []
        pair, started_at = ticket.of, ticket.started_at
        pair.running -= 1
        for load in (self._process, pair.tenant, pair.bulkhead):
            load.finish(started_at, now)
        ticket.started_at = None
        self._part(pair.tenant)
        return self._start_waiting(now) if self._queues else []

    def give_up(self, ticket: AdmissionTicket, now: float) -> AdmissionRefusal:
        """Return the refusal of an attempt that waited in vain, which leaves."""
        if ticket.waiting:
            self._dequeue(ticket)
            self._part(ticket.of.tenant)
        return self._refuse(ticket.of, self._estimate(ticket.of, now))

    # --- the rules

    def _may_start(self, pair: _TenantAtProvider) -> bool:
        return (
            self._process.running < self._limits.running
            and pair.running < self._pair_limit(pair)
            and pair.bulkhead.running < self._bulkhead_limit
            and pair.tenant.running < self._tenant_limit
        )

    def _pair_limit(self, pair: _TenantAtProvider) -> int:
        """Return how many attempts of a tenant one provider may run: its share of the provider's, if others use it too."""
        return self._limits.share_of_tenant(self._bulkhead_limit) if pair.bulkhead.members > 1 else self._bulkhead_limit

    @property
    def _bulkhead_limit(self) -> int:
        return self._bulkhead_limits[len(self._bulkheads) - (self._built_in in self._bulkheads) > 1]

    @property
    def _tenant_limit(self) -> int:
        return self._tenant_limits[len(self._tenants) > 1]

    def _may_wait(self, pair: _TenantAtProvider) -> bool:
        """Return whether the queue is long enough.

        A tenant, and all for one provider together, may fill only as much of it as stays free; but a tenant of which nothing
        waits yet may use any free place.
        """
        free, waiting = self._limits.waiting - self._process.waiting, pair.tenant.waiting
        return free > 0 and (not waiting or max(waiting, pair.bulkhead.waiting) < free)

    def _estimate(self, pair: _TenantAtProvider, now: float) -> float:
        """Estimate the seconds until another attempt of this tenant starts, by whatever is full."""
        tenant, bulkhead, estimate = pair.tenant, pair.bulkhead, 0.0
        # Served in turns, a tenant waits for its own attempts, and for as many of each other tenant.
        ahead = (tenant.waiting + 1) * max(1, self._busy_tenants)
        if self._process.running >= self._limits.running:
            estimate = self._process.wait_seconds(min(self._process.waiting, ahead) + 1, now)
        if bulkhead.waiting or bulkhead.running >= self._bulkhead_limit:
            estimate = max(estimate, bulkhead.wait_seconds(min(bulkhead.waiting, ahead) + 1, now))
        if pair.running >= self._pair_limit(pair):
            own_part = bulkhead.running / pair.running
            estimate = max(estimate, own_part * bulkhead.wait_seconds(len(pair.tickets) + 1, now))
        if tenant.running >= self._tenant_limit:
            estimate = max(estimate, tenant.wait_seconds(tenant.waiting + 1, now))
        return estimate

    def _refuse(self, pair: _TenantAtProvider, estimate: float) -> AdmissionRefusal:
        tenant, bulkhead, all_places = pair.tenant, pair.bulkhead, self._limits.running
        at_provider = pair.running >= self._pair_limit(pair) < self._bulkhead_limit
        if tenant.running >= self._tenant_limit < all_places:
            reason = AdmissionRefusalReason.TENANT
        elif at_provider:
            reason = AdmissionRefusalReason.TENANT_AT_PROVIDER
        elif bulkhead.running >= self._bulkhead_limit < all_places:
            reason = AdmissionRefusalReason.PROVIDER
        elif self._busy_tenants > 1 and tenant.running * self._busy_tenants > all_places:
            reason = AdmissionRefusalReason.TENANT
        else:
            reason = AdmissionRefusalReason.WORKER
        self.refused[reason] += 1
        return AdmissionRefusal(reason, estimate)

    def _start_waiting(self, now: float) -> list[AdmissionTicket]:
        started = []
        while self._process.running < self._limits.running and (ticket := self._next(now)) is not None:
            self._dequeue(ticket)
            self._start(ticket, now)
            started.append(ticket)
        return started

    def _next(self, now: float) -> AdmissionTicket | None:
        """Return whose turn it is: the oldest attempt of the tenant with the fewest running, and the longest without a turn."""
        best = None
        bulkhead_limit, fewest, lowest = self._bulkhead_limit, self._tenant_limit, 0
        shared_limit = self._limits.share_of_tenant(bulkhead_limit)
        for queue in self._queues.values():  # of hundreds of tenants under overload: no call that is not needed
            running, rank = queue.tenant.running, queue.tenant.rank
            if running > fewest or (running == fewest and (best is None or rank > lowest)):
                continue
            bulkhead = queue.bulkhead
            if bulkhead.running >= bulkhead_limit or (queue.running >= shared_limit and bulkhead.members > 1):
                continue
            if (ticket := queue.first(now)) is None:
                continue
            if best is not None and running == fewest and rank == lowest and ticket.number > best.number:
                continue
            best, fewest, lowest = ticket, running, rank
        return best

    # --- the counts

    def _new_pair(self, tenant: str, bulkhead: str) -> _TenantAtProvider:
        tenant_load = self._tenants.setdefault(tenant, GroupLoad())
        bulkhead_load = self._bulkheads.setdefault(bulkhead, GroupLoad())
        bulkhead_load.members += 1
        pair = self._pairs[(tenant, bulkhead)] = _TenantAtProvider((tenant, bulkhead), tenant_load, bulkhead_load)
        return pair

    def _start(self, ticket: AdmissionTicket, now: float) -> None:
        self._number += 1
        ticket.started_at = now
        pair = ticket.of
        pair.running += 1
        self._process.start(self._number, now)
        pair.tenant.start(self._number, now)
        pair.bulkhead.start(self._number, now)

    def _dequeue(self, ticket: AdmissionTicket) -> None:
        pair = ticket.of
        pair.tickets.remove(ticket)
        if not pair.tickets:
            del self._queues[pair.key]
        self._count_waiting(ticket, -1)

    def _count_waiting(self, ticket: AdmissionTicket, change: int) -> None:
        ticket.waiting = change > 0
        for load in (self._process, ticket.of.tenant, ticket.of.bulkhead):
            load.waiting += change

    def _join(self, tenant: GroupLoad) -> None:
        if not tenant.running and not tenant.waiting:
            self._busy_tenants += 1

    def _part(self, tenant: GroupLoad) -> None:
        if not tenant.running and not tenant.waiting:
            self._busy_tenants -= 1

    def _sweep(self, now: float) -> None:
        """Drop what has had no request for a while."""
        self._sweep_at = now + _SWEEP_SECONDS
        long_ago = now - _IDLE_SECONDS
        for pair in list(self._pairs.values()):
            if not pair.running and not pair.tickets and pair.asked_at < long_ago:
                del self._pairs[pair.key]
                pair.bulkhead.members -= 1
        for loads in (self._tenants, self._bulkheads):
            for name, load in list(loads.items()):
                if not load.running and not load.waiting and load.asked_at < long_ago:
                    del loads[name]
