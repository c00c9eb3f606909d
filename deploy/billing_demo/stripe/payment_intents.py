"""Payment intents: created, confirmed with or without the customer, captured and canceled."""

from deploy.billing_demo.stripe.cards import DemoCard
from deploy.billing_demo.stripe.charges import card_problem, decline_of, new_charge, settle
from deploy.billing_demo.stripe.currencies import check_amount, check_currency
from deploy.billing_demo.stripe.customer_records import live_customer
from deploy.billing_demo.stripe.disputes import open_dispute
from deploy.billing_demo.stripe.listing import list_page, search_page
from deploy.billing_demo.stripe.payment_methods import (
    attach_to,
    card_of,
    is_authenticated,
    mark_authenticated,
    resolve,
)
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter, unexpected_state
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata, random_text

_TEXTS = ("description", "receipt_email", "setup_future_usage", "statement_descriptor", "statement_descriptor_suffix")
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = (*_CONFIRMABLE, "requires_capture", "processing")


def new_intent(state: StripeState, *, amount: int, currency: str, **values: object) -> JsonObject:
    """Store a payment intent and its event; return it."""
    intent = state.add(
        "payment_intent",
        **{
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "capture_method": "automatic_async",
            "confirmation_method": "automatic",
            "currency": currency,
            "metadata": {},
            "payment_method_options": {
                "card": {
                    "installments": None,
                    "mandate_options": None,
                    "network": None,
                    "request_three_d_secure": "automatic",
                }
            },
            "payment_method_types": ["card"],
            "status": "requires_payment_method",
            **values,
        },
    )
    intent["client_secret"] = f"{intent['id']}_secret_{random_text()}"
    state.emit("payment_intent.created", intent)
    return intent


def pay(
    state: StripeState, intent: JsonObject, method: JsonObject, *, off_session: bool, authenticated: bool = False
) -> None:
    """Try to pay an intent with a card. Raises StripeApiError if the bank declines; the intent then waits for another card.

    `authenticated`: the customer has just confirmed this payment at their bank.
    """
    _check_owner(intent, method)
    card = card_of(state, method)
    decline = decline_of(card, off_session=off_session, authenticated=is_authenticated(state, method))
    if decline:
        _decline(state, intent, method, decline, card)
    if _needs_authentication(card, is_authenticated(state, method)) and not (off_session or authenticated):
        _ask_for_authentication(state, intent, method)
        return
    if authenticated and intent["setup_future_usage"]:
        mark_authenticated(state, method)
    _succeed(state, intent, method, card)


def _check_owner(intent: JsonObject, method: JsonObject) -> None:
    if method["customer"] and method["customer"] != intent["customer"]:
        raise StripeApiError(
            f"The customer does not have a payment method with the ID {method['id']}. The payment method must be attached to"
            " the customer.",
            param="payment_method",
        )


def _needs_authentication(card: DemoCard, authenticated: bool) -> bool:
    return card.authentication == "always" or (card.authentication == "once" and not authenticated)


def _decline(state: StripeState, intent: JsonObject, method: JsonObject, decline: str, card: DemoCard) -> None:
    charge = new_charge(state, intent, method, decline, captured=False)
    code = "authentication_required" if decline == "authentication_required" else card.code
    problem = card_problem(decline, code, charge=charge["id"])
    error = problem.to_json()["error"] | {"payment_method": method}
    state.change(
        intent,
        last_payment_error=error,
        latest_charge=charge["id"],
        next_action=None,
        payment_method=None,
        status="requires_payment_method",
    )
    state.emit("payment_intent.payment_failed", intent)
    raise card_problem(decline, code, charge=charge["id"], payment_intent=dict(intent), payment_method=method)


def _ask_for_authentication(state: StripeState, intent: JsonObject, method: JsonObject) -> None:
    url = f"{state.base_url}/authenticate/{intent['id']}"
    state.change(
        intent,
        next_action={"type": "redirect_to_url", "redirect_to_url": {"return_url": None, "url": url}},
        payment_method=method["id"],
        status="requires_action",
    )
    state.emit("payment_intent.requires_action", intent)


def _succeed(state: StripeState, intent: JsonObject, method: JsonObject, card: DemoCard) -> None:
    captured = intent["capture_method"] != "manual"
    if intent["setup_future_usage"] and intent["customer"]:
        attach_to(state, method, intent["customer"])
    charge = new_charge(state, intent, method, "", captured=captured)
    state.change(
        intent,
        amount_capturable=0 if captured else intent["amount"],
        amount_received=intent["amount"] if captured else 0,
        last_payment_error=None,
        latest_charge=charge["id"],
        next_action=None,
        payment_method=method["id"],
        status="succeeded" if captured else "requires_capture",
    )
    state.emit("payment_intent.succeeded" if captured else "payment_intent.amount_capturable_updated", intent)
    if card.dispute_reason:
        open_dispute(state, charge, card.dispute_reason)


