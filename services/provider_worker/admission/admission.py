"""Admission: the attempts that run, those that wait, and whose turn is next.

An attempt starts at once while the process, its provider and its tenant all have less than their limits. Otherwise it waits, if
it may expect to start in time, and is refused if not. A place that becomes free goes to the tenant with the fewest running
attempts, so that a tenant with many requests delays only itself.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from services.provider_worker.admission.group_load import GroupLoad
from services.provider_worker.admission.limits import AdmissionLimits

_CAUTION = 2
"""An attempt waits only if the estimate, were it wrong by this factor, lets it start in time: a refusal should come at once."""
_IDLE_SECONDS = 600.0
"""A provider or tenant counts as another one until it has had no request for this long."""
_SWEEP_SECONDS = 60.0


class AdmissionRefusalReason(StrEnum):
    """Whose limit is the reason."""

    TENANT = "tenant"
    PROVIDER = "provider"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class AdmissionRefusal:
    """An attempt is not run here. After `retry_after_seconds` what is ahead of it now should have started."""

    reason: AdmissionRefusalReason
    retry_after_seconds: float


class AdmissionTicket:
    """An attempt that runs or waits; `bulkhead` names its provider, or a tenant's server. It has left once it does neither."""

    __slots__ = ("bulkhead", "number", "start_before", "started_at", "tenant", "waiting")

    def __init__(self, tenant: str, bulkhead: str, start_before: float, number: int) -> None:
        self.tenant = tenant
        self.bulkhead = bulkhead
        self.start_before = start_before
        self.number = number
        self.started_at: float | None = None
        self.waiting = False


