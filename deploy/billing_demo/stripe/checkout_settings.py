"""What a checkout session says about itself from its beginning. Pure."""

from deploy.billing_demo.stripe.problem import JsonObject

_GIVEN = (
    *("allow_promotion_codes", "billing_address_collection", "cancel_url", "client_reference_id", "customer_email"),
    *("locale", "submit_type", "success_url"),
)


def session_settings(params: JsonObject, mode: str) -> JsonObject:
    """Return the fields of a session that follow from the request alone."""
    creation = params.get("customer_creation")
    if creation is None and mode == "payment" and not params.get("customer"):
        creation = "if_required"
    return {
        **{name: params.get(name) for name in _GIVEN},
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer_creation": creation,
        "mode": mode,
        "payment_method_collection": "always" if mode == "subscription" else "if_required",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": params.get("payment_method_types", ["card"]),
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }
