"""Customers, and the payment methods that belong to them."""

from deploy.billing_demo.stripe.customer_records import live_customer, new_customer
from deploy.billing_demo.stripe.listing import list_page, search_page
from deploy.billing_demo.stripe.payment_methods import attach_to, resolve
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.shapes import empty_address
from deploy.billing_demo.stripe.state import merged_metadata
from deploy.billing_demo.stripe.subscriptions import end_subscription

_PLAIN = ("description", "email", "name", "phone", "preferred_locales", "tax_exempt", "balance", "shipping")


def _values(call: StripeCall, current: JsonObject) -> JsonObject:
    values = {name: value if value != "" else None for name, value in call.pick(*_PLAIN).items()}
    email = values.get("email")
    if email is not None and "@" not in email:
        raise invalid_parameter("email", f"Invalid email address: {email}", "email_invalid")
    if "address" in call.params:
        values["address"] = empty_address() | call.params["address"] if call.params["address"] else None
    if "metadata" in call.params:
        values["metadata"] = merged_metadata(current.get("metadata", {}), call.params["metadata"])
    if settings := call.params.get("invoice_settings"):
        if method := settings.get("default_payment_method"):
            call.state.get("payment_method", method, "invoice_settings[default_payment_method]")
        values["invoice_settings"] = {**current.get("invoice_settings", {}), **settings}
    return values


def create(call: StripeCall) -> JsonObject:
    """Create a customer."""
    values = _values(call, {})
    settings = values.pop("invoice_settings", None)
    customer = new_customer(call.state, **values)
    if settings:
        customer["invoice_settings"] |= settings
    if method := call.params.get("payment_method"):
        attach_to(call.state, resolve(call.state, method), customer["id"])
    return customer


def retrieve(call: StripeCall) -> JsonObject:
    """Return a customer, or what is left of a deleted one."""
    return call.state.get("customer", call.ids[0], "id")


def update(call: StripeCall) -> JsonObject:
    """Change a customer."""
    customer = live_customer(call.state, call.ids[0], "id")
    previous = call.state.change(customer, **_values(call, customer))
    call.state.emit("customer.updated", customer, previous)
    return customer


def delete(call: StripeCall) -> JsonObject:
    """Delete a customer for good; its subscriptions end."""
    customer = live_customer(call.state, call.ids[0], "id")
    for subscription in call.state.where("subscription", customer=customer["id"]):
        if subscription["status"] != "canceled":
            end_subscription(call.state, subscription)
    call.state.emit("customer.deleted", customer)
    gone = {"id": customer["id"], "object": "customer", "deleted": True}
    call.state.table("customer")[customer["id"]] = gone
    return gone


def list_all(call: StripeCall) -> JsonObject:
    """List customers, all or those of an address."""
    found = [row for row in call.state.table("customer").values() if not row.get("deleted")]
    if "email" in call.params:
        found = [row for row in found if row["email"] == call.params["email"]]
    return list_page(found, call.params, "/v1/customers")


def search(call: StripeCall) -> JsonObject:
    """Search customers."""
    found = [row for row in call.state.table("customer").values() if not row.get("deleted")]
    return search_page(found, call.params, "/v1/customers/search")


def list_methods(call: StripeCall) -> JsonObject:
    """List the payment methods of a customer."""
    live_customer(call.state, call.ids[0])
    found = call.state.where("payment_method", customer=call.ids[0])
    return list_page(found, call.params, f"/v1/customers/{call.ids[0]}/payment_methods")


def retrieve_method(call: StripeCall) -> JsonObject:
    """Return a payment method of a customer."""
    live_customer(call.state, call.ids[0])
    method = call.state.get("payment_method", call.ids[1], "payment_method")
    if method["customer"] != call.ids[0]:
        raise StripeApiError(f"No such PaymentMethod: '{call.ids[1]}'", status=404, code="resource_missing")
    return method


ROUTES = (
    StripeRoute("POST", "/v1/customers", "CustomerCreateParams", create),
    StripeRoute("GET", "/v1/customers", "CustomerListParams", list_all),
    StripeRoute("GET", "/v1/customers/search", "CustomerSearchParams", search),
    StripeRoute("GET", "/v1/customers/{}", "CustomerRetrieveParams", retrieve),
    StripeRoute("POST", "/v1/customers/{}", "CustomerUpdateParams", update),
    StripeRoute("DELETE", "/v1/customers/{}", "CustomerDeleteParams", delete),
    StripeRoute("GET", "/v1/customers/{}/payment_methods", "CustomerPaymentMethodListParams", list_methods),
    StripeRoute("GET", "/v1/customers/{}/payment_methods/{}", "CustomerPaymentMethodRetrieveParams", retrieve_method),
)
