"""Disputes: opened by a customer's bank, answered with evidence, won or lost."""

from deploy.billing_demo.stripe.charges import DISPUTE_FEE, add_balance
from deploy.billing_demo.stripe.listing import list_page
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata

WINNING, LOSING = "winning_evidence", "losing_evidence"
"""The text of evidence with which Stripe's test mode decides a dispute."""
_CLOSED = ("won", "lost", "warning_closed")
_DUE_SECONDS = 10 * 86_400
_EVIDENCE = (
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal"
    " customer_communication customer_email_address customer_name customer_purchase_ip customer_signature"
    " duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description receipt"
    " refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation shipping_address"
    " shipping_carrier shipping_date shipping_documentation shipping_tracking_number uncategorized_file uncategorized_text"
)


def open_dispute(state: StripeState, charge: JsonObject, reason: str, amount: int | None = None) -> JsonObject:
    """Open a dispute of a paid charge: the money and a fee leave the balance; return it. Raises StripeApiError."""
    if charge["disputed"] or not charge["paid"]:
        raise StripeApiError(f"Charge {charge['id']} cannot be disputed: it is not paid, or is disputed already.")
    taken = amount or charge["amount"] - charge["amount_refunded"]
    dispute = state.add(
        "dispute",
        amount=taken,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={**dict.fromkeys(_EVIDENCE.split()), "enhanced_evidence": {}},
        evidence_details={
            "due_by": state.now + _DUE_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=False,
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "type": "card",
            "card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4", "network": "visa"},
        },
        reason=reason,
        status="needs_response",
    )
    charge["disputed"] = True
    _book(state, dispute, -taken, DISPUTE_FEE, "dispute")
    state.emit("charge.dispute.created", dispute)
    state.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def _book(state: StripeState, dispute: JsonObject, amount: int, fee: int, category: str) -> None:
    transaction = add_balance(
        state,
        amount=amount,
        currency=dispute["currency"],
        fee=fee,
        kind="adjustment",
        category=category,
        source=dispute["id"],
        description=f"Chargeback {'withdrawal' if amount < 0 else 'reversal'} for {dispute['charge']}",
    )
    dispute["balance_transactions"] = [*dispute["balance_transactions"], transaction]


def close_dispute(state: StripeState, dispute: JsonObject, *, won: bool) -> None:
    """End a dispute, with its events: won, the money comes back. Raises StripeApiError if it has ended."""
    if dispute["status"] in _CLOSED:
        raise StripeApiError("This dispute is already closed", code="dispute_already_closed")
    previous = state.change(dispute, status="won" if won else "lost")
    if won:
        _book(state, dispute, dispute["amount"], 0, "dispute_reversal")
    state.emit("charge.dispute.closed", dispute, previous)
    if won:
        state.emit("charge.dispute.funds_reinstated", dispute)


def update(call: StripeCall) -> JsonObject:
    """Add evidence; the texts that Stripe documents for its test mode decide the dispute."""
    dispute = call.state.get("dispute", call.ids[0], "dispute")
    if dispute["status"] in _CLOSED:
        raise StripeApiError("This dispute is already closed", code="dispute_already_closed")
    given = call.params.get("evidence")
    evidence = dispute["evidence"] | (given if isinstance(given, dict) else {})
    details = dispute["evidence_details"] | {"has_evidence": any(evidence[name] for name in _EVIDENCE.split())}
    submitted = bool(given) and call.params.get("submit", True)
    if submitted:
        details |= {"submission_count": details["submission_count"] + 1, "submission_method": "manual"}
    previous = call.state.change(
        dispute,
        evidence=evidence,
        evidence_details=details,
        metadata=merged_metadata(dispute["metadata"], call.params.get("metadata")),
        status="under_review" if submitted else dispute["status"],
    )
    call.state.emit("charge.dispute.updated", dispute, previous)
    text = evidence["uncategorized_text"]
    if submitted and text in (WINNING, LOSING):
        close_dispute(call.state, dispute, won=text == WINNING)
    return dispute


def close(call: StripeCall) -> JsonObject:
    """Give a dispute up: it is lost."""
    dispute = call.state.get("dispute", call.ids[0], "dispute")
    close_dispute(call.state, dispute, won=False)
    return dispute


def list_all(call: StripeCall) -> JsonObject:
    """List disputes: all, or those of a charge or of a payment intent."""
    if call.params.get("limit", 1) < 1:
        raise invalid_parameter("limit", "Invalid limit", "parameter_invalid_integer")
    return list_page(call.state.where("dispute", **call.pick("charge", "payment_intent")), call.params, "/v1/disputes")


ROUTES = (
    StripeRoute("GET", "/v1/disputes", "DisputeListParams", list_all),
    StripeRoute(
        "GET",
        "/v1/disputes/{}",
        "DisputeRetrieveParams",
        lambda call: call.state.get("dispute", call.ids[0], "dispute"),
    ),
    StripeRoute("POST", "/v1/disputes/{}", "DisputeUpdateParams", update),
    StripeRoute("POST", "/v1/disputes/{}/close", "DisputeCloseParams", close),
)
