"""A double of Stripe and the official client for it."""

from collections.abc import AsyncIterator

import pytest
import stripe

from deploy.billing_demo.stripe.server import StripeDouble
from tests.support.billing.stripe_double import running_stripe, stripe_client


@pytest.fixture
async def double() -> AsyncIterator[StripeDouble]:
    async with running_stripe() as running:
        yield running


@pytest.fixture
async def client(double: StripeDouble) -> AsyncIterator[stripe.StripeClient]:
    async with stripe_client(double) as connected:
        yield connected
