"""Events of Stripe over HTTP: the bytes as they were sent, no credential, and limits."""

import base64

import pytest

from keyferry.contracts.payment_management import STRIPE_RECEIVE_WEBHOOK
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.stripe_events import EventState, ReceiveWebhook, WebhookReceived
from services.console.access_table import render
from services.console.incoming_webhooks import REFUSED_PER_MINUTE, STRIPE_PATH
from services.console.middleware import OPEN_PATHS, SIGN_IN_PREFIX
from tests.unit.console.surface import Surface, error

PATH = "/webhooks/stripe"
SIGNATURE = "t=1,v1=ab"
RECEIVED = WebhookReceived(event_id="evt_1", repeated=False, state=EventState.PENDING)


async def test_the_billing_gets_the_bytes_and_the_signature_as_they_were_sent() -> None:
    surface = Surface()
    surface.bus.answers(STRIPE_RECEIVE_WEBHOOK, RECEIVED)
    body = b'{"a" : 1,\r\n "a": 2, "deep": ' + b"[" * 40 + b"]" * 40 + b', "text": "\xc3\xa9\x00"}'

    response = await surface.ask("POST", PATH, headers={"stripe-signature": SIGNATURE}, content=body)

    assert (response.status_code, response.json()) == (200, {"received": True, "event": "evt_1", "repeated": False})
    ((_, command),) = surface.bus.asked
    assert isinstance(command, ReceiveWebhook)
    assert (command.signature, base64.b64decode(command.body)) == (SIGNATURE, body)


@pytest.mark.parametrize(
    ("code", "status"), [(ErrorCode.INVALID, 400), (ErrorCode.UNAVAILABLE, 503), (ErrorCode.INTERNAL, 500)]
)
async def test_what_is_not_stored_is_not_acknowledged(code: ErrorCode, status: int) -> None:
    surface = Surface()
    surface.bus.answers(STRIPE_RECEIVE_WEBHOOK, Refusal(code=code, message="it is not stored"))
    response = await surface.ask("POST", PATH, headers={"stripe-signature": SIGNATURE}, content=b"{}")
    assert response.status_code == status


async def test_huge_bodies_other_methods_and_other_paths_reach_nobody() -> None:
    surface = Surface()
    for method, path, content, status in (
        ("POST", PATH, b"x" * (256 * 1024 + 1), 413),
        ("GET", PATH, b"", 405),
        ("POST", "/webhooks/other", b"{}", 404),
        ("POST", PATH, b"", 400),
    ):
        headers = {"stripe-signature": SIGNATURE if content else "t" * 2001}
        response = await surface.ask(method, path, headers=headers, content=content)
        assert response.status_code == status, (method, path)
    assert surface.bus.asked == []


async def test_an_address_that_sends_forgeries_is_limited_and_stripe_is_not() -> None:
    surface = Surface(webhooks_per_minute=3)
    surface.bus.answers(STRIPE_RECEIVE_WEBHOOK, RECEIVED)

    async def send() -> int:
        headers = {"stripe-signature": SIGNATURE}
        return (await surface.ask("POST", PATH, headers=headers, content=b"{}")).status_code

    assert [await send() for _ in range(10)] == [200] * 10
    surface.bus.answers(STRIPE_RECEIVE_WEBHOOK, Refusal(code=ErrorCode.INVALID, message="no signature fits"))
    assert [await send() for _ in range(5)] == [400, 400, 400, 429, 429]


def test_what_needs_no_credential_is_documented_with_its_reason() -> None:
    section = render().partition("## Without a credential")[2].partition("\n## ")[0]
    for path in (*OPEN_PATHS, f"{SIGN_IN_PREFIX}*", f"POST {STRIPE_PATH}"):
        assert f"`{path}`" in section
    assert f" {REFUSED_PER_MINUTE} refused" in section


@pytest.mark.parametrize("path", ["/api/v1/webhooks/stripe", "/api/v1/webhooks", "/api/webhooks/stripe"])
async def test_similar_addresses_need_a_credential(path: str) -> None:
    surface = Surface()
    response = await surface.ask("POST", path, headers={"stripe-signature": SIGNATURE}, content=b"{}")
    assert error(response) == (401, "invalid_api_key", None)
    assert surface.bus.asked == []
