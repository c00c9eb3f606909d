"""Checkout sessions: made by the API, paid or left by a person on the page of the session."""

from typing import Any

from deploy.billing_demo.stripe.cards import BY_NUMBER
from deploy.billing_demo.stripe.catalog import new_price
from deploy.billing_demo.stripe.checkout_settings import session_settings
from deploy.billing_demo.stripe.currencies import check_amount, check_currency
from deploy.billing_demo.stripe.customer_records import live_customer, new_customer
from deploy.billing_demo.stripe.invoices import mark_paid, new_invoice, pay_invoice
from deploy.billing_demo.stripe.listing import list_page, whole_list
from deploy.billing_demo.stripe.payment_intents import new_intent, pay
from deploy.billing_demo.stripe.payment_methods import attach_to, mark_authenticated, new_method
from deploy.billing_demo.stripe.problem import (
    JsonObject,
    StripeApiError,
    invalid_parameter,
    missing_parameter,
    unexpected_state,
)
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.shapes import empty_address
from deploy.billing_demo.stripe.state import StripeState, merged_metadata
from deploy.billing_demo.stripe.subscriptions import make_invoice, new_subscription

_ORDERS = "_checkout_orders"
"""The table of what each session sells and of what becomes of its payment."""
_LIFE_SECONDS = 86_400
_LEAST_LIFE_SECONDS = 30 * 60


def create(call: StripeCall) -> JsonObject:
    """Create a session; a person pays it at its URL."""
    state, params = call.state, call.params
    mode = params.get("mode")
    if mode is None:
        raise missing_parameter("mode")
    _check(params, mode)
    rows = [_line(state, given, index) for index, given in enumerate(params.get("line_items") or [])]
    currency = _currency_of(rows, params)
    total = sum(row["amount_total"] for row in rows)
    if mode == "payment" and not any(row["price"]["custom_unit_amount"] for row in rows):
        check_amount(total, str(currency), "line_items[0][price_data][unit_amount]")
    session = state.add(
        "checkout.session",
        **session_settings(params, mode),
        amount_subtotal=total if rows else None,
        amount_total=total if rows else None,
        currency=currency,
        customer=live_customer(state, params["customer"])["id"] if params.get("customer") else None,
        expires_at=_expiry(state, params),
        metadata=merged_metadata({}, params.get("metadata")),
    )
    session["url"] = f"{state.base_url}/c/pay/{session['id']}"
    names = ("payment_intent_data", "subscription_data", "invoice_creation", "setup_intent_data")
    state.table(_ORDERS)[session["id"]] = {
        "id": session["id"],
        "rows": rows,
        **{name: params.get(name) or {} for name in names},
    }
    return session


def _check(params: JsonObject, mode: str) -> None:
    ui_mode = params.get("ui_mode", "hosted_page")
    if ui_mode != "hosted_page":
        raise invalid_parameter("ui_mode", "This double of Stripe serves hosted pages only: send ui_mode=hosted_page")
    if "success_url" not in params:
        raise missing_parameter("success_url")
    for name in ("success_url", "cancel_url"):
        if name in params and not params[name].startswith(("https://", "http://")):
            raise invalid_parameter(name, "Not a valid URL", "url_invalid")
    if mode != "setup" and not params.get("line_items"):
        raise missing_parameter("line_items")
    if params.get("customer") and params.get("customer_email"):
        raise StripeApiError("You may only specify one of these parameters: customer, customer_email.")
    for name, only in (
        ("payment_intent_data", "payment"),
        ("subscription_data", "subscription"),
        ("customer_creation", "payment"),
    ):
        if params.get(name) and mode != only and not (name == "customer_creation" and mode == "setup"):
            raise invalid_parameter(name, f"You can not pass `{name}` in `{mode}` mode.")
    if mode == "setup" and params.get("line_items"):
        raise invalid_parameter("line_items", "You can not pass `line_items` in `setup` mode.")


def _expiry(state: StripeState, params: JsonObject) -> int:
    at = int(params.get("expires_at", state.now + _LIFE_SECONDS))
    if not _LEAST_LIFE_SECONDS - 60 <= at - state.now <= _LIFE_SECONDS + 60:
        raise invalid_parameter(
            "expires_at",
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
        )
    return at


def _line(state: StripeState, given: JsonObject, index: int) -> JsonObject:
    param = f"line_items[{index}]"
    if "price" in given:
        price = state.get("price", given["price"], f"{param}[price]")
        if not price["active"]:
            raise invalid_parameter(
                f"{param}[price]", "The price specified is inactive. This field only accepts active prices."
            )
    elif "price_data" in given:
        price = new_price(state, {**given["price_data"], "active": False}, param=f"{param}[price_data]")
    else:
        raise missing_parameter(f"{param}[price]")
    quantity = given.get("quantity")
    if quantity is None:
        raise invalid_parameter(f"{param}[quantity]", "Quantity is required. Add `quantity` to `line_items[0]`")
    custom = price["custom_unit_amount"]
    amount = (price["unit_amount"] if custom is None else custom["preset"] or custom["minimum"] or 0) * quantity
    return state.add(
        "item",
        amount_discount=0,
        amount_subtotal=amount,
        amount_tax=0,
        amount_total=amount,
        currency=price["currency"],
        description=state.get("product", price["product"])["name"],
        price=price,
        quantity=quantity,
    )


