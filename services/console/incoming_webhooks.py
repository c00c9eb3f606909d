"""The route by which payment providers deliver events: no session, the body exactly as it was sent, and a limit per address."""

import base64
import json
import time

from keyferry.contracts.payment_management import STRIPE_RECEIVE_WEBHOOK
from keyferry.contracts.stripe_events import ReceiveWebhook
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.http.asgi import Receive, Scope, Send, get_header
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.service_client import ServiceClient

WEBHOOK_PREFIX = "/webhooks/"
"""Under it, other companies' systems deliver events. A signature of the body, which the billing verifies, shows whose it is."""
STRIPE_PATH = "/webhooks/stripe"
REFUSED_PER_MINUTE = 60
"""Of one address. What Stripe signed does not count, so that its bursts are taken."""
_MAX_HEADER = 2000
_SECONDS = 15.0
"""Stripe waits for at most 20."""
_UNPROCESSABLE = 422


class IncomingWebhooks:
    """An ASGI application. Each request was read whole by the middleware, up to its limit."""

    def __init__(self, services: ServiceClient, limiter: AddressLimiter) -> None:
        self._services = services
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises HttpProblem: 400 for what is not Stripe's, 429 for too much of that, 503 in an outage."""
        if scope["path"] != STRIPE_PATH:
            raise HttpProblem(404, INVALID_REQUEST, "unknown_url", f"events of Stripe are taken at {STRIPE_PATH}")
        if scope["method"] != "POST":
            headers = {"allow": "POST"}
            message = "events are delivered by POST"
            raise HttpProblem(405, INVALID_REQUEST, "method_not_allowed", message, headers=headers)
        client = scope.get("client")
        address = client[0] if client else ""
        if seconds := self._limiter.retry_after_seconds(address, time.monotonic()):
            message = f"too many webhooks of your address were refused; try again in {seconds} s"
            headers = {"retry-after": str(seconds)}
            raise HttpProblem(429, "rate_limit_error", "too_many_attempts", message, headers=headers)
        try:
            answer = await self._pass_on(scope, (await receive())["body"])
        except HttpProblem as problem:
            if problem.status == _UNPROCESSABLE:
                self._limiter.count(address, time.monotonic())
                raise HttpProblem(400, INVALID_REQUEST, "invalid_webhook", problem.message) from None
            raise
        headers_ = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers_})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    async def _pass_on(self, scope: Scope, body: bytes) -> bytes:
        """Have the billing store the event; return the answer for its sender. Raises HttpProblem."""
        header = get_header(scope, b"stripe-signature") or ""
        if not header.isascii() or not header.isprintable() or len(header) > _MAX_HEADER:
            raise HttpProblem(
                _UNPROCESSABLE, INVALID_REQUEST, "invalid_webhook", "the header Stripe-Signature cannot be read"
            )
        command = ReceiveWebhook(signature=header, body=base64.b64encode(body).decode())
        received = await self._services.change(STRIPE_RECEIVE_WEBHOOK, command, timeout_seconds=_SECONDS)
        return json.dumps({"received": True, "event": received.event_id, "repeated": received.repeated}).encode()


def is_webhook(path: str) -> bool:
    """Return whether a request is an event of another company's system, for which there is no credential."""
    return path.startswith(WEBHOOK_PREFIX)
