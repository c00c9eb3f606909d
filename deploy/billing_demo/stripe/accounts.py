"""The account itself, setup intents, and sessions of the customer portal."""

from deploy.billing_demo.stripe.charges import card_problem
from deploy.billing_demo.stripe.customer_records import live_customer
from deploy.billing_demo.stripe.listing import list_page
from deploy.billing_demo.stripe.payment_methods import attach_to, card_of, mark_authenticated, resolve
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata, random_text


def account_of(state: StripeState) -> JsonObject:
    """Return the account."""
    return {
        "id": state.account_id,
        "object": "account",
        "business_profile": {"name": "Keyferry demo", "support_email": None, "url": None},
        "charges_enabled": True,
        "country": "US",
        "created": 1_700_000_000,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "demo@keyferry.test",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


def create_setup(call: StripeCall) -> JsonObject:
    """Create a setup intent, and confirm it at once if asked for."""
    state, params = call.state, call.params
    customer = live_customer(state, params["customer"])["id"] if params.get("customer") else None
    intent = state.add(
        "setup_intent",
        customer=customer,
        description=params.get("description"),
        metadata=merged_metadata({}, params.get("metadata")),
        payment_method_options={
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        payment_method_types=params.get("payment_method_types", ["card"]),
        status="requires_payment_method",
        usage=params.get("usage", "off_session"),
    )
    intent["client_secret"] = f"{intent['id']}_secret_{random_text()}"
    state.emit("setup_intent.created", intent)
    if method := params.get("payment_method"):
        intent |= {"payment_method": resolve(state, method)["id"], "status": "requires_confirmation"}
    if params.get("confirm"):
        _confirm(state, intent)
    return intent


def _confirm(state: StripeState, intent: JsonObject) -> None:
    if not intent["payment_method"]:
        raise StripeApiError("You cannot confirm this SetupIntent because it's missing a payment method.")
    method = state.get("payment_method", intent["payment_method"])
    card = card_of(state, method)
    if card.decline_code:
        intent["status"] = "requires_payment_method"
        state.emit("setup_intent.setup_failed", intent)
        raise card_problem(card.decline_code, card.code, setup_intent=dict(intent))
    if intent["customer"]:
        attach_to(state, method, intent["customer"])
    mark_authenticated(state, method)
    intent["status"] = "succeeded"
    state.emit("setup_intent.succeeded", intent)


def confirm_setup(call: StripeCall) -> JsonObject:
    """Confirm a setup intent: the card may then be charged without its owner."""
    intent = call.state.get("setup_intent", call.ids[0], "intent")
    if intent["status"] in ("succeeded", "canceled"):
        raise StripeApiError(
            f"This SetupIntent could not be confirmed because it has a status of {intent['status']}.",
            code="setup_intent_unexpected_state",
        )
    if method := call.params.get("payment_method"):
        intent["payment_method"] = resolve(call.state, method)["id"]
    _confirm(call.state, intent)
    return intent


def list_setups(call: StripeCall) -> JsonObject:
    """List setup intents."""
    found = call.state.where("setup_intent", **call.pick("customer", "payment_method"))
    return list_page(found, call.params, "/v1/setup_intents")


def create_portal(call: StripeCall) -> JsonObject:
    """Create a session of the portal, where a customer changes cards and subscriptions."""
    customer = live_customer(call.state, call.params["customer"])
    session = call.state.add(
        "billing_portal.session",
        configuration="bpc_demo",
        customer=customer["id"],
        customer_account=None,
        flow=None,
        locale=None,
        on_behalf_of=None,
        return_url=call.params.get("return_url"),
    )
    session["url"] = f"{call.state.base_url}/p/session/{session['id']}"
    return session


ROUTES = (
    StripeRoute("GET", "/v1/account", "", lambda call: account_of(call.state)),
    StripeRoute("GET", "/v1/accounts/{}", "", lambda call: account_of(call.state)),
    StripeRoute("POST", "/v1/setup_intents", "SetupIntentCreateParams", create_setup),
    StripeRoute("GET", "/v1/setup_intents", "SetupIntentListParams", list_setups),
    StripeRoute(
        "GET",
        "/v1/setup_intents/{}",
        "SetupIntentRetrieveParams",
        lambda call: call.state.get("setup_intent", call.ids[0], "intent"),
    ),
    StripeRoute("POST", "/v1/setup_intents/{}/confirm", "SetupIntentConfirmParams", confirm_setup),
    StripeRoute("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams", create_portal),
)
