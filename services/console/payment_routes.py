"""Routes for payments: a tenant's own, and for operators the events of Stripe and the daily comparison."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.payment_management import (
    PAYMENT_CHECK_MISSING,
    PAYMENT_LIST,
    STRIPE_EVENT_LIST,
    STRIPE_EVENT_REPLAY,
    STRIPE_RECONCILIATION_LIST,
    STRIPE_RECONCILIATION_RUN,
)
from keyferry.contracts.payments import CheckMissingCredits, ListPayments, MissingCredits, Payments
from keyferry.contracts.stripe_events import (
    ListStripeEvents,
    ListStripeReconciliations,
    ReplayedEvents,
    ReplayStripeEvents,
    RunStripeReconciliation,
    StripeEvents,
    StripeReconciliation,
    StripeReconciliations,
)
from services.console.access import RouteSpec
from services.console.payment_bodies import (
    PaymentQuery,
    ReportQuery,
    StripeEventQuery,
    StripeReconciliationBody,
    StripeReplayBody,
)
from services.console.service_client import CHECK_SECONDS, RECONCILE_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class PaymentRoutes:
    """The routes under `/credits` that are about payments, and those under `/ops/billing/stripe`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about one tenant."""
        return (
            RouteSpec("GET", "/credits/payments", "list_payments", self.list),
            RouteSpec("POST", "/credits/payments/check-missing", "check_missing_credits", self.check_missing),
        )

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about all payments."""
        return (
            RouteSpec("GET", "/billing/stripe/events", "list_stripe_events", self.events),
            RouteSpec("POST", "/billing/stripe/events/replay", "replay_stripe_events", self.replay),
            RouteSpec("GET", "/billing/stripe/reconciliations", "list_stripe_reconciliations", self.reports),
            RouteSpec("POST", "/billing/stripe/reconciliations", "run_stripe_reconciliation", self.reconcile),
        )

    async def list(self, context: CurrentTenant, query: Annotated[PaymentQuery, Query()]) -> Payments:
        """List a tenant's payments, newest first, with what was refunded or disputed of them, and Stripe's receipts."""
        command = ListPayments(tenant=context.tenant, after=query.after, limit=query.limit)
        return await self._services.read(PAYMENT_LIST, command)

    async def check_missing(self, context: CurrentTenant) -> MissingCredits:
        """Compare a tenant's payments of the last 90 days with Stripe now, and credit what is missing, exactly once.

        For someone who has paid and does not see the credits. A tenant can have this done once in 20 seconds.
        """
        command = CheckMissingCredits(tenant=context.tenant, actor=context.actor)
        return await self._services.change(PAYMENT_CHECK_MISSING, command, timeout_seconds=CHECK_SECONDS)

    async def events(self, context: CurrentTenant, query: Annotated[StripeEventQuery, Query()]) -> StripeEvents:
        """List the events that Stripe has delivered, newest first, with what became of each."""
        command = ListStripeEvents(state=query.event_state, after=query.after, limit=query.limit)
        return await self._services.read(STRIPE_EVENT_LIST, command)

    async def replay(self, context: CurrentTenant, body: StripeReplayBody) -> ReplayedEvents:
        """Process events again, such as parked ones after their cause is gone. Nothing is credited twice."""
        command = ReplayStripeEvents(event_ids=body.event_ids, all_parked=body.all_parked, actor=context.actor)
        return await self._services.change(STRIPE_EVENT_REPLAY, command)

    async def reports(self, context: CurrentTenant, query: Annotated[ReportQuery, Query()]) -> StripeReconciliations:
        """List the reports of the daily comparison of payments with Stripe, newest first."""
        return await self._services.read(STRIPE_RECONCILIATION_LIST, ListStripeReconciliations(limit=query.limit))

    async def reconcile(self, context: CurrentTenant, body: StripeReconciliationBody) -> StripeReconciliation:
        """Compare the payments of one day with Stripe in both directions, credit what is missing, and store the report."""
        command = RunStripeReconciliation(day=body.day, actor=context.actor)
        return await self._services.change(STRIPE_RECONCILIATION_RUN, command, timeout_seconds=RECONCILE_SECONDS)
