"""Signatures of webhooks, verified by Stripe's own library with each secret that is valid; the time is limited both ways."""

from collections.abc import Sequence
from datetime import datetime

from keyferry.contracts.secret import Secret
from keyferry.contracts.text import parse_digits

TOLERANCE_SECONDS = 300
"""How old a webhook may be. Stripe signs each delivery anew, also repeated ones."""
MAX_AHEAD_SECONDS = 300
"""How far its clock may be ahead. Stripe's library has no such limit, so that a stamp of the far future would never expire."""


class UnverifiedWebhook(Exception):
    """The webhook is not shown to be Stripe's; the message says why."""


def verify(body: bytes, header: str, secrets: Sequence[Secret], now: datetime) -> None:
    """Verify that a body was signed with one of the secrets, about now. Raises UnverifiedWebhook."""
    from stripe import SignatureVerificationError, WebhookSignature  # slow to load

    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise UnverifiedWebhook("the body is not UTF-8") from None
    stamp = _timestamp(header)
    for secret in secrets:
        try:
            WebhookSignature.verify_header(text, header, secret.reveal())
        except SignatureVerificationError:
            continue
        _check_time(stamp, now)
        return
    raise UnverifiedWebhook(
        "no signature fits: the webhook was not sent by Stripe, was changed on the way, or its secret is not the one that is"
        " saved (kind stripe_webhook_secret)"
    )


def _timestamp(header: str) -> int:
    stamps = [part.strip()[2:] for part in header.split(",") if part.strip().startswith("t=")]
    stamp = parse_digits(stamps[0]) if len(stamps) == 1 else None
    if stamp is None:
        raise UnverifiedWebhook("the header Stripe-Signature is missing, or has not exactly one time")
    return stamp


def _check_time(stamp: int, now: datetime) -> None:
    age = int(now.timestamp()) - stamp
    if age > TOLERANCE_SECONDS:
        raise UnverifiedWebhook(f"it was signed {age} s ago, more than the {TOLERANCE_SECONDS} s that are accepted")
    if -age > MAX_AHEAD_SECONDS:
        raise UnverifiedWebhook(f"it was signed {-age} s in the future: compare the clocks")
