"""The mail server and its page: SMTP without TLS, with STARTTLS or with TLS from the first byte, and sign-in."""

import asyncio
import hmac
import ssl
import warnings
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import Any, Self

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from deploy.billing_demo.mail.certificate import make_certificate
from deploy.billing_demo.mail.mailbox import CaughtMail, Mailbox
from keyferry.contracts.text import parse_digits

LOOPBACK = "127.0.0.1"
_MOST_BYTES = 30_000_000
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap}"
)


class MailSecurity(StrEnum):
    """How a connection to the server is protected."""

    OFF = "off"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass
class MailFaults:
    """How the server misbehaves. `answers` are given to the next mails in place of taking them, such as `451 later`."""

    answers: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Recipients that there are not."""
    delay_seconds: float = 0.0


class _Handler:
    """Takes mails for aiosmtpd, which calls these methods by their names."""

    def __init__(self, mailbox: Mailbox, faults: MailFaults, *, secure: bool) -> None:
        self._mailbox = mailbox
        self._secure = secure
        self._faults = faults

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._faults.refused:
            return "550 5.1.1 there is no such mailbox here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self._faults.delay_seconds:
            await asyncio.sleep(self._faults.delay_seconds)
        if self._faults.answers:
            return self._faults.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes), "the server does not decode mails"
        login: Any = session.auth_data
        user = login.decode() if login is not None else None
        mail = self._mailbox.add(
            envelope.mail_from or "",
            envelope.rcpt_tos,
            content,
            secure=self._secure or session.ssl is not None,
            user=user,
        )
        return f"250 2.0.0 kept as {mail.number}"


@dataclass
class MailCatcher:
    """A mail server on loopback. `async with` starts and stops it; ports 0 take free ones.

    With a user it takes mails only after a sign-in with the password. `certificate` is what clients have to trust.
    """

    smtp_port: int = 0
    http_port: int = 0
    security: MailSecurity = MailSecurity.OFF
    user: str | None = None
    password: str = ""
    mailbox: Mailbox = field(default_factory=Mailbox)
    faults: MailFaults = field(default_factory=MailFaults)
    certificate: str = ""

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where its page is."""
        return f"http://{LOOPBACK}:{self.http_port}"

    async def __aenter__(self) -> Self:
        context: ssl.SSLContext | None = None
        if self.security is not MailSecurity.OFF:
            context, self.certificate = make_certificate()
        implicit = self.security is MailSecurity.IMPLICIT
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._protocol(None if implicit else context),
            LOOPBACK,
            self.smtp_port,
            ssl=context if implicit else None,
        )
        self.smtp_port = int(self._server.sockets[0].getsockname()[1])
        self._runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.http_port).start()
        self.http_port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _protocol(self, context: ssl.SSLContext | None) -> SMTP:
        with warnings.catch_warnings():
            # aiosmtpd warns of sign-ins without its own TLS; here they are on loopback, or the whole connection uses TLS.
            warnings.simplefilter("ignore")
            return SMTP(
                _Handler(self.mailbox, self.faults, secure=self.security is MailSecurity.IMPLICIT),
                hostname="localhost",
                ident="Keyferry mail catcher",
                enable_SMTPUTF8=True,
                data_size_limit=_MOST_BYTES,
                tls_context=context,
                require_starttls=context is not None,
                auth_required=self.user is not None,
                auth_require_tls=self.security is MailSecurity.STARTTLS,
                authenticator=self._authenticate,
            )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        if mechanism not in ("LOGIN", "PLAIN") or not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        known = hmac.compare_digest(data.login, (self.user or "").encode())
        right = hmac.compare_digest(data.password, self.password.encode())
        return AuthResult(success=known and right and self.user is not None, handled=False, auth_data=data.login)

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/", self._index)
        application.router.add_get("/messages", self._list)
        application.router.add_delete("/messages", self._clear)
        application.router.add_get("/messages/{number}", self._show)
        application.router.add_get("/messages/{number}/raw", self._raw)
        application.router.add_get("/messages/{number}/attachments/{name}", self._attachment)
        return application

    async def _list(self, request: web.Request) -> web.StreamResponse:
        recipient = request.query.get("to")
        found = self.mailbox.mails if recipient is None else self.mailbox.to(recipient)
        return web.json_response([mail.to_json() for mail in reversed(found)])

    async def _clear(self, _: web.Request) -> web.StreamResponse:
        self.mailbox.clear()
        return web.Response(status=204)

    def _mail(self, request: web.Request) -> CaughtMail:
        found = self.mailbox.find(parse_digits(request.match_info["number"]) or 0)
        if found is None:
            raise web.HTTPNotFound(text="there is no such mail")
        return found

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._mail(request).to_json())

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._mail(request).raw, content_type="text/plain")

    async def _attachment(self, request: web.Request) -> web.StreamResponse:
        content = self._mail(request).attachments().get(request.match_info["name"])
        if content is None:
            raise web.HTTPNotFound(text="the mail has no such attachment")
        return web.Response(body=content, content_type="application/octet-stream")

    async def _index(self, _: web.Request) -> web.StreamResponse:
        rows = "".join(_article(mail) for mail in reversed(self.mailbox.mails)) or "<p>No mail has come yet.</p>"
        title = "Mails of this demo"
        text = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
            f"<body><main><h1>{title}</h1>{rows}</main></body></html>"
        )
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return web.Response(text=text, content_type="text/html", headers=headers)


def _article(mail: CaughtMail) -> str:
    at, to = mail.received_at.strftime("%Y-%m-%d %H:%M:%S UTC"), ", ".join(mail.recipients)
    links = "".join(
        f'<li><a href="/messages/{mail.number}/attachments/{escape(name)}">{escape(name)}</a></li>'
        for name in sorted(mail.attachments())
    )
    return (
        f"<article><h2>{escape(mail.subject)}</h2><p>{at}, from {escape(mail.sender)} to {escape(to)}</p>"
        f"<pre>{escape(mail.text)}</pre><ul>{links}</ul></article>"
    )
