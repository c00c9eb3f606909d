"""The mails that a server got, as people and tests read them."""

import email
import email.policy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

_MOST = 1000


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One mail: its envelope, its text and its attachments."""

    number: int
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    secure: bool
    """Whether it came over TLS."""
    user: str | None
    """The name that the sender signed in with."""

    @property
    def message(self) -> EmailMessage:
        """The mail with its headers and parts."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return str(self.message["subject"] or "")

    @property
    def text(self) -> str:
        """The plain text."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML text, empty if there is none."""
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return str(part.get_content()) if part is not None else ""

    def attachments(self) -> dict[str, bytes]:
        """Return the attachments by their names."""
        found: dict[str, bytes] = {}
        for part in self.message.iter_attachments():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes), "a part that is no container has bytes"
            found[part.get_filename() or f"part-{len(found) + 1}"] = content
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "from": self.sender,
            "to": list(self.recipients),
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "attachments": sorted(self.attachments()),
            "secure": self.secure,
            "user": self.user,
        }


@dataclass
class Mailbox:
    """The last thousand mails, the oldest first."""

    mails: list[CaughtMail] = field(default_factory=list)
    _count: int = 0

    def add(self, sender: str, recipients: list[str], raw: bytes, *, secure: bool, user: str | None) -> CaughtMail:
        """Keep a mail; return it."""
        self._count += 1
        mail = CaughtMail(self._count, datetime.now(UTC), sender, tuple(recipients), raw, secure, user)
        self.mails = [*self.mails[-_MOST + 1 :], mail]
        return mail

    def to(self, recipient: str) -> list[CaughtMail]:
        """Return the mails to a recipient, the oldest first."""
        return [mail for mail in self.mails if recipient in mail.recipients]

    def find(self, number: int) -> CaughtMail | None:
        """Return the mail with a number."""
        return next((mail for mail in self.mails if mail.number == number), None)

    def clear(self) -> None:
        """Forget all mails."""
        self.mails = []
