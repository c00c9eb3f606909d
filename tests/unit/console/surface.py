"""The console's HTTP API with a scripted bus behind it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from keyferry.contracts.access_management import AccessRecorded, RecordAccess
from keyferry.contracts.channels import Q, R
from keyferry.contracts.envelope import Message
from keyferry.contracts.key import KeyStatus, ListKeys, ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ServiceReport
from keyferry.contracts.topology import INTAKE_KEY_GET, KEY_LIST, Subject
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.tracing.telemetry import Telemetry
from keyferry.sealing.intake import IntakeOpener
from services.console.authentication import Principal
from services.console.handlers import build_application, build_document
from services.console.incoming_webhooks import IncomingWebhooks
from services.console.middleware import ManagementMiddleware
from services.console.page.files import PageFiles
from services.console.page.site import PageSite
from services.console.sealing import Sealer
from services.console.service_client import ServiceClient
from services.key_vault.keys.listing import select_keys
from tests.support.servers.operator_only import no_sign_in, operator_only
from tests.support.servers.scripted_bus import ScriptedBus

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
API_URL = "http://gateway.test:8400"
TOKEN = "an-operator-token-of-forty-characters-0123"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
KEY = "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"
VAULT = IntakeOpener(X25519PrivateKey.generate())


@dataclass
class Surface:
    """The console, with each dependency as the test needs it."""

    bus: ScriptedBus = field(default_factory=ScriptedBus)
    waiting: list[str] = field(default_factory=list)
    draining: bool = False
    upload_timeout_seconds: float = 5.0
    failures_per_minute: int = 1_000_000
    webhooks_per_minute: int = 1_000_000
    now_seconds: float = 0.0
    """What the clock of the limit of failures says."""
    accesses: list[RecordAccess] = field(default_factory=list)
    """What was recorded of operators' access."""
    page_dir: Path = Path("/nonexistent")
    """Where the built page is; by default it is not built."""
    principal: Principal | None = None
    """Who every request is from, instead of the operator by the token."""
    reports: list[ServiceReport] = field(default_factory=list)
    """What the processes of the installation answer."""
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("console", {}))
    adapt: Callable[[FastAPI], None] | None = None
    """Changes the routes, which are then built for this surface only."""

    def __post_init__(self) -> None:
        self.bus.answers(INTAKE_KEY_GET, VAULT.intake_key)

    def build_application(self) -> FastAPI:
        """Return the routes, connected to this surface."""
        app = _routes(self) if self.adapt is not None else _shared_routes()
        if self.adapt is not None:
            self.adapt(app)
        return app

    @cached_property
    def middleware(self) -> ManagementMiddleware:
        app = self.build_application()

        async def shared(scope: Scope, receive: Receive, send: Send) -> None:
            _current[:] = [self]
            await app(scope, receive, send)

        return ManagementMiddleware(
            shared,
            authenticate=self._authenticate,
            sign_in=no_sign_in,
            page=PageSite(PageFiles(self.page_dir, {"api_url": API_URL, "version": "0.0"}), API_URL),
            webhooks=IncomingWebhooks(ServiceClient(self._ask_webhook), AddressLimiter(self.webhooks_per_minute)),
            waiting_for=lambda: self.waiting,
            telemetry=self.telemetry,
            upload_timeout_seconds=self.upload_timeout_seconds,
            failures=AddressLimiter(self.failures_per_minute),
            clock=lambda: self.now_seconds,
        )

    async def _authenticate(self, scope: Scope) -> Principal:
        return self.principal or await operator_only(Secret(TOKEN))(scope)

    async def _ask_webhook(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        return await self.answer(subject, question, timeout_seconds)

    async def answer(self, subject: Subject[Q, R], question: Q, timeout_seconds: float) -> R:
        """Answer a request of the console. Records of operators' access are kept apart unless the test answers them."""
        if isinstance(question, RecordAccess) and subject.name not in self.bus.owners:
            self.accesses.append(question)
            return subject.decode_reply(AccessRecorded().encode())
        return await self.bus.ask(subject, question, timeout_seconds=timeout_seconds)

    async def ask(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] = AUTHORIZED, **more: Any
    ) -> httpx.Response:
        """Send a request; `body` is sent as JSON unless None."""
        transport = httpx.ASGITransport(app=cast(Any, self.middleware))
        async with httpx.AsyncClient(transport=transport, base_url="http://console.test") as client:
            if body is not None:
                more["content"] = json.dumps(body)
                headers = {"content-type": "application/json", **headers}
            return await client.request(method, path, headers=headers, **more)

    def store(self, *keys: ProviderKey) -> None:
        """Give the tenant these keys, which are listed as the vault lists them."""

        def listed(query: Message) -> Message:
            assert isinstance(query, ListKeys)
            return select_keys(keys, query)

        self.bus.answers(KEY_LIST, listed)

    def open_sealed(self, sealed: str, tenant: str, provider: str, origin: str) -> str:
        """Open a sealed key as the vault does."""
        return VAULT.open(sealed, tenant, provider, origin).reveal()


_current: list[Surface] = []
"""The surface of the current request: building the routes is slow, so most surfaces share them."""


def _routes(surface: Surface | None) -> FastAPI:
    def current() -> Surface:
        return surface or _current[0]

    async def ask(subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        return await current().answer(subject, question, timeout_seconds)

    async def collect() -> list[ServiceReport]:
        return current().reports

    return build_application(
        ask=ask,
        collect=collect,
        sealer=Sealer(VAULT.intake_key.public_key, own=[Secret(TOKEN)]),
        clock=lambda: NOW,
        waiting_for=lambda: current().waiting,
        draining=lambda: current().draining,
    )


@cache
def _shared_routes() -> FastAPI:
    return _routes(None)


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of the routes, which takes nearly a second to build."""
    return build_document()


def stored(key_id: str = "key_0001", **changes: Any) -> ProviderKey:
    """Return a stored key."""
    values: dict[str, Any] = {
        "key_id": key_id,
        "tenant": "platform",
        "provider": "openai",
        "label": "main",
        "status": KeyStatus.VALID,
        "version": 1,
        "origin": "https://api.openai.com",
        "base_url": "https://api.openai.com/v1",
        "masked": "sk-…A9f2",
        "fingerprint": "0123456789abcdef",
        "created_at": NOW,
        "created_by": "operator",
    }
    return ProviderKey.model_validate(values | changes)


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    """Check the shape of an error and return its status, code and param."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code", "keyferry"}
    assert body["error"]["message"]
    assert body["error"]["keyferry"]["request_id"] == response.headers["x-request-id"]
    return response.status_code, body["error"]["code"], body["error"]["param"]
