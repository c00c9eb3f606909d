"""Customers as the other objects see them: made, and found."""

from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.state import StripeState, random_text


def new_customer(state: StripeState, **values: object) -> JsonObject:
    """Store a customer and its event; return it."""
    customer = state.add(
        "customer",
        **{
            "balance": 0,
            "delinquent": False,
            "invoice_prefix": random_text(8).upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "metadata": {},
            "next_invoice_sequence": 1,
            "preferred_locales": [],
            "tax_exempt": "none",
            **values,
        },
    )
    state.emit("customer.created", customer)
    return customer


def live_customer(state: StripeState, customer_id: str, param: str = "customer") -> JsonObject:
    """Return a customer that is not deleted. Raises StripeApiError."""
    customer = state.get("customer", customer_id, param)
    if customer.get("deleted"):
        raise StripeApiError(f"No such customer: '{customer_id}'", status=404, code="resource_missing", param=param)
    return customer