def _currency_of(rows: list[JsonObject], params: JsonObject) -> str | None:
    found = {row["currency"] for row in rows}
    if len(found) > 1:
        raise StripeApiError("All prices on a checkout session must use the same currency.", param="line_items")
    return found.pop() if found else (check_currency(params["currency"]) if "currency" in params else None)


def refresh(state: StripeState, session: JsonObject) -> JsonObject:
    """Let a session expire whose time is over; return it."""
    if session["status"] == "open" and session["expires_at"] <= state.now:
        _expire(state, session)
    return session


def _expire(state: StripeState, session: JsonObject) -> None:
    state.change(session, status="expired", url=None)
    state.emit("checkout.session.expired", session)


def pay_session(
    state: StripeState,
    session: JsonObject,
    *,
    number: str,
    email: str,
    authenticated: bool = False,
    amount: int | None = None,
) -> JsonObject:
    """Pay an open session by a card, as a person does on its page; return the session.

    Raises StripeApiError if the session is not open or the bank declines; the person may then take another card.
    """
    if refresh(state, session)["status"] != "open":
        raise unexpected_state("checkout_session_not_open", f"This session is {session['status']}: it cannot be paid.")
    if number not in BY_NUMBER:
        raise StripeApiError(
            "Your card number is incorrect.", status=402, error_type="card_error", code="incorrect_number"
        )
    order = state.table(_ORDERS)[session["id"]]
    if amount is not None:
        _choose_amount(session, order, amount)
    method = new_method(state, BY_NUMBER[number])
    method["billing_details"]["email"] = email
    customer_id = _customer_of(state, session, order, email)
    {"payment": _pay_once, "subscription": _subscribe, "setup": _set_up}[session["mode"]](
        state, session, order, method, customer_id, authenticated
    )
    return session


def _choose_amount(session: JsonObject, order: JsonObject, amount: int) -> None:
    row = next((row for row in order["rows"] if row["price"]["custom_unit_amount"]), None)
    if row is None:
        raise StripeApiError("The amount of this session is fixed.")
    bounds = row["price"]["custom_unit_amount"]
    if amount < (bounds["minimum"] or 0) or (bounds["maximum"] is not None and amount > bounds["maximum"]):
        raise StripeApiError("The amount is not within the bounds of the price.")
    row |= {"amount_subtotal": amount, "amount_total": amount}
    total = sum(row["amount_total"] for row in order["rows"])
    session |= {"amount_subtotal": total, "amount_total": total}


def _customer_of(state: StripeState, session: JsonObject, order: JsonObject, email: str) -> str | None:
    """Return the customer that pays; the first attempt creates one where the session needs it."""
    needed = (
        session["mode"] == "subscription"
        or session["customer_creation"] == "always"
        or order["payment_intent_data"].get("setup_future_usage")
    )
    if session["customer"] is None and needed:
        return order.setdefault("customer", None) or _keep_customer(state, order, email)
    return session["customer"]  # type: ignore[no-any-return]


def _keep_customer(state: StripeState, order: JsonObject, email: str) -> str:
    order["customer"] = new_customer(state, email=email)["id"]
    return str(order["customer"])


def _intent_of(state: StripeState, session: JsonObject, order: JsonObject, customer_id: str | None) -> JsonObject:
    """Return the payment intent of a session, which its first attempt creates."""
    if "intent" not in order:
        data: dict[str, Any] = dict(order["payment_intent_data"])
        data["metadata"] = merged_metadata({}, data.get("metadata"))
        known = ("capture_method", "description", "metadata", "receipt_email", "setup_future_usage", "transfer_group")
        intent = new_intent(
            state,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=customer_id,
            **{name: data[name] for name in known if name in data},
        )
        order["intent"] = intent["id"]
    return state.get("payment_intent", order["intent"])


def _pay_once(
    state: StripeState,
    session: JsonObject,
    order: JsonObject,
    method: JsonObject,
    customer_id: str | None,
    authenticated: bool,
) -> None:
    intent = _intent_of(state, session, order, customer_id)
    intent["amount"] = session["amount_total"]
    pay(state, intent, method, off_session=False, authenticated=authenticated)
    if intent["status"] == "requires_action":
        order["waiting"] = True
        return
    _complete(state, session, method, customer=customer_id, payment_intent=intent["id"])
    if order["invoice_creation"].get("enabled") and customer_id:
        period = {"end": state.now, "start": state.now}
        rows = [
            {"amount": row["amount_total"], "period": period, "price": row["price"], "quantity": row["quantity"]}
            for row in order["rows"]
        ]
        invoice = new_invoice(state, customer_id, rows, reason="manual")
        mark_paid(state, invoice, None)
        session["invoice"] = invoice["id"]


