"""What payments change in wallets of Lago. Pure."""

from keyferry.contracts.payments import PaymentChange, PaymentChanged
from services.billing.lago.purchases import Booking, BookingKind

_KINDS = {
    PaymentChange.SETTLED: BookingKind.PURCHASE,
    PaymentChange.REFUNDED: BookingKind.TAKEN_BACK,
    PaymentChange.DISPUTED: BookingKind.TAKEN_BACK,
    PaymentChange.REFUND_FAILED: BookingKind.RETURNED,
    PaymentChange.DISPUTE_WON: BookingKind.RETURNED,
}


def booking_of(event: PaymentChanged) -> Booking | None:
    """Return what an event changes in the wallet; None if nothing. Equal events have equal ids."""
    kind = _KINDS.get(event.change)
    source = event.source_id or event.payment_id
    if kind is None or source is None or event.credits == 0:
        return None
    return Booking(
        booking_id=f"{event.change.value}:{source}",
        tenant=event.tenant,
        kind=kind,
        credits=abs(event.credits),
        amount_minor=event.amount_minor,
        currency=event.currency,
        paid_at=event.at,
    )
