"""Handlers of requests about credits."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.accounts import ADJUSTMENTS, GRANTED, PAYMENTS
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import (
    AdjustCredits,
    CreditBalance,
    CreditHistory,
    CreditsChanged,
    GetCredits,
    GrantCredits,
    ListCreditHistory,
    SetCreditThreshold,
    from_micro_usd,
    to_micro_usd,
)
from keyferry.contracts.ledger_management import (
    CREDIT_ADJUST,
    CREDIT_GET,
    CREDIT_GRANT,
    CREDIT_HISTORY,
    CREDIT_THRESHOLD,
)
from keyferry.contracts.money import plain
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.credit_store import CreditStore, InvalidHistoryCursor
from services.usage_ledger.accounts.transfer import (
    InsufficientFunds,
    Transfer,
    TransferConflict,
    TransferPurpose,
    TransferRefused,
)
from services.usage_ledger.audit_log import AuditLog, OwnAction
from services.usage_ledger.database_outage import refuse_outages


class CreditHandlers:
    """Answers requests about credits. All raise Refused."""

    def __init__(
        self,
        store: CreditStore,
        require_tenant: Callable[[str], Awaitable[None]],
        audit: AuditLog,
        clock: Callable[[], datetime],
        changed: Callable[[Iterable[str]], None],
    ) -> None:
        """Handle requests; `changed` receives the tenants whose credits were changed."""
        self._store = store
        self._changed = changed
        self._require_tenant = require_tenant
        self._audit = audit
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(CREDIT_GET, self.get)
        bus.respond(CREDIT_GRANT, self.grant)
        bus.respond(CREDIT_ADJUST, self.adjust)
        bus.respond(CREDIT_THRESHOLD, self.set_threshold)
        bus.respond(CREDIT_HISTORY, self.list_history)

    async def get(self, command: GetCredits) -> CreditBalance:
        """Return what a tenant has."""
        with refuse_outages():
            return await self._store.read_balance(command.tenant, self._clock())

    async def grant(self, command: GrantCredits) -> CreditsChanged:
        """Give a tenant credits, once per idempotency key."""
        if (command.source is None) != (command.source_id is None):
            raise Refused(ErrorCode.INVALID, "`source` and `source_id` go together: give both, or none")
        transfer = Transfer(
            transfer_id=_entry_id(command),
            debit=GRANTED if command.source is None else PAYMENTS,
            credit=credits_account(command.tenant),
            amount=to_micro_usd(command.credits),
            purpose=TransferPurpose.GRANT,
            reason=command.reason,
            actor=command.actor,
            source=command.source,
            source_id=command.source_id,
        )
        return await self._post(command, transfer, "credits.grant")

    async def adjust(self, command: AdjustCredits) -> CreditsChanged:
        """Correct a tenant's credits, once per idempotency key."""
        account, amount = credits_account(command.tenant), to_micro_usd(command.credits)
        transfer = Transfer(
            transfer_id=_entry_id(command),
            debit=ADJUSTMENTS if amount > 0 else account,
            credit=account if amount > 0 else ADJUSTMENTS,
            amount=abs(amount),
            purpose=TransferPurpose.ADJUSTMENT,
            reason=command.reason,
            actor=command.actor,
        )
        return await self._post(command, transfer, "credits.adjust")

    async def set_threshold(self, command: SetCreditThreshold) -> CreditBalance:
        """Choose below which balance a tenant's credits count as low."""
        await self._require_tenant(command.tenant)
        shown = "default" if command.credits is None else plain(command.credits)
        action = OwnAction(command.actor, "credits.threshold", f"credits of {command.tenant}", {"low_below": shown})
        amount = None if command.credits is None else to_micro_usd(command.credits)
        with refuse_outages():
            balance, head = await self._store.set_low_below(command.tenant, amount, self._audit, action, self._clock())
        self._changed((command.tenant,))
        with _refuse_bus_errors():
            await self._audit.publish(head)
        return balance

    async def list_history(self, command: ListCreditHistory) -> CreditHistory:
        """Return a page of what happened to a tenant's credits, newest first."""
        try:
            with refuse_outages():
                return await self._store.list_history(command)
        except InvalidHistoryCursor:
            message = "`after` is not the `next` of a page of this history: start from the beginning"
            raise Refused(ErrorCode.INVALID, message) from None

    async def _post(self, command: GrantCredits | AdjustCredits, transfer: Transfer, name: str) -> CreditsChanged:
        await self._require_tenant(command.tenant)
        details = {"credits": plain(command.credits), "entry": transfer.transfer_id, "reason": command.reason}
        action = OwnAction(command.actor, name, f"credits of {command.tenant}", details)
        try:
            with refuse_outages():
                posted = await self._store.post(command.tenant, transfer, self._audit, action, self._clock())
        except TransferRefused as refused:
            raise _explain(refused, command) from None
        self._changed((command.tenant,))
        if posted.head is not None:
            with _refuse_bus_errors():
                await self._audit.publish(posted.head)
        return CreditsChanged(entry_id=transfer.transfer_id, repeated=not posted.is_new, credits=posted.balance)


def _entry_id(command: GrantCredits | AdjustCredits) -> str:
    return f"credit:{command.tenant}:{command.idempotency_key}"


def _explain(refused: TransferRefused, command: GrantCredits | AdjustCredits) -> Refused:
    if isinstance(refused, InsufficientFunds):
        message = (
            f"{command.tenant} has {plain(from_micro_usd(refused.available))} credits available, so"
            f" {plain(abs(command.credits))} cannot be taken away: take less, or wait until held credits are released"
        )
        return Refused(ErrorCode.CONFLICT, message)
    if isinstance(refused, TransferConflict):
        message = (
            "there is another entry with this idempotency key or source already: repeat exactly what was sent before, or"
            " choose a new key for a new entry"
        )
        return Refused(ErrorCode.CONFLICT, message)
    return Refused(ErrorCode.INVALID, f"the entry is not possible: {refused.reason}")


@contextmanager
def _refuse_bus_errors() -> Iterator[None]:
    """Refuse the request if the audit's signed head cannot be stored; the change itself is made by then."""
    try:
        yield
    except (NatsError, APIError, TimeoutError):
        message = (
            "the change is made and audited, but the signed head of the audit cannot be stored now; the next entry of the"
            " audit does that: look at the credits before you repeat the command"
        )
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
