"""Admits requests within the limits of their tenants and client tokens.

A request takes of every limit that applies, or of none. Most requests find enough in the blocks that this router holds, and
need no message; the others wait for the counters on the bus (docs/decisions/2026-11-29-limits-on-bus-counters.md).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from keyferry.contracts.chat import ChatRequest, EmbeddingRequest, RequestHead
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.limit_counters import EPOCH_MS, WINDOW_MS, counter_subject, settle
from keyferry.contracts.limits import Admission, HeldCount, LimitKind, LimitStatus, RateLimits
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.tiers.file import Tiers
from services.router.limits.admitted import Admitted
from services.router.limits.block import SHARE
from services.router.limits.counter import Add, Counter, CounterUnavailable, Spawn
from services.router.limits.needs import Need, TenantLimits, describe_reached, limits_of, list_needs
from services.router.metrics import LIMIT_REFUSALS, UNCOUNTED

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_CONCURRENCY_SHARE = 8
"""Of what is left, so that a tenant with a low limit does not need a message for every request."""
_OPEN = Failure(
    failure_class=FailureClass.UNAVAILABLE,
    message="the counters of the limits do not answer, and this installation admits no request without them; try again in a"
    " moment (KEYFERRY_LIMITS_FAIL_CLOSED)",
    retry_after_ms=1000,
)


_UNLIMITED = Admitted()


@dataclass(slots=True)
class _Slot:
    """The counter of one limit, and the window that it is for."""

    window: int
    counter: Counter


class RequestLimiter:
    """The limits of all tenants. `now_ms` is the time that windows are named by, which never goes back."""

    def __init__(self, tiers: Tiers, now_ms: Callable[[], int], add: Add, spawn: Spawn, *, fail_closed: bool) -> None:
        self._tiers = tiers
        self._now_ms = now_ms
        self._add = add
        self._spawn = spawn
        self._fail_closed = fail_closed
        self._slots: dict[tuple[LimitKind, str, str | None], _Slot] = {}
        self._known: dict[str, tuple[Tenant, TenantLimits, bool]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to give back blocks that nobody uses."""
        self._task = asyncio.create_task(self._tick(), name="idle blocks of limits")

    async def stop(self) -> None:
        """Stop, and give back all blocks."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        for slot in self._slots.values():
            slot.counter.close()

    def try_admit(self, request: ChatRequest | EmbeddingRequest, body_bytes: int, tenant: Tenant) -> Admitted | None:
        """Admit or refuse a request with what this router knows; None if only the counters on the bus know."""
        limits, unlimited = self._limits_of(tenant)
        if unlimited and request.token_limits is None:
            return _UNLIMITED
        needs = list_needs(request, body_bytes, limits)
        if not needs:
            return _UNLIMITED
        if any(need.amount > need.limit for need in needs):
            return None
        now_ms = self._now_ms()
        taken: list[tuple[Need, _Slot]] = []
        for need in needs:
            slot = self._slot(tenant.tenant, need, now_ms)
            try:
                found = slot.counter.try_take(need.amount)
            except CounterUnavailable:
                _put_back(taken)
                return self._without_counters()
            if not found:
                _put_back(taken)
                return None if found is None else self._refuse(need, needs, tenant, now_ms)
            taken.append((need, slot))
        return self._admit(taken, now_ms)

    async def admit(self, request: ChatRequest | EmbeddingRequest, body_bytes: int, tenant: Tenant) -> Admitted:
        """Admit or refuse a request, asking the counters on the bus for what is missing here."""
        now_ms = self._now_ms()
        needs = list_needs(request, body_bytes, self._limits_of(tenant)[0])
        if (too_large := next((need for need in needs if need.amount > need.limit), None)) is not None:
            found = await self._look(needs, tenant, now_ms)
            LIMIT_REFUSALS.inc(too_large.kind.value)
            failure = describe_reached(too_large, tenant, self._tiers, 0)
            return Admitted(rate_limits=self._rate_limits(found, now_ms), failure=failure)
        taken: list[tuple[Need, _Slot]] = []
        for need in needs:
            slot = self._slot(tenant.tenant, need, now_ms)
            try:
                if not await slot.counter.take(need.amount):
                    _put_back(taken)
                    return self._refuse(need, needs, tenant, now_ms)
            except CounterUnavailable:
                _put_back(taken)
                return self._without_counters()
            taken.append((need, slot))
        return self._admit(taken, now_ms)

    async def look(self, request: RequestHead, body_bytes: int, tenant: Tenant) -> Admitted:
        """Return what is left of the limits of a request that is refused anyway, and that one of them would refuse it as well.

        Only limits per minute: how many run at the same time says nothing about a later moment.
        """
        now_ms = self._now_ms()
        needs = list_needs(request, body_bytes, self._limits_of(tenant)[0])
        found = await self._look(needs, tenant, now_ms)
        reached = next((need for need, slot in found if slot.counter.remaining < need.amount <= need.limit), None)
        return Admitted(
            rate_limits=self._rate_limits(found, now_ms),
            failure=None if reached is None else describe_reached(reached, tenant, self._tiers, _left_ms(now_ms)),
        )

    def limits(self, request: RequestHead, tenant: Tenant) -> bool:
        """Return whether any limit applies to a request."""
        return request.token_limits is not None or not self._limits_of(tenant)[1]

    def put_back(self, tenant: str, admission: Admission) -> None:
        """Put back what a request holds that was never published."""
        for held in admission.held:
            slot = self._slots.get((held.kind, tenant, held.client_token_id))
            if slot is not None and slot.window == held.window:
                slot.counter.put_back(held.amount)

    def release(self, tenant: str, admission: Admission) -> None:
        """Release what a request holds that ends here, after its earlier attempts have failed."""
        for subject, amount in settle(admission, tenant, 0, self._now_ms()):
            self._spawn(self._count(subject, amount))
        for held in admission.held:
            if (slot := self._slots.get((held.kind, tenant, held.client_token_id))) is not None:
                slot.counter.expire()

    async def _count(self, subject: str, amount: int) -> None:
        with suppress(CounterUnavailable):
            await self._add(subject, amount)

    # --- inside

    def _limits_of(self, tenant: Tenant) -> tuple[TenantLimits, bool]:
        """Return a tenant's limits, and whether it has none; computed once for each change of the tenant."""
        known = self._known.get(tenant.tenant)
        if known is None or known[0] is not tenant:
            limits = limits_of(tenant, self._tiers)
            known = self._known[tenant.tenant] = tenant, limits, all(limit is None for _, limit in limits)
        return known[1], known[2]

    def _slot(self, tenant: str, need: Need, now_ms: int) -> _Slot:
        concurrent = need.kind is LimitKind.CONCURRENCY
        window = now_ms // (EPOCH_MS if concurrent else WINDOW_MS)
        key = (need.kind, tenant, need.client_token_id)
        slot = self._slots.get(key)
        if slot is not None and window <= slot.window <= window + 1:
            # A request that has waited into the next window counts there, where all others look by now.
            if slot.counter.limit == need.limit:
                return slot
            window = slot.window
        if slot is not None and (concurrent or slot.window == window):
            slot.counter.close()  # of another limit, or of the epoch before, which still counts
        subject, previous = (counter_subject(*key, window=at) for at in (window, window - 1))
        share = _CONCURRENCY_SHARE if concurrent else SHARE
        counter = Counter(
            subject, need.limit, self._add, self._spawn, previous=previous if concurrent else None, share=share
        )
        slot = self._slots[key] = _Slot(window, counter)
        return slot

    def _admit(self, taken: Sequence[tuple[Need, _Slot]], now_ms: int) -> Admitted:
        held = [
            HeldCount.model_construct(
                kind=need.kind, client_token_id=need.client_token_id, window=slot.window, amount=need.amount
            )
            for need, slot in taken
            if need.kind is not LimitKind.RPM
        ]
        rate_limits = self._rate_limits(taken, now_ms)
        return Admitted(Admission.model_construct(held=held) if held else None, rate_limits)

    def _rate_limits(self, slots: Sequence[tuple[Need, _Slot]], now_ms: int) -> RateLimits:
        tightest: dict[LimitKind, LimitStatus] = {}
        for need, slot in slots:
            known, remaining = tightest.get(need.kind), slot.counter.remaining
            if known is None or remaining < known.remaining:
                tightest[need.kind] = LimitStatus.model_construct(
                    limit=need.limit, remaining=remaining, reset_ms=_left_ms(now_ms)
                )
        return RateLimits.model_construct(requests=tightest.get(LimitKind.RPM), tokens=tightest.get(LimitKind.TPM))

    def _refuse(self, need: Need, needs: Sequence[Need], tenant: Tenant, now_ms: int) -> Admitted:
        LIMIT_REFUSALS.inc(need.kind.value)
        failure = describe_reached(need, tenant, self._tiers, _left_ms(now_ms))
        return Admitted(rate_limits=self._rate_limits(self._known_of(needs, tenant, now_ms), now_ms), failure=failure)

    def _known_of(self, needs: Sequence[Need], tenant: Tenant, now_ms: int) -> list[tuple[Need, _Slot]]:
        """Return the counters of those needs that this router has asked in the present minute."""
        found = ((need, self._slots.get((need.kind, tenant.tenant, need.client_token_id))) for need in needs)
        return [(need, slot) for need, slot in found if slot is not None and slot.window >= now_ms // WINDOW_MS]

    async def _look(self, needs: Sequence[Need], tenant: Tenant, now_ms: int) -> list[tuple[Need, _Slot]]:
        """Return the counters of the limits per minute, read from the bus, without taking anything of them."""
        per_minute = (need for need in needs if need.kind is not LimitKind.CONCURRENCY)
        found = [(need, self._slot(tenant.tenant, need, now_ms)) for need in per_minute]
        for _, slot in found:
            await slot.counter.look()
        return found

    def _without_counters(self) -> Admitted:
        if not self._fail_closed:
            return _UNLIMITED
        LIMIT_REFUSALS.inc(UNCOUNTED)
        return Admitted(failure=_OPEN)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now_ms = self._now_ms()
            for key, slot in list(self._slots.items()):
                length_ms = EPOCH_MS if key[0] is LimitKind.CONCURRENCY else WINDOW_MS
                if slot.window < now_ms // length_ms - 1:
                    del self._slots[key]  # nothing of it counts any more
                else:
                    slot.counter.give_back_if_idle()


def _put_back(taken: Sequence[tuple[Need, _Slot]]) -> None:
    for need, slot in taken:
        slot.counter.put_back(need.amount)


def _left_ms(now_ms: int) -> int:
    """Return the time until the next minute."""
    return WINDOW_MS - now_ms % WINDOW_MS
