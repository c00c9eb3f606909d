"""Refunds of charges, whole or in part."""

from deploy.billing_demo.stripe.charges import add_balance
from deploy.billing_demo.stripe.currencies import format_amount
from deploy.billing_demo.stripe.listing import list_page
from deploy.billing_demo.stripe.payment_methods import card_of
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata


def refund_charge(
    state: StripeState, charge: JsonObject, amount: int | None, *, reason: str | None, metadata: JsonObject
) -> JsonObject:
    """Refund a charge, with its events; return the refund. Raises StripeApiError if it cannot be refunded."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    _check(charge, amount, left)
    taken = left if amount is None else amount
    refund = state.add(
        "refund",
        amount=taken,
        charge=charge["id"],
        currency=charge["currency"],
        customer=charge["customer"],
        destination_details={
            "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
            "type": "card",
        },
        metadata=metadata,
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        reason=reason,
        status="succeeded",
    )
    _book(state, refund, -taken, "refund", "balance_transaction")
    total = charge["amount_refunded"] + taken
    previous = state.change(charge, amount_refunded=total, refunded=total == charge["amount_captured"])
    state.emit("refund.created", refund)
    state.emit("charge.refunded", charge, previous)
    if card_of(state, state.get("payment_method", charge["payment_method"])).refund_fails:
        fail_refund(state, refund)
    return refund


def _check(charge: JsonObject, amount: int | None, left: int) -> None:
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeApiError(
            f"This charge cannot be refunded: {charge['id']} was not paid.", code="charge_not_refundable"
        )
    if charge["disputed"]:
        raise StripeApiError(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    if not left:
        raise StripeApiError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount is not None and amount < 1:
        raise invalid_parameter("amount", "Invalid positive integer", "parameter_invalid_integer")
    if amount is not None and amount > left:
        raise invalid_parameter(
            "amount",
            f"Refund amount ({format_amount(amount, charge['currency'])}) is greater than unrefunded amount on charge"
            f" ({format_amount(left, charge['currency'])})",
        )


def _book(state: StripeState, refund: JsonObject, amount: int, kind: str, field: str) -> None:
    transaction = add_balance(
        state,
        amount=amount,
        currency=refund["currency"],
        fee=0,
        kind="refund" if kind == "refund" else "refund_failure",
        category="refund" if kind == "refund" else "refund_failure",
        source=refund["id"],
    )
    refund[field] = transaction["id"]


def fail_refund(state: StripeState, refund: JsonObject, reason: str = "expired_or_canceled_card") -> None:
    """Let the bank return a refund, as banks do days later: the money is the account's again."""
    _book(state, refund, refund["amount"], "failure", "failure_balance_transaction")
    previous = state.change(refund, status="failed", failure_reason=reason)
    charge = state.get("charge", refund["charge"])
    state.change(charge, amount_refunded=charge["amount_refunded"] - refund["amount"], refunded=False)
    state.emit("refund.failed", refund, previous)
    state.emit("charge.refund.updated", refund, previous)


def create(call: StripeCall) -> JsonObject:
    """Refund a charge or the charge of a payment intent."""
    params = call.params
    if "charge" in params:
        charge = call.state.get("charge", params["charge"], "charge")
    elif "payment_intent" in params:
        intent = call.state.get("payment_intent", params["payment_intent"], "payment_intent")
        if intent["latest_charge"] is None or intent["status"] not in ("succeeded", "requires_capture"):
            raise StripeApiError(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = call.state.get("charge", intent["latest_charge"])
    else:
        raise StripeApiError(
            "One of the following params should be provided for this request: payment_intent or charge."
        )
    metadata = merged_metadata({}, params.get("metadata"))
    return refund_charge(call.state, charge, params.get("amount"), reason=params.get("reason"), metadata=metadata)


def update(call: StripeCall) -> JsonObject:
    """Change the metadata of a refund."""
    refund = call.state.get("refund", call.ids[0])
    previous = call.state.change(refund, metadata=merged_metadata(refund["metadata"], call.params.get("metadata")))
    call.state.emit("refund.updated", refund, previous)
    return refund


def list_all(call: StripeCall) -> JsonObject:
    """List refunds: all, or those of a charge or of a payment intent."""
    return list_page(call.state.where("refund", **call.pick("charge", "payment_intent")), call.params, "/v1/refunds")


ROUTES = (
    StripeRoute("POST", "/v1/refunds", "RefundCreateParams", create),
    StripeRoute("GET", "/v1/refunds", "RefundListParams", list_all),
    StripeRoute("GET", "/v1/refunds/{}", "RefundRetrieveParams", lambda call: call.state.get("refund", call.ids[0])),
    StripeRoute("POST", "/v1/refunds/{}", "RefundUpdateParams", update),
)
