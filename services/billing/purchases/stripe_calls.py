"""The calls of Stripe's API that purchases make.

Whatever makes something at Stripe has an idempotency key that was stored before. All raise StripeFailure, and BusError while the
key of the API cannot be read.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from services.billing.purchases.stripe_access import TENANT
from services.billing.stripe.client import PAGE_SIZE, StripeDict, StripeGateway, StripeRequestRefused

_SESSION_EXPANDS = ["payment_intent.payment_method", "payment_intent.latest_charge"]
_INTENT_EXPANDS = ["latest_charge"]


class StripeCalls:
    """Calls with the key that is valid at each moment."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def check(self) -> None:
        """Return if this installation has a key of Stripe, without asking Stripe."""
        await self._gateway.is_live()

    async def is_live(self) -> bool:
        """Return whether real money moves."""
        return await self._gateway.is_live()

    # --- customers

    async def create_customer(self, params: Mapping[str, Any], key: str) -> str:
        """Create a customer; return its id."""
        given: Any = dict(params)
        made = await self._gateway.read(
            lambda client: client.v1.customers.create_async(given, {"idempotency_key": key})
        )
        return str(made["id"])

    async def find_customer(self, tenant: str, since: datetime) -> str | None:
        """Return the oldest customer that was made for a tenant since a moment."""
        params: Any = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
        listed = self._gateway.list_all(lambda client: client.v1.customers.list_async(params))
        ours = [each["id"] async for each in listed if (each.get("metadata") or {}).get(TENANT) == tenant]
        return ours[-1] if ours else None

    # --- products and prices

    async def product(self, product: str, params: Mapping[str, Any]) -> StripeDict:
        """Return a product of our own id, made if there is none."""
        found = await self._find_product(product)
        if found is not None:
            return found
        # The id makes a second one impossible, so that no idempotency key is needed.
        given: Any = {**params, "id": product}
        try:
            return await self._gateway.read(lambda client: client.v1.products.create_async(given))
        except StripeRequestRefused:
            found = await self._find_product(product)  # another process may have made it meanwhile
            if found is None:
                raise
            return found

    async def _find_product(self, product: str) -> StripeDict | None:
        params: Any = {"ids": [product]}
        found = [each async for each in self._gateway.list_all(lambda client: client.v1.products.list_async(params))]
        return found[0] if found else None

    async def price(self, lookup_key: str) -> StripeDict | None:
        """Return the price with a lookup key, active or not."""
        params: Any = {"lookup_keys": [lookup_key], "limit": 1}
        found = [each async for each in self._gateway.list_all(lambda client: client.v1.prices.list_async(params))]
        return found[0] if found else None

    def prices_of(self, product: str) -> AsyncIterator[StripeDict]:
        """Return the active prices of a product."""
        params: Any = {"product": product, "active": True, "limit": PAGE_SIZE}
        return self._gateway.list_all(lambda client: client.v1.prices.list_async(params))

    async def create_price(self, params: Mapping[str, Any]) -> StripeDict:
        """Create a price. Its lookup key is unique at Stripe, so a second one is refused there."""
        given: Any = dict(params)
        return await self._gateway.read(lambda client: client.v1.prices.create_async(given))

    async def set_price_active(self, price: str, *, active: bool) -> StripeDict:
        """Switch a price on or off."""
        return await self._gateway.read(lambda client: client.v1.prices.update_async(price, {"active": active}))

    # --- Checkout

    async def create_session(self, params: Mapping[str, Any], key: str) -> StripeDict:
        """Open a page of Checkout."""
        given: Any = dict(params)
        return await self._gateway.read(
            lambda client: client.v1.checkout.sessions.create_async(given, {"idempotency_key": key})
        )

    async def get_session(self, session: str, *, expand: list[str] | None = None) -> StripeDict:
        """Return a page with its payment and payment method."""
        params: Any = {"expand": _SESSION_EXPANDS if expand is None else expand}
        return await self._gateway.read(lambda client: client.v1.checkout.sessions.retrieve_async(session, params))

    async def expire_session(self, session: str) -> StripeDict:
        """Close a page that is not paid. Stripe refuses it for one that is complete."""
        return await self._gateway.read(lambda client: client.v1.checkout.sessions.expire_async(session))

    # --- payments without the customer

    async def create_intent(self, params: Mapping[str, Any], key: str) -> StripeDict:
        """Create a payment intent that takes nothing until it is confirmed."""
        given: Any = dict(params)
        return await self._gateway.read(
            lambda client: client.v1.payment_intents.create_async(given, {"idempotency_key": key})
        )

    async def get_intent(self, intent: str) -> StripeDict:
        """Return a payment intent with its last charge."""
        params: Any = {"expand": _INTENT_EXPANDS}
        return await self._gateway.read(lambda client: client.v1.payment_intents.retrieve_async(intent, params))

    async def confirm_intent(self, intent: str, method: str, key: str) -> StripeDict:
        """Charge the payment method. One intent takes its amount at most once, however often it is confirmed."""
        params: Any = {"payment_method": method, "off_session": True, "expand": _INTENT_EXPANDS}
        return await self._gateway.read(
            lambda client: client.v1.payment_intents.confirm_async(intent, params, {"idempotency_key": key})
        )

    async def cancel_intent(self, intent: str) -> StripeDict:
        """Cancel a payment intent, so that it takes nothing any more. Stripe refuses it for one that is paid."""
        return await self._gateway.read(lambda client: client.v1.payment_intents.cancel_async(intent))

    # --- subscriptions

    async def get_subscription(self, subscription: str) -> StripeDict:
        """Return a subscription with its prices."""
        return await self._gateway.read(lambda client: client.v1.subscriptions.retrieve_async(subscription))

    async def update_subscription(self, subscription: str, params: Mapping[str, Any]) -> StripeDict:
        """Change a subscription. Repeating it changes nothing more."""
        given: Any = dict(params)
        return await self._gateway.read(lambda client: client.v1.subscriptions.update_async(subscription, given))
