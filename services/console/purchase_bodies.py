"""Request bodies and queries about purchases, automatic top-ups and subscriptions. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool

from keyferry.contracts.credit_management import IdempotencyKey, Threshold
from keyferry.contracts.purchases import MAX_PURCHASES, CeilingUsd, PackageId, PriceUsd, ReturnPath
from keyferry.contracts.tenancy import Tier
from services.console.bodies import IN_DIGITS, Body, QueryParameters, Revision

_RETURN = "/t/acme/credits"


class CheckoutBody(Body):
    """What is bought: a package, or credits for an amount."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"package": "usd-50", "return_path": _RETURN, "idempotency_key": "order-2026-11-30"}]
        }
    )

    package: PackageId | None = None
    price_usd: PriceUsd | None = None
    """In dollars, as text. Instead of `package`."""
    return_path: ReturnPath
    """Where on the console the browser goes afterwards; it gets `purchase` and `result` as parameters."""
    save_payment_method: StrictBool = False
    """Keep the payment method for automatic top-ups; Stripe's page asks for consent."""
    idempotency_key: IdempotencyKey
    """Your name for this purchase: repeating it returns the same page, so a double click cannot pay twice."""


class PurchaseQuery(QueryParameters):
    """How many purchases to return."""

    limit: Annotated[int, Field(ge=1, le=MAX_PURCHASES), IN_DIGITS] = 20


class TopUpBody(Body):
    """The terms of an automatic top-up."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "enabled": True,
                    "threshold": "5000",
                    "price_usd": "50",
                    "monthly_ceiling_usd": "200",
                    "consent": True,
                }
            ]
        }
    )

    enabled: StrictBool
    threshold: Threshold
    """In credits: a payment is made when so many or fewer are available."""
    price_usd: PriceUsd
    """What each payment takes; the price of a package buys its credits."""
    monthly_ceiling_usd: CeilingUsd
    """The most that automatic payments of a month in the tenant's zone may take."""
    consent: StrictBool = False
    """Whether you agree that the saved payment method is charged without asking again; needed to enable."""
    revision: Revision | None = None
    """The revision that you have read; 409 if somebody else has changed it since. Null does not look."""


class SubscriptionBody(Body):
    """The tier to subscribe to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"tier": "professional", "return_path": _RETURN, "idempotency_key": "subscribe-1"}]
        }
    )

    tier: Tier
    return_path: ReturnPath
    idempotency_key: IdempotencyKey


class SubscriptionChangeBody(Body):
    """The tier to change to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tier": "enterprise"}]})

    tier: Tier


class SubscriptionEndBody(Body):
    """Whether a subscription ends with its period."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"undo": False}]})

    undo: StrictBool = False
    """Let it go on after all."""


class PackageSyncBody(Body):
    """Whether to change anything at Stripe."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}]})

    dry_run: StrictBool = False
    """Only report what differs."""
