"""What notifications say: alerts, digests, messages to owners and codes, as mail and as a chat message. Pure."""

from collections.abc import Sequence
from datetime import datetime

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alerts import AlertState
from keyferry.contracts.money import plain
from keyferry.contracts.text import clean
from services.notifier.mail.message import Mail

_MAX_SHOWN = 50
"""Notifications that a digest shows one by one."""
_MAX_CHAT = 3000
_STATES = {AlertState.FIRED: "Alert", AlertState.ACKNOWLEDGED: "Acknowledged", AlertState.RESOLVED: "Resolved"}
_TIME = "%Y-%m-%d %H:%M:%SZ"


def describe_alert(change: AlertChanged) -> tuple[str, str]:
    """Return the subject and the text of one change of an alert."""
    lines = [
        change.text or change.title,
        "",
        f"Tenant: {change.tenant}",
        f"Rule: {change.rule_name} ({change.rule_id})",
    ]
    if change.subject:
        lines.append(f"About: {change.subject}")
    lines.append(f"Severity: {change.severity}")
    for name, value in (("Value", change.value), ("Threshold", change.threshold)):
        if value is not None:
            lines.append(f"{name}: {plain(value)} {change.unit}".rstrip())
    lines.append(f"Since: {change.since:{_TIME}}")
    if change.at != change.since:
        lines.append(f"At: {change.at:{_TIME}}")
    if change.actor is not None:
        lines.append(f"By: {change.actor}")
    lines.append(f"Alert: {change.alert_id}")
    return f"{_STATES[change.state]}: {change.title}", "\n".join(lines)


def alert_mail(change: AlertChanged) -> Mail:
    """Return the mail about one change of an alert."""
    subject, text = describe_alert(change)
    return Mail(subject=f"[{change.tenant}] {subject}", text=text, message_id=change.message_id)


def digest_mail(changes: Sequence[AlertChanged]) -> Mail:
    """Return one mail about what quiet hours held back, oldest first. Needs at least one change."""
    first = changes[0]
    subject = f"[{first.tenant}] {len(changes)} notifications of the quiet hours"
    return Mail(subject=subject, text="\n".join(_digest_lines(changes)), message_id=f"digest.{first.message_id}")


def alert_chat(change: AlertChanged) -> str:
    """Return the chat message about one change of an alert."""
    subject, text = describe_alert(change)
    return _chat(f"{subject}\n{text}")


def digest_chat(changes: Sequence[AlertChanged]) -> str:
    """Return one chat message about what quiet hours held back, oldest first."""
    return _chat("\n".join(_digest_lines(changes)))


def confirmation_mail(tenant: str, address: str, code: str) -> Mail:
    """Return the mail with the code that confirms an address. It repeats nothing that the tenant could choose but its name."""
    text = (
        f"The tenant {tenant} of this Keyferry installation wants to send notifications to {address}.\n\n"
        f"If that is right, give them this code: {code}\n\n"
        "It is valid for seven days. If you know nothing of it, do nothing: you will receive no notifications."
    )
    return Mail(subject=f"Code to confirm this address: {code}", text=text, message_id=f"code.{tenant}.{code}")


def channel_test_mail(tenant: str, name: str, at: datetime, message_id: str) -> Mail:
    """Return a test of a channel."""
    text = f"This is a test of the channel {name} of {tenant}, sent at {at:{_TIME}}. Nothing has happened."
    return Mail(subject=f"[{tenant}] Test of the channel {name}", text=text, message_id=message_id)


def switched_off_mail(tenant: str, target_id: str, name: str, reason: str, notice_id: str) -> Mail:
    """Return the notice to a tenant's owners that one of its channels or endpoints was switched off."""
    what = "channel" if target_id.startswith("chn_") else "webhook endpoint"
    text = (
        f"The {what} {name} ({target_id}) of {tenant} was switched off.\n\n{reason}\n\n"
        "What waits for it is kept for three days. Mend it, and enable it again on the page Webhooks or with the command line."
    )
    return Mail(subject=f"[{tenant}] The {what} {name} was switched off", text=text, message_id=notice_id)


def _digest_lines(changes: Sequence[AlertChanged]) -> list[str]:
    lines = [f"Quiet hours held back {len(changes)} notifications:", ""]
    for change in changes[:_MAX_SHOWN]:
        lines.append(f"{change.at:{_TIME}}  {_STATES[change.state]}: {change.title} ({change.rule_name})")
    if len(changes) > _MAX_SHOWN:
        lines.append(f"and {len(changes) - _MAX_SHOWN} more, which the page Alerts shows")
    return lines


def _chat(text: str) -> str:
    """Return text without the three characters that Slack gives a meaning, so that no name makes a link or a mention."""
    cut = "\n".join(clean(line, _MAX_CHAT) for line in text[:_MAX_CHAT].split("\n"))
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
