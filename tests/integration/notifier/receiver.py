"""Receivers of webhooks and mails that keep what they get, and answer what a test wants."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.secret import Secret
from keyferry.runtime.integration_secrets import NoSuchSecret, SecretVersions


@dataclass(frozen=True)
class ReceivedHook:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[ReceivedHook], Awaitable[web.StreamResponse]]


async def _accept(_: ReceivedHook) -> web.StreamResponse:
    return web.Response(text="thanks")


class HookReceiver:
    """An HTTP server at loopback. `answers` has the answer by path; others are accepted."""

    def __init__(self) -> None:
        self.received: list[ReceivedHook] = []
        self.answers: dict[str, Answer] = {}
        self.url = ""

    async def __aenter__(self) -> "HookReceiver":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        server: Any = site._server
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def bodies(self, path: str) -> list[bytes]:
        """Return the bodies that came to a path, in order."""
        return [hook.body for hook in self.received if hook.path == path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        hook = ReceivedHook(
            request.path, {name.lower(): value for name, value in request.headers.items()}, await request.read()
        )
        self.received.append(hook)
        return await self.answers.get(request.path, _accept)(hook)


def answering(status: int, text: str = "", headers: dict[str, str] | None = None) -> Answer:
    """Return an answer that is always the same."""

    async def answer(_: ReceivedHook) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return answer


def waiting_for(event: asyncio.Event) -> Answer:
    """Return an answer that comes once the event is set."""

    async def answer(_: ReceivedHook) -> web.StreamResponse:
        await event.wait()
        return web.Response()

    return answer


@dataclass
class MailReceiver:
    """An SMTP server at loopback. `refused` are recipients that it does not take."""

    refused: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, EmailMessage]] = field(default_factory=list)
    """Recipient and message, in order."""
    tls: ssl.SSLContext | None = None
    """With a certificate, for STARTTLS; null for none."""

    async def __aenter__(self) -> "MailReceiver":
        server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", 0)
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def _connection(self) -> SMTP:
        return SMTP(self, tls_context=self.tls, require_starttls=self.tls is not None)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _s: SMTP, _i: Session, envelope: Envelope, address: str, _o: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.received += [(address, message) for address in envelope.rcpt_tos]
        return "250 taken"


class KnownSecrets:
    """Stands for the vault's client: has the secrets that a test put into it."""

    def __init__(self) -> None:
        self.by_id: dict[str | None, SecretVersions] = {}

    def put(self, secret_id: str | None, current: str, previous: str | None = None) -> None:
        """Add a secret."""
        before = None if previous is None else Secret(previous)
        self.by_id[secret_id] = SecretVersions(str(secret_id), 1, Secret(current), before)

    async def get(self, tenant: str, kind: IntegrationKind, secret_id: str | None = None) -> SecretVersions:
        """Return a secret. Raises NoSuchSecret."""
        if secret_id not in self.by_id:
            raise NoSuchSecret("there is no such secret")
        return self.by_id[secret_id]
