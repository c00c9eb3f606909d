"""Processes stored events: each payment that events are about is settled by its present state at Stripe, whatever their order.

Events about the same payment are settled together. A stop at any moment leaves them due again; nothing is posted twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from nats.errors import Error as NatsError

from keyferry.contracts.payments import PaymentKind
from keyferry.contracts.stripe_events import EventState
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.stripe.client import StripeFailure, StripeObjectMissing
from services.billing.stripe.event_store import StoredEvent, StripeEventStore
from services.billing.stripe.failure_alerts import StripeAlerts
from services.billing.stripe.objects import UnreadableObject
from services.billing.stripe.payment_store import StripePaymentStore
from services.billing.stripe.received_event import ReceivedEvent
from services.billing.stripe.rules import NotOurs, NotPaid, ParkedPayment
from services.billing.stripe.settlement import PaymentSettler, SettledPayment

_log = logging.getLogger(__name__)

PAYMENT_OBJECTS = frozenset({"payment_intent", "charge", "refund", "dispute", "checkout.session"})
"""Objects that belong to a payment intent."""
EFFECTS = "stripe-events"
"""What fails or succeeds in a row, for the alert."""
_INTERVAL_SECONDS = 2.0
_CLAIM = timedelta(minutes=2)
"""Longer than settling a batch takes; after a stop, events wait for so long."""
_BATCH = 200
_AT_ONCE = 8
_FIRST_RETRY = timedelta(seconds=1)
_LAST_RETRY = timedelta(minutes=10)
_MOST_DOUBLINGS = 10
_UNPOSTED_AFTER = timedelta(minutes=1)
_PASSING = (StripeFailure, UnreadableObject, BusError, Refused, NatsError, DatabaseUnavailable)
"""Outages, and what an operator mends: the events wait."""

HandleOther = Callable[[StoredEvent], Awaitable[str]]
"""Handles an event that is about no payment; returns what it did. Raises the same errors as settling a payment."""


class EventProcessor:
    """The job of one process. `others` handle events by the beginning of their type, such as `customer.subscription.`."""

    def __init__(
        self,
        store: StripeEventStore,
        payments: StripePaymentStore,
        settler: PaymentSettler,
        alerts: StripeAlerts,
        clock: Callable[[], datetime],
        others: Sequence[tuple[str, HandleOther]] = (),
    ) -> None:
        self._store = store
        self._payments = payments
        self._settler = settler
        self._alerts = alerts
        self._clock = clock
        self._others = others
        self._wake = asyncio.Event()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start in a task of its own."""
        self._task = asyncio.create_task(self._run(), name="process events of Stripe")

    async def stop(self) -> None:
        """Stop; another process, or the next one, goes on."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    def wake(self) -> None:
        """Process now what was stored."""
        self._wake.set()

    def explain_ignored(self, event: ReceivedEvent) -> str | None:
        """Return why an event has no effect; None if it has one."""
        if event.object_type in PAYMENT_OBJECTS:
            return None if event.payment_id is not None else "nothing was paid yet"
        if self._other_of(event.type) is not None:
            return None
        return "events of this type have no effect here"

    async def work(self) -> bool:
        """Process what is due; return whether there may be more. Raises DatabaseUnavailable."""
        now = self._clock()
        events = await self._store.claim(now, now + _CLAIM, _BATCH)
        by_payment: dict[str, list[StoredEvent]] = {}
        others: list[StoredEvent] = []
        for event in events:
            if event.payment_id is not None and event.object_type in PAYMENT_OBJECTS:
                by_payment.setdefault(event.payment_id, []).append(event)
            else:
                others.append(event)
        await asyncio.gather(
            *(self._settle(payment_id, found) for payment_id, found in by_payment.items()),
            *(self._handle(event) for event in others),
        )
        if not events:
            for payment_id in await self._payments.unposted(now - _UNPOSTED_AFTER, _AT_ONCE):
                await self._settle(payment_id, [])
        return len(events) == _BATCH

    async def _settle(self, payment_id: str, events: Sequence[StoredEvent]) -> None:
        async with self._limit:
            state = EventState.DONE
            try:
                settled = await self._settler.settle(payment_id)
                detail = describe_settled(settled)
                await self._report_settled(settled)
            except (NotOurs, NotPaid) as error:
                state, detail = EventState.IGNORED, str(error)
            except (ParkedPayment, StripeObjectMissing) as error:
                state, detail = EventState.PARKED, str(error)
                await self._alerts.parked(payment_id, detail)
            except _PASSING as error:
                await self._put_off(events, error)
                return
        await self._finish(events, state, detail)

    async def _report_settled(self, settled: SettledPayment) -> None:
        kinds = {each.kind for each in settled.posted}
        if settled.was_parked:
            await self._alerts.parked(settled.payment_id, None)
        if kinds & {PaymentKind.DISPUTE, PaymentKind.DISPUTE_WON}:
            is_open = PaymentKind.DISPUTE_WON not in {each.kind for each in settled.effects}
            await self._alerts.disputed(settled.tenant, settled.payment_id, raised=is_open)

    async def _handle(self, event: StoredEvent) -> None:
        handle = self._other_of(event.type)
        if handle is None:
            await self._finish([event], EventState.IGNORED, "events of this type have no effect here")
            return
        async with self._limit:
            try:
                detail = await handle(event)
            except NotOurs as error:
                await self._finish([event], EventState.IGNORED, str(error))
                return
            except (ParkedPayment, StripeObjectMissing) as error:
                await self._finish([event], EventState.PARKED, str(error))
                return
            except _PASSING as error:
                await self._put_off([event], error)
                return
        await self._finish([event], EventState.DONE, detail)

    def _other_of(self, event_type: str) -> HandleOther | None:
        return next((handle for beginning, handle in self._others if event_type.startswith(beginning)), None)

    async def _finish(self, events: Sequence[StoredEvent], state: EventState, detail: str) -> None:
        if events:
            await self._store.finish([event.event_id for event in events], state, detail)
            await self._alerts.succeeded(EFFECTS)

    async def _put_off(self, events: Sequence[StoredEvent], error: Exception) -> None:
        detail = error.refusal.message if isinstance(error, Refused) else str(error)
        _log.warning("events of Stripe wait: %s", detail)
        if not events:
            return
        delay = retry_delay(max(event.attempts for event in events))
        await self._store.put_off([event.event_id for event in events], self._clock() + delay, detail)
        await self._alerts.failed(EFFECTS, detail)

    async def _run(self) -> None:
        while True:
            more = False
            self._wake.clear()
            try:
                more = await self.work()
            except DatabaseUnavailable:
                _log.warning("events of Stripe wait for PostgreSQL")
            except Exception:  # the job must survive any failure: what is stored says what is to be done
                _log.exception("a round of events of Stripe failed, and is tried again")
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _INTERVAL_SECONDS)


def describe_settled(settled: SettledPayment) -> str:
    """Return what settling a payment has done, for people."""
    if not settled.posted:
        return "the credits were right already"
    return "posted " + ", ".join(f"{each.kind.value} {each.object_id}" for each in settled.posted)


def retry_delay(attempts: int) -> timedelta:
    """Return how long events wait after so many failures: doubled each time, up to ten minutes."""
    doublings: int = 2 ** min(attempts, _MOST_DOUBLINGS)
    return min(_LAST_RETRY, _FIRST_RETRY * doublings)
