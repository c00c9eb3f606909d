"""The events about automatic payments that failed. Pure."""

from datetime import datetime

from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.payments import PaymentChange, PaymentChanged
from services.billing.purchases.stored_purchase import StoredPurchase


def failure_event(
    purchase: StoredPurchase, change: PaymentChange, reason: str, event_id: str, now: datetime
) -> PaymentChanged:
    """Return the event that an automatic payment failed, or that the top-up is paused over it."""
    return PaymentChanged(
        event_id=event_id,
        tenant=purchase.tenant,
        change=change,
        payment_id=purchase.payment_intent,
        purchase_id=purchase.purchase,
        credits=from_micro_usd(purchase.credits_micro_usd),
        amount_minor=purchase.amount_cents,
        currency=purchase.currency,
        detail=reason,
        at=now,
    )
