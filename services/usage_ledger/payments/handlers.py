"""Handlers of what the billing reports about payments."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.payment_management import CREDIT_LIST_PAYMENTS, CREDIT_RECORD_PAYMENT
from keyferry.contracts.payments import (
    LedgerPayments,
    ListRecordedPayments,
    PaymentKind,
    RecordedPayment,
    RecordPayment,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.transfer import TransferRefused
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.payments.store import InvalidPaymentCursor, OtherPayment, PaymentStore

_log = logging.getLogger(__name__)


class PaymentHandlers:
    """Answers the billing. All raise Refused."""

    def __init__(
        self,
        store: PaymentStore,
        require_tenant: Callable[[str], Awaitable[None]],
        audit: AuditLog,
        clock: Callable[[], datetime],
        changed: Callable[[Iterable[str]], None],
        is_deleted: Callable[[str], bool],
    ) -> None:
        """Handle requests; `changed` receives the tenants whose credits were changed."""
        self._is_deleted = is_deleted
        self._store = store
        self._require_tenant = require_tenant
        self._audit = audit
        self._clock = clock
        self._changed = changed

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(CREDIT_RECORD_PAYMENT, self.record)
        bus.respond(CREDIT_LIST_PAYMENTS, self.list)

    async def record(self, command: RecordPayment) -> RecordedPayment:
        """Record a payment, once per source, kind and id."""
        await self._require_tenant(command.tenant)
        if command.kind is PaymentKind.PURCHASE and self._is_deleted(command.tenant):
            message = f"{command.tenant} was deleted, so it gets no credits: refund the payment in Stripe"
            raise Refused(ErrorCode.NOT_FOUND, message)
        try:
            with refuse_outages():
                posted = await self._store.record(command, self._audit, self._clock())
        except OtherPayment as error:
            raise Refused(ErrorCode.CONFLICT, str(error)) from None
        except TransferRefused as refused:
            raise Refused(ErrorCode.INVALID, f"the payment cannot be recorded: {refused.reason}") from None
        self._changed((command.tenant,))
        if posted.head is not None:
            try:
                await self._audit.publish(posted.head)
            except (NatsError, APIError, TimeoutError):
                # It is recorded and audited. The next entry of the audit signs the head; a refusal would only repeat this.
                _log.warning("the signed head of the audit cannot be stored now; the next entry does that")
        row = posted.row
        return RecordedPayment(
            tenant=row.tenant,
            kind=row.kind,
            source=command.source,
            source_id=row.source_id,
            amount_micro_usd=row.amount_micro_usd,
            repeated=not posted.is_new,
            already_granted=posted.already_granted,
            taken_micro_usd=row.taken_micro_usd,
            owed_micro_usd=row.owed_micro_usd,
            credits=posted.balance,
        )

    async def list(self, command: ListRecordedPayments) -> LedgerPayments:
        """Return a page of what is recorded of payments."""
        try:
            with refuse_outages():
                return await self._store.page(command)
        except InvalidPaymentCursor:
            message = "`after` is not the `next` of a page of payments: start from the beginning"
            raise Refused(ErrorCode.INVALID, message) from None
