"""Charges, what they do to the account's balance, and the errors of a bank that declines."""

from typing import Any

from deploy.billing_demo.stripe.cards import ERROR_CODES, MESSAGES, DemoCard
from deploy.billing_demo.stripe.listing import list_page, search_page, whole_list
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata

DISPUTE_FEE = 1500
_AVAILABLE_AFTER_SECONDS = 2 * 86_400


def processing_fee(amount: int) -> int:
    """Return Stripe's fee for a charge in minor units: 2.9 percent, rounded half up, and 30."""
    return (amount * 29 + 500) // 1000 + 30


def add_balance(
    state: StripeState,
    *,
    amount: int,
    currency: str,
    fee: int,
    kind: str,
    category: str,
    source: str,
    description: str = "",
) -> JsonObject:
    """Store what a charge, refund or dispute does to the balance of the account."""
    details = [{"amount": fee, "application": None, "currency": currency, "type": "stripe_fee"}] if fee else []
    for detail in details:
        detail["description"] = "Stripe processing fees"
    return state.add(
        "balance_transaction",
        amount=amount,
        available_on=state.now + _AVAILABLE_AFTER_SECONDS,
        balance_type="payments",
        currency=currency,
        description=description or None,
        fee=fee,
        fee_details=details,
        net=amount - fee,
        reporting_category=category,
        source=source,
        status="pending",
        type=kind,
    )


def _outcome(decline_code: str) -> JsonObject:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network" if decline_code else "approved_by_network",
        "reason": decline_code or None,
        "risk_level": "normal",
        "seller_message": "The bank did not approve it." if decline_code else "Payment complete.",
        "type": "issuer_declined" if decline_code else "authorized",
    }


def _card_details(method: JsonObject) -> JsonObject:
    card = method["card"]
    names = (
        "brand",
        "checks",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "regulated_status",
    )
    empty = ("installments", "mandate", "network_token", "three_d_secure", "wallet", "authorization_code")
    return {
        "type": "card",
        "card": {
            **{name: card[name] for name in names},
            **dict.fromkeys(empty),
            "amount_authorized": None,
            "network": card["brand"],
            "network_transaction_id": None,
        },
    }


def new_charge(
    state: StripeState, intent: JsonObject, method: JsonObject, decline_code: str, *, captured: bool
) -> JsonObject:
    """Store the charge of a payment intent, paid or declined, with its event; return it."""
    paid, amount = not decline_code, intent["amount"]
    charge = state.add(
        "charge",
        amount=amount,
        amount_captured=amount if paid and captured else 0,
        amount_refunded=0,
        billing_details=method["billing_details"],
        captured=paid and captured,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_code=ERROR_CODES.get(decline_code, "card_declined") if decline_code else None,
        failure_message=MESSAGES[decline_code] if decline_code else None,
        fraud_details={},
        metadata=dict(intent["metadata"]),
        outcome=_outcome(decline_code),
        paid=paid,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_card_details(method),
        receipt_email=intent["receipt_email"],
        refunded=False,
        status="succeeded" if paid else "failed",
    )
    if paid:
        charge["receipt_url"] = f"{state.base_url}/receipts/{charge['id']}"
    if charge["captured"]:
        settle(state, charge)
    state.emit("charge.succeeded" if paid else "charge.failed", charge)
    return charge


def settle(state: StripeState, charge: JsonObject) -> None:
    """Add a captured charge to the balance."""
    transaction = add_balance(
        state,
        amount=charge["amount_captured"],
        currency=charge["currency"],
        fee=processing_fee(charge["amount_captured"]),
        kind="charge",
        category="charge",
        source=charge["id"],
        description=charge["description"] or "",
    )
    charge["balance_transaction"] = transaction["id"]


def card_problem(decline_code: str, code: str = "card_declined", **more: Any) -> StripeApiError:
    """Return the error for a payment that the bank declines."""
    return StripeApiError(
        MESSAGES[decline_code], status=402, error_type="card_error", code=code, decline_code=decline_code, **more
    )


def decline_of(card: DemoCard, *, off_session: bool, authenticated: bool) -> str:
    """Return why the bank declines a payment, or nothing if it pays or asks for authentication first."""
    if card.decline_code:
        return card.decline_code
    if off_session and card.later_decline_code:
        return card.later_decline_code
    if off_session and (card.authentication == "always" or (card.authentication == "once" and not authenticated)):
        return "authentication_required"
    return ""


def refunds_of(state: StripeState, charge: JsonObject) -> JsonObject:
    """Return the list of a charge's refunds, which is part of the charge on request."""
    found = list(reversed(list(state.where("refund", charge=charge["id"]))))
    return whole_list(found, f"/v1/charges/{charge['id']}/refunds")


def update(call: StripeCall) -> JsonObject:
    """Change what is written about a charge."""
    charge = call.state.get("charge", call.ids[0], "charge")
    values = call.pick("description", "receipt_email")
    values["metadata"] = merged_metadata(charge["metadata"], call.params.get("metadata"))
    previous = call.state.change(charge, **values)
    call.state.emit("charge.updated", charge, previous)
    return charge


def list_all(call: StripeCall) -> JsonObject:
    """List charges: all, or those of a customer or of a payment intent."""
    found = call.state.where("charge", **call.pick("customer", "payment_intent", "transfer_group"))
    return list_page(found, call.params, "/v1/charges")


def search(call: StripeCall) -> JsonObject:
    """Search charges."""
    return search_page(call.state.table("charge").values(), call.params, "/v1/charges/search")


def list_transactions(call: StripeCall) -> JsonObject:
    """List what changed the balance: all, or of a type, a currency or a source."""
    found = call.state.where("balance_transaction", **call.pick("type", "currency", "source"))
    return list_page(found, call.params, "/v1/balance_transactions")


def retrieve_balance(call: StripeCall) -> JsonObject:
    """Return the balance: what is available and what is pending, by currency."""
    sums: dict[str, dict[str, int]] = {"available": {}, "pending": {}}
    for row in call.state.table("balance_transaction").values():
        place = sums["available" if row["available_on"] <= call.state.now else "pending"]
        place[row["currency"]] = place.get(row["currency"], 0) + row["net"]
    shown = {
        name: [
            {"amount": amount, "currency": currency, "source_types": {"card": amount}}
            for currency, amount in found.items()
        ]
        or [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
        for name, found in sums.items()
    }
    return {"object": "balance", "livemode": call.state.livemode, **shown}


ROUTES = (
    StripeRoute("GET", "/v1/charges", "ChargeListParams", list_all),
    StripeRoute("GET", "/v1/charges/search", "ChargeSearchParams", search),
    StripeRoute(
        "GET", "/v1/charges/{}", "ChargeRetrieveParams", lambda call: call.state.get("charge", call.ids[0], "charge")
    ),
    StripeRoute("POST", "/v1/charges/{}", "ChargeUpdateParams", update),
    StripeRoute("GET", "/v1/balance", "BalanceRetrieveParams", retrieve_balance),
    StripeRoute("GET", "/v1/balance_transactions", "BalanceTransactionListParams", list_transactions),
    StripeRoute(
        "GET",
        "/v1/balance_transactions/{}",
        "BalanceTransactionRetrieveParams",
        lambda call: call.state.get("balance_transaction", call.ids[0]),
    ),
)
