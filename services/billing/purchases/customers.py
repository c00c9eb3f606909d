"""A tenant's customer at Stripe: exactly one, whatever processes ask for it at once, and wherever one stops."""

from collections.abc import Callable
from datetime import datetime, timedelta

from keyferry.contracts import ids
from services.billing.purchases.customer_store import CustomerStore, StoredCustomer
from services.billing.purchases.stripe_access import DEPLOYMENT, TENANT
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.stripe.client import StripeDict

KEY_LIFETIME = timedelta(hours=23)
"""Stripe forgets an idempotency key after 24 hours or more."""
_CLOCKS = timedelta(minutes=5)
"""By so much our clock and Stripe's may differ."""


class Customers:
    """Finds or makes customers. `deployment` names this installation in Stripe's metadata; `clock` returns the time in UTC."""

    def __init__(
        self, store: CustomerStore, calls: StripeCalls, deployment: str, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._calls = calls
        self._deployment = deployment
        self._clock = clock

    async def ensure(self, tenant: str, actor: str) -> str:
        """Return the tenant's customer at Stripe, made if there is none.

        The key to make it with is stored first. Processes that ask at once, and one that repeats it after a stop, therefore use
        the same key and get the same customer; after the life of the key Stripe's list of customers is searched first.
        Raises StripeFailure, BusError and DatabaseUnavailable.
        """
        now = self._clock()
        stored = await self._store.reserve(tenant, ids.new("customer"), now)
        if stored.customer is not None:
            return stored.customer
        if now - stored.keyed_at > KEY_LIFETIME:
            made = await self._calls.find_customer(tenant, stored.keyed_at - _CLOCKS)
            if made is not None:
                return await self._store.set_customer(tenant, made, actor)
            stored = await self._store.renew_key(stored, ids.new("customer"), now)
            if stored.customer is not None:
                return stored.customer
        params = {"name": tenant, "metadata": {TENANT: tenant, DEPLOYMENT: self._deployment}}
        made = await self._calls.create_customer(params, stored.creation_key)
        return await self._store.set_customer(tenant, made, actor)

    async def find(self, tenant: str) -> StoredCustomer | None:
        """Return what is stored of a tenant, without asking Stripe. Raises DatabaseUnavailable."""
        return await self._store.find(tenant)

    async def save_payment_method(self, tenant: str, method: StripeDict, actor: str) -> None:
        """Keep the payment method that automatic top-ups charge. Raises DatabaseUnavailable."""
        label = describe_payment_method(method)
        await self._store.save_payment_method(tenant, method["id"], label, self._clock(), actor)


def describe_payment_method(method: StripeDict) -> str:
    """Return a payment method for people: `visa ending in 4242`."""
    details = method.get(method["type"]) or {}
    last4 = details.get("last4")
    name = str(details.get("brand") or method["type"]).replace("_", " ")
    return f"{name} ending in {last4}" if last4 else name
