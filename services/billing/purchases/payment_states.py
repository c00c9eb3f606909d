"""What the states of Stripe's objects mean for a purchase. Pure."""

from collections.abc import Mapping
from typing import Any

from keyferry.contracts.purchases import FINAL_STATES, PurchaseState

_OF_INTENT = {
    "succeeded": PurchaseState.PAID,
    "processing": PurchaseState.PROCESSING,
    "canceled": PurchaseState.CANCELLED,
}
_ORDER = [
    PurchaseState.OPENING,
    PurchaseState.OPEN,
    PurchaseState.PROCESSING,
    PurchaseState.PAID,
    PurchaseState.CREDITED,
]


def state_of_session(session: Mapping[str, Any], intent_status: str | None) -> PurchaseState:
    """Return the state of a Checkout session: of its payment intent once there is one that says more."""
    if session["status"] == "expired":
        return PurchaseState.EXPIRED
    if session["status"] == "open":
        return PurchaseState.OPEN
    if session["payment_status"] in ("paid", "no_payment_required"):
        return PurchaseState.PAID
    if intent_status == "canceled":
        return PurchaseState.CANCELLED
    # Complete and unpaid: a delayed payment method, which succeeds or fails later.
    return PurchaseState.FAILED if intent_status == "requires_payment_method" else PurchaseState.PROCESSING


def state_of_intent(status: str) -> PurchaseState:
    """Return the state of a payment intent that is charged without its customer: OPENING while it can be confirmed."""
    return _OF_INTENT.get(status, PurchaseState.OPENING)


def may_become(before: PurchaseState, after: PurchaseState) -> bool:
    """Return whether a purchase goes from one state to another: forward only, but for money that came after all.

    A purchase that expired, failed or was cancelled here becomes PAID if Stripe has the money.
    """
    if before is after:
        return False
    if before in FINAL_STATES:
        return before is not PurchaseState.CREDITED and after is PurchaseState.PAID
    if after in FINAL_STATES and after is not PurchaseState.CREDITED:
        return before is not PurchaseState.PAID
    return _ORDER.index(after) > _ORDER.index(before)
