"""The metadata that the objects of purchases carry at Stripe, and what people read when Stripe does not do something."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from keyferry.contracts.service import ErrorCode
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.stripe.client import (
    StripeFailure,
    StripeKeyRefused,
    StripeNotConfigured,
    StripeUnavailable,
)

TENANT = "keyferry_tenant"
DEPLOYMENT = "keyferry_deployment"
CREDITS = "keyferry_credits_micro_usd"
PURCHASE = "keyferry_purchase"
TIER = "keyferry_tier"
LOOKUP = "keyferry_offer"

NOT_CONFIGURED = (
    "this installation takes no payments: an operator saves a key of Stripe in the vault"
    " (`keyferry integrations add stripe_api_key --tenant platform`); until then operators grant credits"
)


@asynccontextmanager
async def refusing_stripe_errors() -> AsyncIterator[None]:
    """Raise PurchaseRefused in place of Stripe's errors, in words for the person who pays."""
    try:
        yield
    except StripeNotConfigured:
        raise PurchaseRefused(ErrorCode.UNAVAILABLE, NOT_CONFIGURED) from None
    except StripeKeyRefused:
        raise PurchaseRefused(
            ErrorCode.UNAVAILABLE,
            "Stripe does not accept this installation's key: an operator has to rotate it"
            " (`keyferry integrations rotate SECRET_ID --tenant platform`)",
        ) from None
    except StripeUnavailable:
        raise PurchaseRefused(
            ErrorCode.UNAVAILABLE,
            "Stripe cannot be reached: repeat the request with the same idempotency key in a moment",
        ) from None
    except StripeFailure as error:
        raise PurchaseRefused(ErrorCode.CONFLICT, str(error)) from None


def object_id(found: Any) -> str | None:
    """Return the id of a field that is an object or an id, as the request expanded it or not."""
    return found if isinstance(found, str) or found is None else str(found["id"])