def _subscribe(
    state: StripeState,
    session: JsonObject,
    order: JsonObject,
    method: JsonObject,
    customer_id: str | None,
    authenticated: bool,
) -> None:
    assert customer_id is not None, "a subscription has a customer"
    if "subscription" not in order:
        data = order["subscription_data"]
        prices = [(row["price"], row["quantity"]) for row in order["rows"]]
        metadata = merged_metadata({}, data.get("metadata"))
        made = new_subscription(state, customer_id, prices, metadata=metadata, description=data.get("description"))
        order |= {"subscription": made["id"], "invoice": make_invoice(state, made, "subscription_create")["id"]}
    subscription = state.get("subscription", order["subscription"])
    invoice = state.get("invoice", order["invoice"])
    intent = pay_invoice(state, invoice, method, off_session=False, authenticated=authenticated)
    if intent["status"] == "requires_action":
        order["waiting"] = True
        return
    state.change(subscription, status="active", default_payment_method=method["id"])
    state.emit("customer.subscription.created", subscription)
    _complete(state, session, method, customer=customer_id, subscription=subscription["id"], invoice=invoice["id"])


def _set_up(
    state: StripeState,
    session: JsonObject,
    order: JsonObject,
    method: JsonObject,
    customer_id: str | None,
    authenticated: bool,
) -> None:
    customer_id = customer_id or session["customer"]
    if customer_id:
        attach_to(state, method, customer_id)
    if authenticated:
        mark_authenticated(state, method)
    intent = state.add(
        "setup_intent",
        customer=customer_id,
        metadata=merged_metadata({}, order["setup_intent_data"].get("metadata")),
        payment_method=method["id"],
        payment_method_options={},
        payment_method_types=["card"],
        status="succeeded",
        usage="off_session",
    )
    state.emit("setup_intent.succeeded", intent)
    _complete(state, session, method, customer=customer_id, setup_intent=intent["id"])


def _complete(state: StripeState, session: JsonObject, method: JsonObject, **values: Any) -> None:
    paid = "no_payment_required" if session["mode"] == "setup" else "paid"
    details = method["billing_details"]
    state.change(
        session,
        **values,
        customer_details={
            "address": empty_address(),
            "business_name": None,
            "email": details["email"],
            "individual_name": None,
            "name": details["name"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        payment_status=paid,
        status="complete",
        url=None,
    )
    state.emit("checkout.session.completed", session)


def is_waiting(state: StripeState, session: JsonObject) -> bool:
    """Return whether the bank waits for the person to authenticate."""
    return bool(state.table(_ORDERS)[session["id"]].get("waiting"))


def lines_of(state: StripeState, session: JsonObject) -> JsonObject:
    """Return the list of what a session sells, which is part of the session on request."""
    rows = state.table(_ORDERS)[session["id"]]["rows"]
    return whole_list(rows, f"/v1/checkout/sessions/{session['id']}/line_items")


def retrieve(call: StripeCall) -> JsonObject:
    """Return a session."""
    return refresh(call.state, call.state.get("checkout.session", call.ids[0], "session"))


def expire(call: StripeCall) -> JsonObject:
    """Let an open session expire now."""
    session = retrieve(call)
    if session["status"] != "open":
        raise StripeApiError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of'
            f" {session['status']}."
        )
    _expire(call.state, session)
    return session


def update(call: StripeCall) -> JsonObject:
    """Change the metadata of a session."""
    session = retrieve(call)
    session["metadata"] = merged_metadata(session["metadata"], call.params.get("metadata"))
    return session


def list_all(call: StripeCall) -> JsonObject:
    """List sessions: all, or those of a customer, a payment intent, a subscription or a status."""
    for session in call.state.where("checkout.session", status="open"):
        refresh(call.state, session)
    found = call.state.where("checkout.session", **call.pick("customer", "payment_intent", "subscription", "status"))
    return list_page(found, call.params, "/v1/checkout/sessions")


def list_lines(call: StripeCall) -> JsonObject:
    """List what a session sells."""
    return lines_of(call.state, retrieve(call))


ROUTES = (
    StripeRoute("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams", create),
    StripeRoute("GET", "/v1/checkout/sessions", "checkout.SessionListParams", list_all),
    StripeRoute("GET", "/v1/checkout/sessions/{}", "checkout.SessionRetrieveParams", retrieve),
    StripeRoute("POST", "/v1/checkout/sessions/{}", "checkout.SessionUpdateParams", update),
    StripeRoute("POST", "/v1/checkout/sessions/{}/expire", "checkout.SessionExpireParams", expire),
    StripeRoute("GET", "/v1/checkout/sessions/{}/line_items", "checkout.SessionLineItemListParams", list_lines),
)
