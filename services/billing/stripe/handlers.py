"""Handlers of requests about Stripe: webhooks, events, payments and the comparison."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.errors import Error as NatsError

from keyferry.contracts.payment_management import (
    PAYMENT_CHECK_MISSING,
    PAYMENT_LIST,
    STRIPE_EVENT_LIST,
    STRIPE_EVENT_REPLAY,
    STRIPE_RECEIVE_WEBHOOK,
    STRIPE_RECONCILIATION_LIST,
    STRIPE_RECONCILIATION_RUN,
)
from keyferry.contracts.payments import CheckMissingCredits, ListPayments, MissingCredits, Payments
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.stripe_events import (
    ListStripeEvents,
    ListStripeReconciliations,
    ReceiveWebhook,
    ReplayedEvents,
    ReplayStripeEvents,
    RunStripeReconciliation,
    StripeEvents,
    StripeReconciliation,
    StripeReconciliations,
    WebhookReceived,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.stripe.client import StripeFailure
from services.billing.stripe.event_store import InvalidEventCursor
from services.billing.stripe.objects import UnreadableObject
from services.billing.stripe.parts import StripeParts
from services.billing.stripe.payment_store import InvalidPaymentList

SETTLES_FOR_ALL = "it settles payments, whose rows the tenant's role may only read; each statement names the payment"
"""Why the handler works outside of the scope of the tenant."""


class StripeHandlers:
    """The handlers of one process. All raise Refused."""

    def __init__(self, parts: StripeParts) -> None:
        self._parts = parts

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(STRIPE_RECEIVE_WEBHOOK, self.receive)
        bus.respond(STRIPE_EVENT_LIST, self.events)
        bus.respond(STRIPE_EVENT_REPLAY, self.replay)
        bus.respond(PAYMENT_LIST, self.payments)
        bus.respond(PAYMENT_CHECK_MISSING, self.check_missing, all_tenants=SETTLES_FOR_ALL)
        bus.respond(STRIPE_RECONCILIATION_RUN, self.reconcile)
        bus.respond(STRIPE_RECONCILIATION_LIST, self.reports)

    async def receive(self, command: ReceiveWebhook) -> WebhookReceived:
        """Verify and store a webhook."""
        async with _refusing():
            return await self._parts.intake.receive(command)

    async def events(self, command: ListStripeEvents) -> StripeEvents:
        """Return a page of events."""
        async with _refusing():
            return await self._parts.events.page(command)

    async def replay(self, command: ReplayStripeEvents) -> ReplayedEvents:
        """Process events again."""
        if bool(command.event_ids) == command.all_parked:
            raise Refused(ErrorCode.INVALID, "give either `event_ids` or `all_parked`")
        async with _refusing():
            count = await self._parts.replay(command)
        return ReplayedEvents(replayed=count)

    async def payments(self, command: ListPayments) -> Payments:
        """Return a page of a tenant's payments."""
        async with _refusing():
            return await self._parts.payments.list_payments(command)

    async def check_missing(self, command: CheckMissingCredits) -> MissingCredits:
        """Compare a tenant's payments with Stripe, and credit what is owed."""
        async with _refusing():
            return await self._parts.missing.check(command)

    async def reconcile(self, command: RunStripeReconciliation) -> StripeReconciliation:
        """Compare a day with Stripe."""
        async with _refusing():
            return await self._parts.reconciler.run(command)

    async def reports(self, command: ListStripeReconciliations) -> StripeReconciliations:
        """Return reports of the comparison."""
        async with _refusing():
            return StripeReconciliations(reports=await self._parts.reconciler.list_reports(command.limit))


@asynccontextmanager
async def _refusing() -> AsyncIterator[None]:
    """Refuse the request where it fails; Stripe and people may repeat it."""
    try:
        yield
    except (InvalidEventCursor, InvalidPaymentList):
        message = "`after` is not the `next` of a page of this list: start from the beginning"
        raise Refused(ErrorCode.INVALID, message) from None
    except DatabaseUnavailable:
        raise Refused(ErrorCode.UNAVAILABLE, "the database cannot be reached: repeat it in a moment") from None
    except (StripeFailure, UnreadableObject, BusError) as error:
        raise Refused(ErrorCode.UNAVAILABLE, str(error)) from None
    except NatsError:
        raise Refused(ErrorCode.UNAVAILABLE, "the bus does not answer: repeat it in a moment") from None
