"""The mail catcher by the SMTP client of the standard library: TLS, sign-in, failures, and its page."""

import smtplib
import ssl
from email.message import EmailMessage

import httpx
import pytest

from deploy.billing_demo.mail.server import MailCatcher, MailSecurity
from tests.support.billing.mail_catcher import running_mail_catcher_in_background

PASSWORD = "mail-password"


def message(subject: str = "Low balance: Ünïcode") -> EmailMessage:
    """Return a mail with an attachment."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "keyferry@localhost", "a@acme.test", subject
    mail.set_content("Your credits are low.\n")
    mail.add_attachment(b"a,b\n", maintype="text", subtype="csv", filename="usage.csv")
    return mail


def connect(catcher: MailCatcher) -> smtplib.SMTP:
    """Connect in the way that the server wants."""
    if catcher.security is MailSecurity.OFF:
        return smtplib.SMTP("127.0.0.1", catcher.smtp_port)
    trusted = ssl.create_default_context(cadata=catcher.certificate)
    if catcher.security is MailSecurity.IMPLICIT:
        return smtplib.SMTP_SSL("127.0.0.1", catcher.smtp_port, context=trusted)
    client = smtplib.SMTP("127.0.0.1", catcher.smtp_port)
    client.starttls(context=trusted)
    return client


@pytest.mark.parametrize("security", list(MailSecurity))
def test_a_mail_is_kept_with_its_envelope(security: MailSecurity) -> None:
    with running_mail_catcher_in_background(security=security, user="keyferry", password=PASSWORD) as catcher:
        with connect(catcher) as client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("keyferry", "wrong")
        with connect(catcher) as client:
            client.login("keyferry", PASSWORD)
            client.send_message(message())
        (mail,) = catcher.mailbox.to("a@acme.test")
        assert (mail.subject, mail.text) == ("Low balance: Ünïcode", "Your credits are low.\r\n")
        assert (mail.secure, mail.user) == (security is not MailSecurity.OFF, "keyferry")
        assert mail.attachments() == {"usage.csv": b"a,b\n"}


def test_without_tls_or_sign_in_nothing_is_taken() -> None:
    with running_mail_catcher_in_background(
        security=MailSecurity.STARTTLS, user="keyferry", password=PASSWORD
    ) as catcher:
        with smtplib.SMTP("127.0.0.1", catcher.smtp_port) as client, pytest.raises(smtplib.SMTPException):
            client.send_message(message())
        with connect(catcher) as client, pytest.raises(smtplib.SMTPException):
            client.send_message(message())
        assert not catcher.mailbox.mails


def test_faults_are_answered_as_mail_servers_do() -> None:
    with running_mail_catcher_in_background() as catcher:
        catcher.faults.answers = ["451 4.3.0 try later"]
        catcher.faults.refused = {"gone@acme.test"}
        with connect(catcher) as client:
            with pytest.raises(smtplib.SMTPDataError) as caught:
                client.send_message(message())
            assert caught.value.smtp_code == 451
            refused = client.send_message(message(), to_addrs=["gone@acme.test", "a@acme.test"])
        assert list(refused) == ["gone@acme.test"]
        assert len(catcher.mailbox.to("a@acme.test")) == 1


def test_the_page_shows_mails_without_running_what_is_in_them() -> None:
    with running_mail_catcher_in_background() as catcher:
        with connect(catcher) as client:
            client.send_message(message("<script>alert(1)</script>"))
        page = httpx.get(catcher.url)
        assert "&lt;script&gt;" in page.text
        assert "<script>" not in page.text
        (listed,) = httpx.get(f"{catcher.url}/messages", params={"to": "a@acme.test"}).json()
        assert (listed["subject"], listed["attachments"]) == ("<script>alert(1)</script>", ["usage.csv"])
        attachment = httpx.get(f"{catcher.url}/messages/{listed['number']}/attachments/usage.csv")
        assert attachment.content == b"a,b\n"
        assert httpx.delete(f"{catcher.url}/messages").status_code == 204
        assert httpx.get(f"{catcher.url}/messages").json() == []
        assert httpx.get(f"{catcher.url}/messages/1").status_code == 404
