"""Compares the payments of a day with Stripe, in both directions, once a day and when an operator asks for it.

What Stripe has and the ledger lacks is settled exactly as its event would have done it. What the ledger has and Stripe lacks is
only reported: whether credits are to be corrected is for a person to decide.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from nats.errors import Error as NatsError

from keyferry.contracts.payments import LedgerPayment, LedgerPayments, ListRecordedPayments
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.stripe_events import (
    MAX_DIFFERENCES,
    RunStripeReconciliation,
    StripeDifference,
    StripeReconciliation,
)
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.stripe.client import StripeFailure, StripeNotConfigured, StripeObjectMissing
from services.billing.stripe.differences import EffectKey, compare_effects, missing_at_stripe, parked
from services.billing.stripe.failure_alerts import StripeAlerts
from services.billing.stripe.objects import TENANT, UnreadableObject
from services.billing.stripe.reading import StripeReader
from services.billing.stripe.reconciliation_store import StripeReportStore
from services.billing.stripe.rules import NotOurs, NotPaid, ParkedPayment
from services.billing.stripe.settlement import PaymentSettler

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 600.0
_HOUR = 1
"""From then on (UTC) the day before is compared: events that were on their way at midnight have arrived."""
_MARGIN = timedelta(days=1)
"""A payment intent is made before it is paid, and the page of Checkout is open for a day at most."""

ListRecorded = Callable[[ListRecordedPayments], Awaitable[LedgerPayments]]
"""Asks the ledger. Raises BusError and Refused."""


@dataclass(slots=True)
class _Comparison:
    at_stripe: int = 0
    differences: list[StripeDifference] = field(default_factory=list)
    seen: set[EffectKey] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)


class StripeReconciler:
    """The comparison of one installation."""

    def __init__(
        self,
        reader: StripeReader,
        settler: PaymentSettler,
        list_recorded: ListRecorded,
        store: StripeReportStore,
        alerts: StripeAlerts,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._settler = settler
        self._list_recorded = list_recorded
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Compare each day once it is over."""
        self._task = asyncio.create_task(self._run(), name="compare payments with Stripe")

    async def stop(self) -> None:
        """Stop; another process, or the next one, goes on."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def run(self, command: RunStripeReconciliation) -> StripeReconciliation:
        """Compare a day, store the report and raise or resolve the alert. Raises Refused and DatabaseUnavailable."""
        now = self._clock()
        day = command.day or (now.astimezone(UTC).date() - timedelta(days=1))
        if day > now.astimezone(UTC).date():
            raise Refused(ErrorCode.INVALID, f"{day} has not begun yet: give a day up to today (UTC)")
        found, detail, recorded = _Comparison(), None, {}
        try:
            recorded = await self._recorded(day)
            await self._compare(day, recorded, found)
        except (StripeFailure, UnreadableObject, BusError, NatsError) as error:
            detail = str(error)
        report = StripeReconciliation(
            day=day,
            run_at=now,
            complete=detail is None,
            payments_at_stripe=found.at_stripe,
            payments_recorded=len(recorded),
            differences=found.differences[:MAX_DIFFERENCES],
            more_differences=max(0, len(found.differences) - MAX_DIFFERENCES),
            detail=detail,
        )
        await self._store.save(report, command.actor)
        await self._alert(report, len(found.differences))
        return report

    async def list_reports(self, limit: int) -> list[StripeReconciliation]:
        """Return the newest reports. Raises DatabaseUnavailable."""
        return await self._store.list_reports(limit)

    async def _recorded(self, day: date) -> dict[EffectKey, LedgerPayment]:
        since, until = _span(day)
        found: dict[EffectKey, LedgerPayment] = {}
        after: str | None = None
        while True:
            page = await self._list_recorded(ListRecordedPayments(since=since, until=until, after=after))
            found |= {(each.kind, each.source_id): each for each in page.payments}
            if (after := page.next) is None:
                return found

    async def _compare(self, day: date, recorded: dict[EffectKey, LedgerPayment], found: _Comparison) -> None:
        since, until = _span(day)
        async for intent in self._reader.intents(since - _MARGIN, until):
            if intent.status == "succeeded" and TENANT in intent.metadata:
                await self._settle(intent.id, intent.metadata.get(TENANT), recorded, found)
        for payment_id in sorted(await self._reader.changed_payments(since, until)):
            await self._settle(payment_id, None, recorded, found)
        for key, row in recorded.items():
            if key in found.seen:
                continue
            reason = await self._settle(row.receipt.payment_id, row.tenant, recorded, found)
            if key not in found.seen:
                found.differences.append(missing_at_stripe(row, reason or "the payment has no such refund or dispute"))

    async def _settle(
        self, payment_id: str, tenant: str | None, recorded: dict[EffectKey, LedgerPayment], found: _Comparison
    ) -> str | None:
        """Settle a payment once and note how it differs; return why it could not be compared."""
        if payment_id in found.settled:
            return None
        found.settled.add(payment_id)
        try:
            settled = await self._settler.settle(payment_id)
        except (NotOurs, NotPaid, StripeObjectMissing) as error:
            return str(error)
        except ParkedPayment as error:
            found.at_stripe += 1
            found.differences.append(parked(payment_id, tenant, str(error)))
            return str(error)
        found.at_stripe += 1
        found.seen |= {(each.kind, each.object_id) for each in settled.effects}
        found.differences += compare_effects(payment_id, settled.tenant, settled.effects, recorded, settled.posted)
        return None

    async def _alert(self, report: StripeReconciliation, differences: int) -> None:
        if not report.complete:
            text = f"the payments of {report.day} could not be compared with Stripe: {report.detail}"
        elif differences:
            text = (
                f"{differences} payments of {report.day} differ between Stripe and the ledger:"
                f" `keyferry billing reconcile --day {report.day}` shows them"
            )
        else:
            text = f"the payments of {report.day} agree with Stripe"
        await self._alerts.differs(report.day.isoformat(), text, raised=not report.complete or bool(differences))

    async def _run(self) -> None:
        while True:
            now = self._clock().astimezone(UTC)
            try:
                yesterday = now.date() - timedelta(days=1)
                if now.hour >= _HOUR and not await self._store.is_complete(yesterday):
                    await self._run_if_configured(yesterday)
            except (DatabaseUnavailable, Refused, BusError):
                _log.warning("the comparison with Stripe waits")
            except Exception:  # the job must survive any failure: the next round tries again
                _log.exception("the comparison with Stripe failed, and is tried again")
            await asyncio.sleep(_EVERY_SECONDS)

    async def _run_if_configured(self, day: date) -> None:
        try:
            await self._reader.check()
        except StripeNotConfigured:
            return
        await self.run(RunStripeReconciliation(day=day, actor="billing"))


def _span(day: date) -> tuple[datetime, datetime]:
    since = datetime.combine(day, time(), UTC)
    return since, since + timedelta(days=1)
