"""Settings of the notifier."""

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.membership import EmailAddress
from keyferry.runtime.process.settings import DatabaseSettings, Networks

_STANDARD_PORTS = {"starttls": 587, "implicit": 465, "off": 25}


class SmtpSecurity(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    OFF = "off"
    """Not at all: only for a mail server on this machine."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class NotifierSettings(DatabaseSettings):
    """Settings of a notifier process. The password of the mail server is an integration secret of the kind `smtp_password`."""

    smtp_host: str | None = None
    """The mail server; null sends no mail."""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Null for the usual port: 587 with starttls, 465 with implicit TLS, 25 without."""
    smtp_user: str | None = None
    """The name to sign in with; null does not sign in."""
    smtp_from: str = "keyferry@localhost"
    """The address that mails are from."""
    smtp_tls: SmtpSecurity = SmtpSecurity.STARTTLS
    egress_allow: Networks = ()
    """Networks that webhooks and chats may be in although they are private, or with plain HTTP or unusual ports."""

    @model_validator(mode="after")
    def _check_mail(self) -> Self:
        try:
            TypeAdapter(EmailAddress).validate_python(self.smtp_from)
        except ValidationError:
            raise PydanticCustomError("smtp", "KEYFERRY_SMTP_FROM has to be an e-mail address in ASCII") from None
        if self.smtp_host is not None and self.smtp_tls is SmtpSecurity.OFF and not is_loopback(self.smtp_host):
            raise PydanticCustomError(
                "smtp", "KEYFERRY_SMTP_TLS=off is only for a mail server on this machine: use starttls or implicit"
            )
        return self

    @property
    def mail_port(self) -> int:
        """The port of the mail server."""
        return self.smtp_port or _STANDARD_PORTS[self.smtp_tls]
