"""The parameters of pages of Checkout. They follow from what is stored alone, so that a repetition is the same request. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from keyferry.contracts.purchases import CURRENCY
from services.billing.purchases.offers import Offer
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.stripe_access import CREDITS, DEPLOYMENT, PURCHASE, TENANT

OPENING_LIFETIME = timedelta(hours=1)
"""For so long Stripe may be asked for the page of a stored purchase; later a new purchase is needed."""
PAGE_LIFETIME = timedelta(hours=2)
"""How long a page can be paid. Stripe accepts 30 minutes to 24 hours from the moment of its creation."""
_DEFAULT_PATH = "/"


def offer_of(purchase: StoredPurchase) -> Offer:
    """Return what a stored purchase buys."""
    return Offer(purchase.package, purchase.amount_cents, purchase.credits_micro_usd // 1000)


def purchase_metadata(purchase: StoredPurchase, deployment: str) -> dict[str, str]:
    """Return the metadata by which a payment is known to be ours, and what it buys."""
    return {
        TENANT: purchase.tenant,
        DEPLOYMENT: deployment,
        CREDITS: str(purchase.credits_micro_usd),
        PURCHASE: purchase.purchase,
    }


def session_params(
    purchase: StoredPurchase, *, customer: str, line_item: Mapping[str, Any], deployment: str, console_url: str
) -> dict[str, Any]:
    """Return the parameters of the page on which a purchase is paid."""
    metadata = purchase_metadata(purchase, deployment)
    payment: dict[str, Any] = {"metadata": metadata, "description": offer_of(purchase).label}
    if purchase.save_payment_method:
        payment["setup_future_usage"] = "off_session"
    path = purchase.return_path or _DEFAULT_PATH
    return {
        "mode": "payment",
        "customer": customer,
        "client_reference_id": purchase.purchase,
        "line_items": [{**line_item, "quantity": 1}],
        "metadata": metadata,
        "payment_intent_data": payment,
        "success_url": return_url(console_url, path, {"purchase": purchase.purchase, "result": "paid"}),
        "cancel_url": return_url(console_url, path, {"purchase": purchase.purchase, "result": "cancelled"}),
        "expires_at": int((purchase.created_at + PAGE_LIFETIME).timestamp()),
    }


def custom_line_item(purchase: StoredPurchase, product: str) -> dict[str, Any]:
    """Return the line of an amount that has no price of its own at Stripe."""
    return {"price_data": {"currency": CURRENCY, "unit_amount": purchase.amount_cents, "product": product}}


def return_url(console_url: str, path: str, parameters: Mapping[str, str]) -> str:
    """Return an address of the console with parameters added to those of the path."""
    return f"{console_url.rstrip('/')}{path}{'&' if '?' in path else '?'}{urlencode(parameters)}"


def intent_params(purchase: StoredPurchase, *, customer: str, payment_method: str, deployment: str) -> dict[str, Any]:
    """Return the parameters of a payment intent of an automatic top-up, which is confirmed later."""
    return {
        "amount": purchase.amount_cents,
        "currency": CURRENCY,
        "customer": customer,
        "payment_method": payment_method,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "description": f"{offer_of(purchase).label}, automatic top-up",
        "metadata": purchase_metadata(purchase, deployment),
    }


def may_open(purchase: StoredPurchase, now: datetime) -> bool:
    """Return whether Stripe may still be asked for the page of a purchase."""
    return now - purchase.created_at < OPENING_LIFETIME
