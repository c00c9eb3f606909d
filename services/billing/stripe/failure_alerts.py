"""Alerts about Stripe: after three failures in a row, about payments that are parked, and about disputes."""

import logging
from collections.abc import Awaitable, Callable

from nats.errors import Error as NatsError

from keyferry.contracts.alert_events import AlertReported, ReportAlert
from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.requests import BusError, Refused
from services.billing.stripe.event_store import StripeEventStore

_log = logging.getLogger(__name__)

FAILURES_UNTIL_ALERT = 3

Report = Callable[[ReportAlert], Awaitable[AlertReported]]
"""Sends a report to the ledger. Raises BusError and Refused."""


class StripeAlerts:
    """Raises alerts and resolves them. An alert that cannot be sent is sent with the next failure or success."""

    def __init__(self, store: StripeEventStore, report: Report) -> None:
        self._store = store
        self._report = report

    async def failed(self, subject: str, detail: str) -> None:
        """Count a failure, and raise the alert from the third in a row on. Raises DatabaseUnavailable."""
        streak = await self._store.note_failure(subject, detail)
        if streak.failures < FAILURES_UNTIL_ALERT or streak.reported:
            return
        text = f"{streak.failures} in a row have failed, the last one because: {detail}"
        if await self._send(AlertMetric.STRIPE_WEBHOOK_FAILING, subject, text, raised=True):
            await self._store.mark_reported(subject, reported=True)

    async def succeeded(self, subject: str) -> None:
        """Forget failures, and resolve the alert. Raises DatabaseUnavailable."""
        before = await self._store.note_success(subject)
        if before is not None and before.reported:
            text = "the last one has succeeded"
            if await self._send(AlertMetric.STRIPE_WEBHOOK_FAILING, subject, text, raised=False):
                await self._store.mark_reported(subject, reported=False)

    async def parked(self, payment_id: str, reason: str | None) -> None:
        """Raise the alert about a payment that is parked, or resolve it without a reason."""
        text = (
            f"the payment {payment_id} is paid and not credited: {reason}. Look at it in Stripe, then replay its event"
            if reason is not None
            else f"the payment {payment_id} is settled"
        )
        await self._send(AlertMetric.STRIPE_RECONCILIATION, payment_id, text, raised=reason is not None)

    async def differs(self, day: str, text: str, *, raised: bool) -> None:
        """Raise or resolve the alert about a day on which Stripe and the ledger differ."""
        await self._send(AlertMetric.STRIPE_RECONCILIATION, day, text, raised=raised)

    async def disputed(self, tenant: str, payment_id: str, *, raised: bool) -> None:
        """Raise or resolve a tenant's alert about a disputed payment."""
        text = (
            f"the bank of the payment {payment_id} has taken the money back, so its credits are taken back until it decides"
            if raised
            else f"the dispute of the payment {payment_id} has ended"
        )
        await self._send(AlertMetric.PAYMENT_DISPUTED, payment_id, text, raised=raised, tenant=tenant)

    async def _send(
        self, metric: AlertMetric, subject: str, text: str, *, raised: bool, tenant: str = PLATFORM_TENANT
    ) -> bool:
        try:
            await self._report(
                ReportAlert(tenant=tenant, metric=metric, subject=subject, raised=raised, text=text[:1000])
            )
        except (BusError, Refused, NatsError):
            _log.warning("an alert about Stripe cannot be reported now", extra={"metric": metric.value})
            return False
        return True
