"""Payment methods: cards, made of a number or of one of Stripe's test tokens, and attached to customers."""

from deploy.billing_demo.stripe.cards import BY_NUMBER, BY_TOKEN, DemoCard
from deploy.billing_demo.stripe.charges import card_problem
from deploy.billing_demo.stripe.customer_records import live_customer
from deploy.billing_demo.stripe.listing import list_page
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.shapes import empty_address
from deploy.billing_demo.stripe.state import StripeState, merged_metadata, random_text

_CARDS = "_cards"
"""The table of which card a payment method is; Stripe shows nobody the number."""


def new_method(state: StripeState, card: DemoCard, **values: object) -> JsonObject:
    """Store a card as a payment method; return it."""
    method = state.add(
        "payment_method",
        allow_redisplay="unspecified",
        billing_details={"address": empty_address(), "email": None, "name": None, "phone": None, "tax_id": None},
        card={
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": random_text(16),
            "funding": "credit",
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        type="card",
        **{"metadata": {}, **values},
    )
    state.table(_CARDS)[method["id"]] = {"id": method["id"], "number": card.number, "authenticated": False}
    return method


def card_of(state: StripeState, method: JsonObject) -> DemoCard:
    """Return which test card a payment method is."""
    return BY_NUMBER[state.table(_CARDS)[method["id"]]["number"]]


def is_authenticated(state: StripeState, method: JsonObject) -> bool:
    """Return whether its owner has confirmed that the card may be used without them."""
    return bool(state.table(_CARDS)[method["id"]]["authenticated"])


def mark_authenticated(state: StripeState, method: JsonObject) -> None:
    """Keep that its owner has confirmed a use of the card."""
    state.table(_CARDS)[method["id"]]["authenticated"] = True


def resolve(state: StripeState, method_id: str, param: str = "payment_method") -> JsonObject:
    """Return a payment method; one of Stripe's test tokens becomes a new one. Raises StripeApiError."""
    if card := BY_TOKEN.get(method_id):
        return new_method(state, card)
    return state.get("payment_method", method_id, param)


def attach_to(state: StripeState, method: JsonObject, customer_id: str) -> JsonObject:
    """Attach a payment method to a customer. Raises StripeApiError if it belongs to another one or the bank declines it."""
    if method["customer"] not in (None, customer_id):
        raise StripeApiError(
            "The payment method you provided has already been attached to a customer.", param="payment_method"
        )
    card = card_of(state, method)
    if card.decline_code:
        raise card_problem(card.decline_code, card.code)
    if method["customer"] is None:
        method["customer"] = customer_id
        state.emit("payment_method.attached", method)
    return method


def _card_of_request(call: StripeCall) -> DemoCard:
    given = call.params.get("card") or {}
    if token := given.get("token"):
        if token in BY_TOKEN:
            return BY_TOKEN[token]
        raise StripeApiError(f"No such token: '{token}'", code="resource_missing", param="card[token]")
    number = str(given.get("number", "")).replace(" ", "")
    if number not in BY_NUMBER:
        raise StripeApiError(
            "Your card number is incorrect.",
            status=402,
            error_type="card_error",
            code="incorrect_number",
            param="number",
        )
    return BY_NUMBER[number]


def create(call: StripeCall) -> JsonObject:
    """Create a payment method of a card."""
    if call.params.get("type", "card") != "card":
        raise invalid_parameter("type", "This double of Stripe knows cards only: send type=card")
    details = call.params.get("billing_details") or {}
    method = new_method(call.state, _card_of_request(call), metadata=merged_metadata({}, call.params.get("metadata")))
    method["billing_details"] |= {name: value for name, value in details.items() if name != "address"}
    return method


def update(call: StripeCall) -> JsonObject:
    """Change a payment method."""
    method = call.state.get("payment_method", call.ids[0])
    values = call.pick("allow_redisplay")
    values["metadata"] = merged_metadata(method["metadata"], call.params.get("metadata"))
    previous = call.state.change(method, **values)
    call.state.emit("payment_method.updated", method, previous)
    return method


def attach(call: StripeCall) -> JsonObject:
    """Attach a payment method to a customer."""
    customer = live_customer(call.state, call.params["customer"])
    return attach_to(call.state, resolve(call.state, call.ids[0]), customer["id"])


def detach(call: StripeCall) -> JsonObject:
    """Detach a payment method from its customer; it cannot be used again."""
    method = call.state.get("payment_method", call.ids[0], "payment_method")
    if method["customer"] is None:
        raise StripeApiError(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            param="payment_method",
        )
    previous = call.state.change(method, customer=None)
    for customer in call.state.table("customer").values():
        settings = customer.get("invoice_settings") or {}
        if settings.get("default_payment_method") == method["id"]:
            settings["default_payment_method"] = None
    call.state.emit("payment_method.detached", method, previous)
    return method


def list_all(call: StripeCall) -> JsonObject:
    """List the payment methods of a customer."""
    found = call.state.where("payment_method", **call.pick("customer", "type"))
    return list_page((row for row in found if row["customer"]), call.params, "/v1/payment_methods")


ROUTES = (
    StripeRoute("POST", "/v1/payment_methods", "PaymentMethodCreateParams", create),
    StripeRoute("GET", "/v1/payment_methods", "PaymentMethodListParams", list_all),
    StripeRoute(
        "GET",
        "/v1/payment_methods/{}",
        "PaymentMethodRetrieveParams",
        lambda call: call.state.get("payment_method", call.ids[0], "payment_method"),
    ),
    StripeRoute("POST", "/v1/payment_methods/{}", "PaymentMethodUpdateParams", update),
    StripeRoute("POST", "/v1/payment_methods/{}/attach", "PaymentMethodAttachParams", attach),
    StripeRoute("POST", "/v1/payment_methods/{}/detach", "PaymentMethodDetachParams", detach),
)
