"""The double of Stripe for tests: each of its answers is checked against the types of the official package."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import stripe

from deploy.billing_demo.stripe.api import StripeRequest
from deploy.billing_demo.stripe.server import StripeDouble
from tests.support.billing.background_loop import background_loop
from tests.support.billing.stripe_answers import mistakes

QUICK_RETRIES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""How long after a failure a webhook is sent again, in seconds, so that a test need not wait for days."""


class AnswerCheck:
    """Collects what is wrong with the answers of a double, and with the objects of its events."""

    def __init__(self, double: StripeDouble) -> None:
        self.found: list[str] = []
        double.api.observers.append(self._on_answer)
        double.state.listeners.append(self._on_event)

    def _on_answer(self, request: StripeRequest, status: int, body: dict[str, Any]) -> None:
        if status < 400 and request.path != "/v1/account":
            self.found += [f"{request.method} {request.path}: {mistake}" for mistake in mistakes(body)]

    def _on_event(self, event: dict[str, Any]) -> None:
        self.found += [f"{event['type']}: {mistake}" for mistake in mistakes(event["data"]["object"])]

    def expect_none(self) -> None:
        """Assert that all answers were right."""
        assert not self.found, "\n".join(sorted(set(self.found)))


@asynccontextmanager
async def running_stripe(**settings: Any) -> AsyncIterator[StripeDouble]:
    """Run a double of Stripe in this loop; at the end all of its answers must have been right."""
    double = StripeDouble(**settings)
    double.webhooks.retry_seconds = QUICK_RETRIES
    check = AnswerCheck(double)
    async with double:
        yield double
    check.expect_none()


@contextmanager
def running_stripe_in_background(**settings: Any) -> Iterator[StripeDouble]:
    """Run a double of Stripe in a thread, for tests that are not asynchronous."""
    with background_loop() as loop, loop.entered(running_stripe(**settings)) as double:
        yield double


@asynccontextmanager
async def stripe_client(double: StripeDouble, **options: Any) -> AsyncIterator[stripe.StripeClient]:
    """Yield the official client over httpx, set to talk to a double; it repeats no request by itself."""
    http = stripe.HTTPXClient(allow_sync_methods=False)
    options = {"api_key": double.api_key, "max_network_retries": 0, **options}
    yield stripe.StripeClient(base_addresses={"api": double.url}, http_client=http, **options)
    await http.close_async()  # type: ignore[no-untyped-call]
