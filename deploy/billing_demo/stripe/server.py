"""The double of Stripe as an HTTP server: the API, the pages that people pay on, and a control interface for tests."""

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from deploy.billing_demo.faults import FailureKind
from deploy.billing_demo.stripe.api import StripeAnswer, StripeApi, StripeRequest
from deploy.billing_demo.stripe.control import add_control_routes
from deploy.billing_demo.stripe.events import new_endpoint
from deploy.billing_demo.stripe.pages import add_pages
from deploy.billing_demo.stripe.problem import JsonObject
from deploy.billing_demo.stripe.state import StripeState
from deploy.billing_demo.stripe.webhooks import StripeWebhookSender

DEMO_API_KEY = "sk_test_" + "keyferrydemo" * 2
LOOPBACK = "127.0.0.1"
_MAX_BODY = 1_000_000


@dataclass
class StripeDouble:
    """One account of Stripe on a loopback address. `async with` starts and stops it; port 0 takes a free one."""

    port: int = 0
    api_key: str = DEMO_API_KEY
    state: StripeState = field(default_factory=StripeState)

    def __post_init__(self) -> None:
        self.api = StripeApi(self.state, self.api_key)
        self.webhooks = StripeWebhookSender(self.state)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.state.base_url

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=_MAX_BODY)
        add_pages(application, self.state)
        add_control_routes(application, self.state, self.api, self.webhooks)
        application.router.add_route("*", "/v1/{rest:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()
        self.port = int(self._runner.addresses[0][1])
        self.state.base_url = f"http://{LOOPBACK}:{self.port}"
        await self.webhooks.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.webhooks.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def add_endpoint(self, url: str, secret: str, enabled_events: tuple[str, ...] = ("*",)) -> JsonObject:
        """Add a webhook endpoint with a known secret; return it."""
        return new_endpoint(self.state, url, list(enabled_events), secret)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        asked = StripeRequest(
            method=request.method,
            path=request.path,
            form="&".join(part for part in (request.query_string, body) if part),
            key=_key_of(request.headers.get("Authorization", "")),
            idempotency_key=request.headers.get("Idempotency-Key", ""),
            version=request.headers.get("Stripe-Version", ""),
        )
        failure = self.api.failures.take(request.method, request.path, after_effect=True)
        answer = self.api.answer(asked)
        if failure is not None and failure.kind is FailureKind.LOST_ANSWER and request.transport is not None:
            request.transport.abort()
        if failure is not None and failure.kind is FailureKind.LATE_ANSWER:
            await asyncio.sleep(failure.seconds)
        return _response(answer)


def _response(answer: StripeAnswer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers, content_type="application/json")


def _key_of(header: str) -> str:
    """Return the API key of a header: as a bearer token, or as the user name of basic authentication."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except ValueError:
            return ""
    return value.strip() if kind.lower() == "bearer" else ""