class _Queue:
    """The waiting attempts of one tenant for one provider, in order."""

    __slots__ = ("bulkhead", "tenant", "tickets")

    def __init__(self, tenant: GroupLoad, bulkhead: GroupLoad) -> None:
        self.tenant = tenant
        self.bulkhead = bulkhead
        self.tickets: deque[AdmissionTicket] = deque()

    def first(self, now: float) -> AdmissionTicket | None:
        """Return the first that may still start."""
        for ticket in self.tickets:
            if ticket.start_before > now:
                return ticket
        return None


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
        self._queues: dict[tuple[str, str], _Queue] = {}
        """Waiting attempts by tenant and bulkhead, none of them empty: one that is full must not hold up the others."""
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
        tenant_load = self._load_of(self._tenants, tenant, now)
        bulkhead_load = self._load_of(self._bulkheads, bulkhead, now)
        self._number += 1
        start_before = min(start_before, now + self._limits.wait_seconds)
        ticket = AdmissionTicket(tenant, bulkhead, start_before, self._number)
        if self._may_start(
            tenant_load, bulkhead_load
        ):  # what waits could have started too, so that nothing is overtaken
            self._join(tenant_load)
            self._start(ticket, tenant_load, bulkhead_load, now)
            return ticket
        estimate = self._estimate(tenant_load, bulkhead_load, now)
        if not self._may_wait(tenant_load, bulkhead_load) or now + _CAUTION * estimate > start_before:
            return self._refuse(tenant_load, bulkhead_load, estimate)
        self._join(tenant_load)
        queue = self._queues.get((tenant, bulkhead))
        if queue is None:
            queue = self._queues[(tenant, bulkhead)] = _Queue(tenant_load, bulkhead_load)
        queue.tickets.append(ticket)
        self._count_waiting(ticket, 1)
        return ticket

    def leave(self, ticket: AdmissionTicket, now: float) -> list[AdmissionTicket]:
        """Remove an attempt that has ended or does not want to wait any longer. Return those that start in its place."""
        if ticket.waiting:
            self._dequeue(ticket)
            return []
        if ticket.started_at is None:
            return []
        tenant_load, started_at = self._tenants[ticket.tenant], ticket.started_at
        for load in (self._process, tenant_load, self._bulkheads[ticket.bulkhead]):
            load.finish(started_at, now)
        ticket.started_at = None
        self._part(tenant_load)
        return self._start_waiting(now) if self._queues else []

    def give_up(self, ticket: AdmissionTicket, now: float) -> AdmissionRefusal:
        """Return the refusal of an attempt that waited in vain, which leaves."""
        if ticket.waiting:
            self._dequeue(ticket)
        tenant_load = self._load_of(self._tenants, ticket.tenant, now)
        bulkhead_load = self._load_of(self._bulkheads, ticket.bulkhead, now)
        return self._refuse(tenant_load, bulkhead_load, self._estimate(tenant_load, bulkhead_load, now))

    # --- the rules

    def _may_start(self, tenant: GroupLoad, bulkhead: GroupLoad) -> bool:
        return (
            self._process.running < self._limits.running
            and bulkhead.running < self._bulkhead_limit
            and tenant.running < self._tenant_limit
        )

    @property
    def _bulkhead_limit(self) -> int:
        return self._bulkhead_limits[len(self._bulkheads) - (self._built_in in self._bulkheads) > 1]

    @property
    def _tenant_limit(self) -> int:
        return self._tenant_limits[len(self._tenants) > 1]

    def _may_wait(self, tenant: GroupLoad, bulkhead: GroupLoad) -> bool:
        """Return whether the queue is long enough.

        A tenant, and all for one provider together, may fill only as much of it as stays free; but a tenant of which nothing
        waits yet may use any free place.
        """
        free = self._limits.waiting - self._process.waiting
        return free > 0 and (not tenant.waiting or max(tenant.waiting, bulkhead.waiting) < free)

    def _estimate(self, tenant: GroupLoad, bulkhead: GroupLoad, now: float) -> float:
        """Estimate the seconds until another attempt of this tenant starts, by whatever is full."""
        estimate = 0.0
        # Served in turns, a tenant waits for its own attempts, and for as many of each other tenant.
        ahead = (tenant.waiting + 1) * max(1, self._busy_tenants)
        if self._process.running >= self._limits.running:
            estimate = self._process.wait_seconds(min(self._process.waiting, ahead) + 1, now)
        if bulkhead.waiting or bulkhead.running >= self._bulkhead_limit:
            estimate = max(estimate, bulkhead.wait_seconds(min(bulkhead.waiting, ahead) + 1, now))
        if tenant.running >= self._tenant_limit:
            estimate = max(estimate, tenant.wait_seconds(tenant.waiting + 1, now))
        return estimate

    def _refuse(self, tenant: GroupLoad, bulkhead: GroupLoad, estimate: float) -> AdmissionRefusal:
        all_places = self._limits.running
        if tenant.running >= self._tenant_limit < all_places:
            reason = AdmissionRefusalReason.TENANT
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
            self._dequeue(ticket, stays=True)
            self._start(ticket, self._tenants[ticket.tenant], self._bulkheads[ticket.bulkhead], now)
            started.append(ticket)
        return started

    def _next(self, now: float) -> AdmissionTicket | None:
        """Return whose turn it is: the oldest attempt of the tenant with the fewest running, and the longest without a turn."""
        best = None
        bulkhead_limit, fewest, lowest = self._bulkhead_limit, self._tenant_limit, 0
        for queue in self._queues.values():  # of hundreds of tenants under overload: no call that is not needed
            running, rank = queue.tenant.running, queue.tenant.rank
            if running > fewest or (running == fewest and (best is None or rank > lowest)):
                continue
            if queue.bulkhead.running >= bulkhead_limit or (ticket := queue.first(now)) is None:
                continue
            if best is not None and running == fewest and rank == lowest and ticket.number > best.number:
                continue
            best, fewest, lowest = ticket, running, rank
        return best

    # --- the counts

    def _load_of(self, loads: dict[str, GroupLoad], name: str, now: float) -> GroupLoad:
        load = loads.get(name)
        if load is None:
            load = loads[name] = GroupLoad()
        load.asked_at = now
        return load

    def _start(self, ticket: AdmissionTicket, tenant: GroupLoad, bulkhead: GroupLoad, now: float) -> None:
        self._number += 1
        ticket.started_at = now
        self._process.start(self._number, now)
        tenant.start(self._number, now)
        bulkhead.start(self._number, now)

    def _dequeue(self, ticket: AdmissionTicket, *, stays: bool = False) -> None:
        """Take a ticket out of its queue; it `stays` if it starts now."""
        key = (ticket.tenant, ticket.bulkhead)
        queue = self._queues[key]
        queue.tickets.remove(ticket)
        if not queue.tickets:
            del self._queues[key]
        self._count_waiting(ticket, -1)
        if not stays:
            self._part(self._tenants[ticket.tenant])

    def _count_waiting(self, ticket: AdmissionTicket, change: int) -> None:
        ticket.waiting = change > 0
        for load in (self._process, self._tenants[ticket.tenant], self._bulkheads[ticket.bulkhead]):
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
        for loads in (self._tenants, self._bulkheads):
            for name in [name for name, load in loads.items() if _is_idle(load, now)]:
                del loads[name]


def _is_idle(load: GroupLoad, now: float) -> bool:
    return not load.running and not load.waiting and load.asked_at < now - _IDLE_SECONDS
