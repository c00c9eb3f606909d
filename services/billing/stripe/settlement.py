"""Settles a payment: reads what Stripe has of it now, and has the ledger post whatever follows and is not posted yet.

It does not matter which event, in which order, or how often asks for it, nor where an earlier attempt stopped: amounts are stored
before the ledger is asked, and the ledger posts each object of Stripe once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keyferry.contracts import ids
from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.money import plain
from keyferry.contracts.payments import (
    PaymentChange,
    PaymentChanged,
    PaymentKind,
    PaymentReceipt,
    RecordedPayment,
    RecordPayment,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from services.billing.stripe.client import PAGE_SIZE, StripeGateway
from services.billing.stripe.currencies import show_amount
from services.billing.stripe.objects import PURCHASE, IntentFacts, PaymentFacts, read_dispute, read_intent, read_refund
from services.billing.stripe.payment_store import StripePaymentStore
from services.billing.stripe.rules import (
    OrderedPayment,
    PaidCredits,
    ParkedPayment,
    PaymentEffect,
    credits_of,
    new_effects,
    state_of,
    tenant_of,
)

FindOrder = Callable[[str], Awaitable[OrderedPayment | None]]
"""Returns what was ordered under the id of a purchase; None if nothing is known of it. Raises DatabaseUnavailable."""
Record = Callable[[RecordPayment], Awaitable[RecordedPayment]]
"""Has the ledger record a payment. Raises BusError and Refused."""

_CHANGES = {
    PaymentKind.PURCHASE: PaymentChange.SETTLED,
    PaymentKind.REFUND: PaymentChange.REFUNDED,
    PaymentKind.CORRECTION: PaymentChange.REFUND_FAILED,
    PaymentKind.DISPUTE: PaymentChange.DISPUTED,
    PaymentKind.DISPUTE_WON: PaymentChange.DISPUTE_WON,
}
_REASONS = {
    PaymentKind.PURCHASE: "bought for {amount}",
    PaymentKind.REFUND: "refund of {amount}",
    PaymentKind.CORRECTION: "the refund of {amount} failed, so the credits return",
    PaymentKind.DISPUTE: "the customer's bank took back {amount}",
    PaymentKind.DISPUTE_WON: "the customer's bank returned {amount}",
}


@dataclass(frozen=True, slots=True)
class SettledPayment:
    """What settling a payment has done now: the effects that it posted."""

    payment_id: str
    tenant: str
    posted: list[PaymentEffect] = field(default_factory=list)
    effects: list[PaymentEffect] = field(default_factory=list)
    """All of them."""
    was_parked: bool = False

    @property
    def credited_micro_usd(self) -> int:
        """What was added to the credits now."""
        return sum(each.amount_micro_usd for each in self.posted if each.kind in _ADDS)

    @property
    def taken_micro_usd(self) -> int:
        """What was taken back now."""
        return sum(each.amount_micro_usd for each in self.posted if each.kind not in _ADDS)


_ADDS = frozenset({PaymentKind.PURCHASE, PaymentKind.CORRECTION, PaymentKind.DISPUTE_WON})


class PaymentSettler:
    """Settles payments of one installation, whose `deployment` name its payments carry."""

    def __init__(
        self,
        gateway: StripeGateway,
        store: StripePaymentStore,
        record: Record,
        find_order: FindOrder,
        deployment: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._record = record
        self._find_order = find_order
        self._deployment = deployment
        self._clock = clock

    async def settle(self, payment_id: str) -> SettledPayment:
        """Settle a payment by its present state.

        Raises NotOurs, NotPaid, ParkedPayment, StripeFailure, UnreadableObject, BusError, Refused and DatabaseUnavailable.
        """
        intent = await self.read_intent(payment_id)
        tenant = tenant_of(intent, self._deployment)
        try:
            paid = await self._paid(intent, tenant)
        except ParkedPayment as parked:
            await self._park(intent, tenant, str(parked))
            raise
        facts = await self._read_rest(intent)
        charge = intent.charge
        decided = await self._store.decide(
            paid,
            lambda known: new_effects(facts, paid, known),
            lambda effects: state_of(facts, effects),
            (charge.id, charge.receipt_url) if charge is not None else (None, None),
            self._clock(),
        )
        effects = [each.effect for each in decided.effects]
        settled = SettledPayment(paid.payment_id, tenant, effects=effects, was_parked=decided.was_parked)
        for each in decided.effects:
            if not each.posted and await self._post(each.effect, paid, facts):
                settled.posted.append(each.effect)
        return settled

    async def read_intent(self, payment_id: str) -> IntentFacts:
        """Return a payment intent with its charge. Raises StripeFailure, UnreadableObject and BusError."""
        params: Any = {"expand": ["latest_charge"]}
        return read_intent(
            await self._gateway.read(lambda stripe: stripe.v1.payment_intents.retrieve_async(payment_id, params))
        )

    async def _paid(self, intent: IntentFacts, tenant: str) -> PaidCredits:
        purchase = intent.metadata.get(PURCHASE)
        ordered = None if purchase is None else await self._find_order(purchase)
        return credits_of(intent, tenant, ordered, is_live=await self._gateway.is_live())

    async def _read_rest(self, intent: IntentFacts) -> PaymentFacts:
        params: Any = {"payment_intent": intent.id, "limit": PAGE_SIZE}

        async def refunds() -> tuple[Any, ...]:
            found = self._gateway.list_all(lambda stripe: stripe.v1.refunds.list_async(params))
            return tuple([read_refund(each) async for each in found])

        async def disputes() -> tuple[Any, ...]:
            found = self._gateway.list_all(lambda stripe: stripe.v1.disputes.list_async(params))
            return tuple([read_dispute(each) async for each in found])

        return PaymentFacts(intent, *await asyncio.gather(refunds(), disputes()))

    async def _post(self, effect: PaymentEffect, paid: PaidCredits, facts: PaymentFacts) -> bool:
        """Have the ledger post an effect, and store that it has; return whether it was new to the ledger."""
        recorded = None
        if effect.amount_micro_usd:
            try:
                recorded = await self._record(_command(effect, paid, facts.intent))
            except Refused as refused:
                if refused.refusal.code in (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.INVALID):
                    reason = f"the ledger does not take it: {refused.refusal.message}"
                    await self._park(facts.intent, paid.tenant, reason)
                    raise ParkedPayment(reason) from None
                raise
        event = _event(effect, paid, self._clock())
        details = {
            "payment": paid.payment_id,
            "credits": plain(from_micro_usd(effect.amount_micro_usd)),
            "amount": show_amount(effect.amount_minor, paid.currency),
        }
        await self._store.mark_posted(effect, event, details, self._clock())
        return recorded is None or not recorded.repeated

    async def _park(self, intent: IntentFacts, tenant: str, reason: str) -> None:
        parked = PaidCredits(
            payment_id=intent.id,
            tenant=tenant,
            purchase_id=intent.metadata.get(PURCHASE),
            credits_micro_usd=0,
            amount_minor=intent.amount_received,
            currency=intent.currency,
            livemode=intent.livemode,
            paid_at=intent.created_at,
        )
        effect = PaymentEffect(PaymentKind.PURCHASE, intent.id, intent.amount_received, 0, intent.created_at)
        event = _event(effect, parked, self._clock()).model_copy(
            update={"change": PaymentChange.PARKED, "detail": reason}
        )
        await self._store.park(parked, event, reason)


def _command(effect: PaymentEffect, paid: PaidCredits, intent: IntentFacts) -> RecordPayment:
    charge = intent.charge
    return RecordPayment(
        tenant=paid.tenant,
        kind=effect.kind,
        amount_micro_usd=effect.amount_micro_usd,
        source_id=effect.object_id,
        reason=_REASONS[effect.kind].format(amount=show_amount(effect.amount_minor, paid.currency)),
        receipt=PaymentReceipt(
            payment_id=paid.payment_id,
            amount_minor=effect.amount_minor,
            currency=paid.currency,
            livemode=paid.livemode,
            charge_id=None if charge is None else charge.id,
            purchase_id=paid.purchase_id,
            receipt_url=None if charge is None else charge.receipt_url,
        ),
        at=effect.at,
    )


def _event(effect: PaymentEffect, paid: PaidCredits, now: datetime) -> PaymentChanged:
    return PaymentChanged(
        event_id=ids.new("pay"),
        tenant=paid.tenant,
        change=_CHANGES[effect.kind],
        payment_id=paid.payment_id,
        source_id=effect.object_id,
        purchase_id=paid.purchase_id,
        credits=from_micro_usd(effect.amount_micro_usd),
        amount_minor=effect.amount_minor,
        currency=paid.currency,
        at=now,
    )
