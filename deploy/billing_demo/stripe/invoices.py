"""Invoices of subscriptions and of single payments: made, paid and listed."""

from typing import Any

from deploy.billing_demo.stripe.customer_records import live_customer
from deploy.billing_demo.stripe.listing import list_page, search_page, whole_list
from deploy.billing_demo.stripe.payment_intents import new_intent, pay
from deploy.billing_demo.stripe.payment_methods import resolve
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState

NO_TAX = {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None}


def new_invoice(
    state: StripeState, customer_id: str, rows: list[JsonObject], *, reason: str, subscription: JsonObject | None = None
) -> JsonObject:
    """Store a finalized invoice with its lines and events; return it. `rows` have price, quantity, amount and period."""
    customer = live_customer(state, customer_id)
    total, currency = sum(row["amount"] for row in rows), rows[0]["price"]["currency"]
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer["next_invoice_sequence"] += 1
    period = rows[0]["period"]
    invoice = state.add(
        "invoice",
        **_plain_settings(),
        **dict.fromkeys(("amount_due", "amount_remaining", "subtotal", "subtotal_excluding_tax"), total),
        **dict.fromkeys(("total", "total_excluding_tax"), total),
        auto_advance=subscription is not None,
        billing_reason=reason,
        currency=currency,
        customer=customer_id,
        customer_email=customer["email"],
        customer_name=customer["name"],
        effective_at=state.now,
        number=number,
        parent=_parent(subscription),
        period_end=period["end"],
        period_start=period["start"],
        status="open",
        status_transitions={
            "finalized_at": state.now,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
    )
    _finish(state, invoice, rows, subscription)
    return invoice


def _plain_settings() -> JsonObject:
    """Return the fields that are the same for each invoice here: no tax, no discount, no credit note."""
    return {
        **dict.fromkeys(("amount_overpaid", "amount_paid", "amount_shipping", "attempt_count", "starting_balance"), 0),
        **dict.fromkeys(("post_payment_credit_notes_amount", "pre_payment_credit_notes_amount"), 0),
        "account_country": "US",
        "attempted": False,
        "automatic_tax": NO_TAX,
        "collection_method": "charge_automatically",
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "metadata": {},
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


def _finish(state: StripeState, invoice: JsonObject, rows: list[JsonObject], subscription: JsonObject | None) -> None:
    lines = [_line(state, invoice, row, subscription) for row in rows]
    invoice["lines"] = whole_list(lines, f"/v1/invoices/{invoice['id']}/lines")
    invoice["hosted_invoice_url"] = f"{state.base_url}/invoices/{invoice['id']}"
    invoice["invoice_pdf"] = f"{state.base_url}/invoices/{invoice['id']}/pdf"
    state.emit("invoice.created", invoice)
    state.emit("invoice.finalized", invoice)


def _parent(subscription: JsonObject | None) -> JsonObject | None:
    if subscription is None:
        return None
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def _line(state: StripeState, invoice: JsonObject, row: JsonObject, subscription: JsonObject | None) -> JsonObject:
    price = row["price"]
    product = state.get("product", price["product"])
    line = state.add(
        "line_item",
        amount=row["amount"],
        currency=price["currency"],
        description=f"{row['quantity']} × {product['name']}",
        discount_amounts=[],
        discountable=True,
        discounts=[],
        invoice=invoice["id"],
        metadata=dict(subscription["metadata"]) if subscription else {},
        period=row["period"],
        pretax_credit_amounts=[],
        pricing={
            "price_details": {"price": price["id"], "product": product["id"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=row["quantity"],
        subtotal=row["amount"],
        taxes=[],
    )
    if subscription is not None:
        details: dict[str, Any] = {
            "invoice_item": None,
            "proration": False,
            "proration_details": {"credited_items": None},
        }
        details |= {"subscription": subscription["id"], "subscription_item": row["item"]}
        line |= {"subscription": subscription["id"]}
        line["parent"] = {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        }
    return line


def pay_invoice(
    state: StripeState, invoice: JsonObject, method: JsonObject, *, off_session: bool, authenticated: bool = False
) -> JsonObject:
    """Pay an open invoice with a card; return its payment intent. Raises StripeApiError if the bank declines."""
    payment = next(state.where("invoice_payment", invoice=invoice["id"], status="open"), None)
    if payment is None:
        intent = new_intent(
            state,
            amount=invoice["amount_due"],
            currency=invoice["currency"],
            customer=invoice["customer"],
            description="Payment for Invoice",
            setup_future_usage="off_session",
        )
        payment = state.add(
            "invoice_payment",
            amount_requested=invoice["amount_due"],
            currency=invoice["currency"],
            invoice=invoice["id"],
            is_default=True,
            payment={"payment_intent": intent["id"], "type": "payment_intent"},
            status="open",
            status_transitions={"canceled_at": None, "paid_at": None},
        )
    intent = state.get("payment_intent", payment["payment"]["payment_intent"])
    state.change(invoice, attempted=True, attempt_count=invoice["attempt_count"] + 1)
    try:
        pay(state, intent, method, off_session=off_session, authenticated=authenticated)
    except StripeApiError:
        state.emit("invoice.payment_failed", invoice)
        raise
    if intent["status"] == "succeeded":
        mark_paid(state, invoice, payment)
    else:
        state.emit("invoice.payment_action_required", invoice)
    return intent


def mark_paid(state: StripeState, invoice: JsonObject, payment: JsonObject | None) -> None:
    """Settle an invoice, with its events."""
    if payment is not None:
        payment |= {"amount_paid": invoice["amount_due"], "status": "paid"}
        payment["status_transitions"] = {"canceled_at": None, "paid_at": state.now}
    transitions = {**invoice["status_transitions"], "paid_at": state.now}
    state.change(
        invoice,
        amount_paid=invoice["total"],
        amount_remaining=0,
        status="paid",
        status_transitions=transitions,
        attempted=True,
    )
    state.emit("invoice.paid", invoice)
    state.emit("invoice.payment_succeeded", invoice)


def payments_of(state: StripeState, invoice: JsonObject) -> JsonObject:
    """Return the list of an invoice's payments, which is part of the invoice on request."""
    return whole_list(list(state.where("invoice_payment", invoice=invoice["id"])), "/v1/invoice_payments")


def default_method(state: StripeState, invoice: JsonObject) -> JsonObject:
    """Return the card that pays an invoice: the subscription's or the customer's. Raises StripeApiError."""
    subscription = subscription_of(state, invoice)
    customer = live_customer(state, invoice["customer"])
    found = subscription["default_payment_method"] if subscription else None
    found = found or customer["invoice_settings"]["default_payment_method"]
    if found is None:
        raise StripeApiError(
            "This customer has no attached payment source or default payment method. Please consider adding a default payment"
            " method.",
            code="resource_missing",
        )
    return state.get("payment_method", found)


def subscription_of(state: StripeState, invoice: JsonObject) -> JsonObject | None:
    """Return the subscription that an invoice is for."""
    parent = invoice["parent"] or {}
    details = parent.get("subscription_details")
    return state.get("subscription", details["subscription"]) if details else None


def after_payment(state: StripeState, invoice: JsonObject) -> None:
    """Let a subscription be active whose invoice is paid."""
    subscription = subscription_of(state, invoice)
    if invoice["status"] == "paid" and subscription and subscription["status"] in ("incomplete", "past_due", "unpaid"):
        previous = state.change(subscription, status="active")
        state.emit("customer.subscription.updated", subscription, previous)


def pay_now(call: StripeCall) -> JsonObject:
    """Pay an open invoice by the card of the request, of its subscription or of its customer."""
    invoice = call.state.get("invoice", call.ids[0], "invoice")
    if invoice["status"] != "open":
        raise StripeApiError(
            "Invoice is already paid" if invoice["status"] == "paid" else "This invoice cannot be paid."
        )
    given = call.params.get("payment_method")
    method = resolve(call.state, given) if given else default_method(call.state, invoice)
    pay_invoice(call.state, invoice, method, off_session=bool(call.params.get("off_session", True)))
    after_payment(call.state, invoice)
    return invoice


def void(call: StripeCall) -> JsonObject:
    """Void an open invoice."""
    invoice = call.state.get("invoice", call.ids[0], "invoice")
    if invoice["status"] != "open":
        raise StripeApiError(f"You can only pass in open invoices. This invoice is {invoice['status']}.")
    call.state.change(invoice, status="void", amount_remaining=0)
    call.state.emit("invoice.voided", invoice)
    return invoice


def list_all(call: StripeCall) -> JsonObject:
    """List invoices: all, or those of a customer, a subscription or a status."""
    found = list(call.state.where("invoice", **call.pick("customer", "status", "collection_method")))
    if wanted := call.params.get("subscription"):
        found = [
            row
            for row in found
            if ((row["parent"] or {}).get("subscription_details") or {}).get("subscription") == wanted
        ]
    return list_page(found, call.params, "/v1/invoices")


def list_payments(call: StripeCall) -> JsonObject:
    """List payments of invoices: all, or those of an invoice or of a payment intent."""
    found = list(call.state.where("invoice_payment", **call.pick("invoice", "status")))
    if payment := call.params.get("payment"):
        found = [row for row in found if row["payment"].get("payment_intent") == payment.get("payment_intent")]
    return list_page(found, call.params, "/v1/invoice_payments")


def search(call: StripeCall) -> JsonObject:
    """Search invoices."""
    return search_page(call.state.table("invoice").values(), call.params, "/v1/invoices/search")


ROUTES = (
    StripeRoute("GET", "/v1/invoices", "InvoiceListParams", list_all),
    StripeRoute("GET", "/v1/invoices/search", "InvoiceSearchParams", search),
    StripeRoute(
        "GET",
        "/v1/invoices/{}",
        "InvoiceRetrieveParams",
        lambda call: call.state.get("invoice", call.ids[0], "invoice"),
    ),
    StripeRoute("POST", "/v1/invoices/{}/pay", "InvoicePayParams", pay_now),
    StripeRoute("POST", "/v1/invoices/{}/void", "InvoiceVoidInvoiceParams", void),
    StripeRoute("GET", "/v1/invoice_payments", "InvoicePaymentListParams", list_payments),
    StripeRoute(
        "GET",
        "/v1/invoice_payments/{}",
        "InvoicePaymentRetrieveParams",
        lambda call: call.state.get("invoice_payment", call.ids[0]),
    ),
)
