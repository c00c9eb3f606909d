"""Puts the parts about Stripe's payments together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from keyferry.contracts.alert_management import ALERT_REPORT
from keyferry.contracts.payment_management import CREDIT_LIST_PAYMENTS, CREDIT_RECORD_PAYMENT
from keyferry.contracts.stripe_events import ReplayStripeEvents
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.stripe.client import SecretReader, StripeGateway
from services.billing.stripe.event_store import StripeEventStore
from services.billing.stripe.failure_alerts import StripeAlerts
from services.billing.stripe.intake import WebhookIntake
from services.billing.stripe.missing_credits import FindCustomer, MissingCreditCheck
from services.billing.stripe.payment_store import StripePaymentStore
from services.billing.stripe.processing import EventProcessor, HandleOther
from services.billing.stripe.reading import StripeReader
from services.billing.stripe.reconciliation import StripeReconciler
from services.billing.stripe.reconciliation_store import StripeReportStore
from services.billing.stripe.settlement import FindOrder, PaymentSettler

_ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class StripeParts:
    """What answers requests, and what works without one."""

    intake: WebhookIntake
    events: StripeEventStore
    payments: StripePaymentStore
    settler: PaymentSettler
    processor: EventProcessor
    missing: MissingCreditCheck
    reconciler: StripeReconciler
    clock: Callable[[], datetime]

    async def replay(self, command: ReplayStripeEvents) -> int:
        """Process events again; return how many. Raises DatabaseUnavailable."""
        count = await self.events.replay(
            command.event_ids, all_parked=command.all_parked, actor=command.actor, now=self.clock()
        )
        self.processor.wake()
        return count


async def _know_nothing(_: str) -> None:
    """Return that nothing is known."""


def assemble_stripe(
    bus: Bus,
    database: ServiceDatabase,
    secrets: SecretReader,
    gateway: StripeGateway,
    *,
    deployment: str,
    clock: Callable[[], datetime],
    find_order: FindOrder | None = None,
    find_customer: FindCustomer | None = None,
    others: Sequence[tuple[str, HandleOther]] = (),
) -> StripeParts:
    """Return the parts of one process, not started and not subscribed.

    `find_order` and `find_customer` return what purchases know; without them, the metadata of a payment decides alone, and
    payments are found by their time. `others` handle events that are about no payment, by the beginning of their type.
    """
    events, payments = StripeEventStore(database), StripePaymentStore(database)
    alerts = StripeAlerts(events, partial(bus.ask, ALERT_REPORT, timeout_seconds=_ASK_SECONDS))
    record = partial(bus.ask, CREDIT_RECORD_PAYMENT, timeout_seconds=_ASK_SECONDS)
    settler = PaymentSettler(gateway, payments, record, find_order or _know_nothing, deployment, clock)
    processor = EventProcessor(events, payments, settler, alerts, clock, others)
    reader = StripeReader(gateway)
    return StripeParts(
        intake=WebhookIntake(secrets, gateway, events, alerts, processor.explain_ignored, clock, stored=processor.wake),
        events=events,
        payments=payments,
        settler=settler,
        processor=processor,
        missing=MissingCreditCheck(reader, settler, alerts, find_customer or _know_nothing, clock),
        reconciler=StripeReconciler(
            reader,
            settler,
            partial(bus.ask, CREDIT_LIST_PAYMENTS, timeout_seconds=_ASK_SECONDS),
            StripeReportStore(database),
            alerts,
            clock,
        ),
        clock=clock,
    )