def create(call: StripeCall) -> JsonObject:
    """Create a payment intent, and confirm it at once if asked for."""
    params = call.params
    currency = check_currency(params["currency"])
    amount = check_amount(params["amount"], currency)
    values = {name: value or None for name, value in call.pick(*_TEXTS).items()}
    values |= call.pick("capture_method", "confirmation_method", "payment_method_types", "transfer_group")
    if params.get("customer"):
        values["customer"] = live_customer(call.state, params["customer"])["id"]
    if automatic := params.get("automatic_payment_methods"):
        values["automatic_payment_methods"] = {"allow_redirects": "always", **automatic}
    if params.get("off_session") and not params.get("confirm"):
        raise invalid_parameter("off_session", "The parameter `off_session` is only allowed with `confirm=true`.")
    method = resolve(call.state, params["payment_method"]) if params.get("payment_method") else None
    if params.get("confirm") and method is None:
        raise StripeApiError(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    intent = new_intent(
        call.state, amount=amount, currency=currency, metadata=merged_metadata({}, params.get("metadata")), **values
    )
    if method is not None:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    if params.get("confirm") and method is not None:
        pay(call.state, intent, method, off_session=bool(params.get("off_session")))
    return intent


def update(call: StripeCall) -> JsonObject:
    """Change a payment intent that is not paid yet; its metadata can change later too."""
    intent = _intent(call)
    values = {name: value or None for name, value in call.pick(*_TEXTS).items()}
    fixed = {"amount", "currency", "customer", "payment_method"} & call.params.keys()
    if fixed and intent["status"] not in _CONFIRMABLE:
        raise _wrong_state(intent, "updated", fixed.pop())
    if "currency" in call.params:
        values["currency"] = check_currency(call.params["currency"])
    if "amount" in call.params:
        values["amount"] = check_amount(call.params["amount"], str(values.get("currency") or intent["currency"]))
    if call.params.get("customer"):
        values["customer"] = live_customer(call.state, call.params["customer"])["id"]
    if method := call.params.get("payment_method"):
        values |= {"payment_method": resolve(call.state, method)["id"], "status": "requires_confirmation"}
    values["metadata"] = merged_metadata(intent["metadata"], call.params.get("metadata"))
    call.state.change(intent, **values)
    return intent


def confirm(call: StripeCall) -> JsonObject:
    """Confirm a payment intent: try to pay it."""
    intent = _intent(call)
    if intent["status"] not in _CONFIRMABLE:
        raise _wrong_state(intent, "confirmed")
    method_id = call.params.get("payment_method") or intent["payment_method"]
    if not method_id:
        raise StripeApiError(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the"
            " PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment"
            " method.",
            code="payment_intent_unexpected_state",
        )
    if usage := call.params.get("setup_future_usage"):
        intent["setup_future_usage"] = usage
    pay(call.state, intent, resolve(call.state, method_id), off_session=bool(call.params.get("off_session")))
    return intent


def cancel(call: StripeCall) -> JsonObject:
    """Cancel a payment intent that is not paid."""
    intent = _intent(call)
    cancel_intent(call.state, intent, call.params.get("cancellation_reason"))
    return intent


def cancel_intent(state: StripeState, intent: JsonObject, reason: str | None) -> None:
    """Cancel a payment intent that is not paid, with its event. Raises StripeApiError."""
    if intent["status"] not in _CANCELABLE:
        raise _wrong_state(intent, "canceled")
    state.change(intent, status="canceled", canceled_at=state.now, cancellation_reason=reason, next_action=None)
    state.emit("payment_intent.canceled", intent)


def capture(call: StripeCall) -> JsonObject:
    """Capture what a bank has authorised, all or a part."""
    intent = _intent(call)
    if intent["status"] != "requires_capture":
        raise _wrong_state(intent, "captured")
    amount = call.params.get("amount_to_capture", intent["amount_capturable"])
    if amount > intent["amount_capturable"]:
        raise invalid_parameter(
            "amount_to_capture", "The amount is greater than what can be captured", "amount_too_large"
        )
    charge = call.state.get("charge", intent["latest_charge"])
    call.state.change(charge, captured=True, amount_captured=amount)
    settle(call.state, charge)
    call.state.change(intent, status="succeeded", amount_received=amount, amount_capturable=0)
    call.state.emit("charge.captured", charge)
    call.state.emit("payment_intent.succeeded", intent)
    return intent


def list_all(call: StripeCall) -> JsonObject:
    """List payment intents: all, or those of a customer."""
    return list_page(call.state.where("payment_intent", **call.pick("customer")), call.params, "/v1/payment_intents")


def search(call: StripeCall) -> JsonObject:
    """Search payment intents, for example by their metadata."""
    return search_page(call.state.table("payment_intent").values(), call.params, "/v1/payment_intents/search")


def _intent(call: StripeCall) -> JsonObject:
    return call.state.get("payment_intent", call.ids[0], "intent")


def _wrong_state(intent: JsonObject, done: str, param: str | None = None) -> StripeApiError:
    return unexpected_state(
        "payment_intent_unexpected_state",
        f"This PaymentIntent could not be {done} because it has a status of {intent['status']}.",
        payment_intent=dict(intent),
        param=param,
    )


ROUTES = (
    StripeRoute("POST", "/v1/payment_intents", "PaymentIntentCreateParams", create),
    StripeRoute("GET", "/v1/payment_intents", "PaymentIntentListParams", list_all),
    StripeRoute("GET", "/v1/payment_intents/search", "PaymentIntentSearchParams", search),
    StripeRoute("GET", "/v1/payment_intents/{}", "PaymentIntentRetrieveParams", _intent),
    StripeRoute("POST", "/v1/payment_intents/{}", "PaymentIntentUpdateParams", update),
    StripeRoute("POST", "/v1/payment_intents/{}/confirm", "PaymentIntentConfirmParams", confirm),
    StripeRoute("POST", "/v1/payment_intents/{}/cancel", "PaymentIntentCancelParams", cancel),
    StripeRoute("POST", "/v1/payment_intents/{}/capture", "PaymentIntentCaptureParams", capture),
)
