"""Reads from Stripe which payments there are: of a time, or of a customer."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from services.billing.stripe.client import PAGE_SIZE, StripeGateway
from services.billing.stripe.objects import IntentFacts, read_dispute, read_intent, read_refund


class StripeReader:
    """Every method raises StripeFailure, UnreadableObject and BusError."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway

    async def check(self) -> None:
        """Return if there is a key of Stripe, without asking Stripe. Raises StripeNotConfigured and BusError."""
        await self._gateway.is_live()

    async def intents(self, since: datetime, until: datetime) -> AsyncIterator[IntentFacts]:
        """Yield the payment intents that were made in a span of time."""
        params = _created(since, until)
        found = self._gateway.list_all(lambda stripe: stripe.v1.payment_intents.list_async(params))
        async for each in found:
            yield read_intent(each)

    async def intents_of(self, customer: str) -> AsyncIterator[IntentFacts]:
        """Yield the payment intents of a customer."""
        params: Any = {"customer": customer, "limit": PAGE_SIZE}
        found = self._gateway.list_all(lambda stripe: stripe.v1.payment_intents.list_async(params))
        async for each in found:
            yield read_intent(each)

    async def changed_payments(self, since: datetime, until: datetime) -> set[str]:
        """Return the payment intents of refunds and disputes that were made in a span of time."""
        params = _created(since, until)
        refunds = self._gateway.list_all(lambda stripe: stripe.v1.refunds.list_async(params))
        disputes = self._gateway.list_all(lambda stripe: stripe.v1.disputes.list_async(params))
        found = {read_refund(each).payment_intent async for each in refunds}
        found |= {read_dispute(each).payment_intent async for each in disputes}
        return {each for each in found if each is not None}


def _created(since: datetime, until: datetime) -> Any:
    created = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
    return {"created": created, "limit": PAGE_SIZE}
