"""How a mail is built: a text, a simple page of the same text, and attachments.

Headers are made by the standard library's policy, which refuses line breaks; texts are cleaned before, so that none gets there.
Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from keyferry.contracts.text import clean, printable

_MAX_SUBJECT = 150
_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"></head><body style="font-family:sans-serif;line-height:1.5">'
    "{body}</body></html>"
)


@dataclass(frozen=True, slots=True)
class MailAttachment:
    """A text file of a mail."""

    name: str
    kind: str
    """The subtype of `text/`, such as `csv`."""
    text: str


@dataclass(frozen=True, slots=True)
class Mail:
    """What is mailed. `message_id` is the same each time it is tried, so that mail programs show one of two copies."""

    subject: str
    text: str
    message_id: str
    html: str | None = None
    """The page; null for one that is made of the text."""
    attachments: Sequence[MailAttachment] = ()


def build_mail(mail: Mail, sender: str, recipient: str, at: datetime) -> EmailMessage:
    """Return the message for one recipient: nobody sees the others. Raises ValueError for an unusable sender."""
    message = EmailMessage(policy=SMTP)
    message["Subject"] = clean(mail.subject, _MAX_SUBJECT)
    message["From"] = Address("Keyferry", addr_spec=sender)
    message["To"] = Address(addr_spec=recipient)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{mail.message_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    text = printable(mail.text)
    message.set_content(text)
    message.add_alternative(printable(mail.html) if mail.html is not None else page_of(text), subtype="html")
    for attachment in mail.attachments:
        message.add_attachment(printable(attachment.text), subtype=attachment.kind, filename=attachment.name)
    return message


def page_of(text: str) -> str:
    """Return a page that shows `text`, with its line breaks."""
    return html_page("<br>".join(escape(line) for line in text.split("\n")))


def html_page(body: str) -> str:
    """Return a whole page around `body`, which is HTML already."""
    return _PAGE.format(body=body)
