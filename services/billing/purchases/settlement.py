"""Adds the credits of a payment that Stripe has, through the ledger, which does it once per payment."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from keyferry.contracts.payments import PaymentKind, PaymentReceipt, RecordedPayment, RecordPayment
from keyferry.contracts.purchases import PurchaseState
from services.billing.purchases.purchase_store import CreditPurchaseStore
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.stripe_access import object_id
from services.billing.stripe.client import StripeDict

Record = Callable[[RecordPayment], Awaitable[RecordedPayment]]
"""Has the ledger record a payment. Raises BusError and Refused."""


class UnexpectedPayment(Exception):
    """A payment is not what was ordered; the message says how, for an operator."""


class PurchaseSettlement:
    """Settles the purchases of one process."""

    def __init__(self, store: CreditPurchaseStore, record: Record, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._record = record
        self._clock = clock

    async def settle(self, purchase: StoredPurchase, intent: StripeDict) -> StoredPurchase:
        """Add the credits of a paid purchase and return it; a repetition adds nothing.

        A stop between any two steps leaves it PAID, and the next step of the purchase repeats this. Raises BusError, Refused,
        DatabaseUnavailable, and UnexpectedPayment if the payment is not what was ordered.
        """
        now = self._clock()
        paid = await self._store.advance(
            purchase, PurchaseState.PAID, payment_intent=intent["id"], paid_at=now, next_step_at=now, reason=None
        )
        if paid.state is not PurchaseState.PAID:
            return paid
        _check(paid, intent)
        await self._record(_command(paid, intent))
        return paid


def _check(purchase: StoredPurchase, intent: StripeDict) -> None:
    received, currency = intent["amount_received"], intent["currency"]
    if (received, currency) != (purchase.amount_cents, purchase.currency):
        raise UnexpectedPayment(
            f"{received} {currency} in minor units were received and {purchase.amount_cents} {purchase.currency} were ordered"
        )


def _command(purchase: StoredPurchase, intent: StripeDict) -> RecordPayment:
    charge: Any = intent.get("latest_charge")
    receipt_url = charge.get("receipt_url") if isinstance(charge, dict) else None
    return RecordPayment(
        tenant=purchase.tenant,
        kind=PaymentKind.PURCHASE,
        amount_micro_usd=purchase.credits_micro_usd,
        source_id=intent["id"],
        reason="automatic top-up" if purchase.kind.value == "top_up" else "bought with Stripe Checkout",
        receipt=PaymentReceipt(
            payment_id=intent["id"],
            amount_minor=intent["amount_received"],
            currency=intent["currency"],
            livemode=intent["livemode"],
            charge_id=object_id(charge),
            purchase_id=purchase.purchase,
            receipt_url=receipt_url,
        ),
        at=datetime.fromtimestamp(intent["created"], UTC),
    )
