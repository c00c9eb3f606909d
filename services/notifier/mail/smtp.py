"""Sending of mail by SMTP (RFC 5321), over TLS with certificates checked unless the mail server is this machine."""

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiosmtplib

from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.integration_secrets import IntegrationSecrets, NoSuchSecret
from services.notifier.delivery.outcome import DeliveryOutcome, failed
from services.notifier.mail.message import Mail, build_mail
from services.notifier.settings import NotifierSettings, SmtpSecurity

MAIL_SECONDS = 30.0
"""For a whole exchange with the mail server, whatever the number of recipients."""
_STEP_SECONDS = 10.0
_SMTP_OK = 250
_PERMANENT = 500
_NOT_SET_UP = "this installation sends no mail: its operator has to set KEYFERRY_SMTP_HOST"


@dataclass(slots=True)
class _Progress:
    """How far an exchange came before it broke off."""

    recipients: int
    handing_over: bool = False
    taken: int = 0

    def __str__(self) -> str:
        return f"; it had taken the mail for {self.taken} of {self.recipients} recipients" if self.taken else ""


class Mailer:
    """Sends mails with a process's settings. `tls` replaces the system's trust store."""

    def __init__(
        self, settings: NotifierSettings, secrets: IntegrationSecrets, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._tls = tls or ssl.create_default_context()

    @property
    def is_set_up(self) -> bool:
        """Whether there is a mail server."""
        return self._settings.smtp_host is not None

    async def send(self, mail: Mail, recipients: Sequence[str]) -> DeliveryOutcome:
        """Send one message to each recipient; it is delivered if the server took one at least. Raises nothing."""
        started = time.monotonic()
        if not self.is_set_up:
            return failed(_NOT_SET_UP, 0)
        progress = _Progress(len(recipients))
        try:
            async with asyncio.timeout(MAIL_SECONDS):
                password = await self._password()
                return await self._exchange(mail, recipients, password, started, progress)
        except aiosmtplib.SMTPResponseException as error:
            uncertain = progress.handing_over and not _is_smtp(error)
            return failed(f"{_answered(error)}{progress}", _since(started), status=error.code, uncertain=uncertain)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            reason = f"the mail server cannot be used: {_describe(error)}{progress}"
            return failed(reason, _since(started), uncertain=progress.handing_over)
        except (NoSuchSecret, BusError, Refused) as error:
            return failed(f"the password of the mail server cannot be read: {error}", _since(started))

    async def _password(self) -> Secret | None:
        if self._settings.smtp_user is None:
            return None
        return (await self._secrets.get(PLATFORM_TENANT, IntegrationKind.SMTP_PASSWORD)).current

    async def _exchange(
        self,
        mail: Mail,
        recipients: Sequence[str],
        password: Secret | None,
        started: float,
        progress: _Progress,
    ) -> DeliveryOutcome:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.mail_port,
            use_tls=settings.smtp_tls is SmtpSecurity.IMPLICIT,
            start_tls=settings.smtp_tls is SmtpSecurity.STARTTLS,
            tls_context=None if settings.smtp_tls is SmtpSecurity.OFF else self._tls,
            timeout=_STEP_SECONDS,
        )
        now = datetime.now(UTC)
        refusals: dict[str, aiosmtplib.SMTPResponseException] = {}
        answer = ""
        async with client:
            if password is not None and settings.smtp_user is not None:
                await client.login(settings.smtp_user, password.reveal())
            # Where the server stops after some, the others are among the first of a later attempt.
            for recipient in random.sample(recipients, len(recipients)):
                message = build_mail(mail, settings.smtp_from, recipient, now)
                progress.handing_over = True
                try:
                    _, answer = await client.send_message(message, sender=settings.smtp_from, recipients=[recipient])
                    progress.taken += 1
                except aiosmtplib.SMTPRecipientsRefused as error:
                    refusals[recipient] = error.recipients[0]
                except aiosmtplib.SMTPResponseException as error:
                    if not _is_smtp(error):
                        raise
                    refusals[recipient] = error
        return _outcome(recipients, refusals, answer, _since(started))


def _outcome(
    recipients: Sequence[str], refusals: dict[str, aiosmtplib.SMTPResponseException], answer: str, latency_ms: int
) -> DeliveryOutcome:
    refused = "; ".join(f"{address}: {error.code} {error.message}" for address, error in refusals.items())
    if len(refusals) == len(recipients):
        codes = [error.code for error in refusals.values()]
        return failed(refused, latency_ms, status=codes[0], refused=all(code >= _PERMANENT for code in codes))
    text = f"{answer}; refused: {refused}" if refused else answer
    outcome = failed(text, latency_ms, status=_SMTP_OK)
    return DeliveryOutcome(delivered=True, answer=outcome.answer, latency_ms=latency_ms, status=_SMTP_OK)


def _is_smtp(error: aiosmtplib.SMTPResponseException) -> bool:
    """Return whether an answer has a code of SMTP; the library reports what it cannot read with one below zero."""
    return error.code > 0


def _answered(error: aiosmtplib.SMTPResponseException) -> str:
    if _is_smtp(error):
        return f"the mail server answered {error.code} {error.message}"
    return f"the mail server does not answer as SMTP has it: {error.message}"


def _describe(error: Exception) -> str:
    """Return an error of a connection, without what a certificate or a name server may add at length."""
    return f"{type(error).__name__} {error}".strip()


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
