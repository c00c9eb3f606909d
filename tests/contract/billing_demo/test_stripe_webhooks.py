"""Webhooks of the double: signed as the official package verifies them, repeated, duplicated, reordered, with rolled secrets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import stripe
from aiohttp import web

from deploy.billing_demo.stripe.events import roll_secret
from deploy.billing_demo.stripe.server import StripeDouble
from deploy.billing_demo.stripe.webhooks import StripeWebhookFaults
from tests.support.waiting import eventually

SECRET = "whsec_" + "demo" * 8


@dataclass
class Receiver:
    """An endpoint that keeps what it gets, and answers with the next of its statuses."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.signatures.append(request.headers["Stripe-Signature"])
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    def types(self, secret: str = SECRET) -> list[str]:
        """Return the types of what arrived, each verified by the official package."""
        pairs = zip(self.bodies, self.signatures, strict=True)
        return [stripe.Webhook.construct_event(body, signature, secret).type for body, signature in pairs]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/webhooks/stripe", receiver.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/stripe"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def paid_intent(client: stripe.StripeClient) -> str:
    intent = await client.v1.payment_intents.create_async(
        {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    return intent.id


async def test_events_arrive_signed_and_in_order(
    client: stripe.StripeClient, double: StripeDouble, receiver: Receiver
) -> None:
    double.add_endpoint(receiver.url, SECRET)
    await paid_intent(client)
    await eventually("three events arrive", lambda: len(receiver.bodies) == 3)
    assert receiver.types() == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    event = (await client.v1.events.list_async({"type": "payment_intent.succeeded"})).data[0]
    await eventually("it is delivered", lambda: double.state.get("event", event.id)["pending_webhooks"] == 0)
    assert event.api_version == stripe.api_version
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(receiver.bodies[0], receiver.signatures[0], "whsec_another")


async def test_an_endpoint_made_by_the_api_shows_its_secret_once(
    client: stripe.StripeClient, receiver: Receiver
) -> None:
    endpoint = await client.v1.webhook_endpoints.create_async(
        {"url": receiver.url, "enabled_events": ["payment_intent.succeeded"]}
    )
    assert endpoint.secret is not None
    shown = await client.v1.webhook_endpoints.retrieve_async(endpoint.id)
    assert "secret" not in shown.to_dict()
    await paid_intent(client)
    await eventually("the event arrives", lambda: len(receiver.bodies) == 1)
    assert receiver.types(endpoint.secret) == ["payment_intent.succeeded"]


async def test_a_failed_delivery_is_repeated_and_delays_no_other(
    client: stripe.StripeClient, double: StripeDouble, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    double.add_endpoint(receiver.url, SECRET)
    await paid_intent(client)
    await eventually("all have arrived", lambda: len(receiver.bodies) == 4)
    types = receiver.types()
    assert types == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "payment_intent.created",
    ]
    assert [row.status for row in double.webhooks.log] == [500, 200, 200, 200]


async def test_deliveries_are_duplicated_and_reordered_on_request(
    client: stripe.StripeClient, double: StripeDouble, receiver: Receiver
) -> None:
    double.add_endpoint(receiver.url, SECRET)
    double.webhooks.faults = StripeWebhookFaults(copies=(2, 5), shuffled=True)
    double.webhooks.hold()
    for _ in range(5):
        await paid_intent(client)
    double.webhooks.release()
    await eventually("all have arrived", lambda: double.webhooks.idle and len(receiver.bodies) >= 30)
    ids = [
        stripe.Webhook.construct_event(*pair, SECRET).id
        for pair in zip(receiver.bodies, receiver.signatures, strict=True)
    ]
    assert {ids.count(event) for event in set(ids)} <= {2, 3, 4, 5}
    assert list(dict.fromkeys(ids)) != list(double.state.table("event"))


async def test_a_rolled_secret_signs_beside_the_old_one_while_both_are_valid(
    client: stripe.StripeClient, double: StripeDouble, receiver: Receiver
) -> None:
    endpoint = double.add_endpoint(receiver.url, SECRET, ("payment_intent.succeeded",))
    new = roll_secret(double.state, endpoint["id"], overlap_seconds=3600)
    await paid_intent(client)
    await eventually("it arrives", lambda: len(receiver.bodies) == 1)
    assert receiver.types(SECRET) == receiver.types(new) == ["payment_intent.succeeded"]
    double.state.forward_seconds += 3601
    await paid_intent(client)
    await eventually("it arrives", lambda: len(receiver.bodies) == 2)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(receiver.bodies[1], receiver.signatures[1], SECRET)
