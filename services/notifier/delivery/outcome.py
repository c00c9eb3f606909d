"""What came of one attempt to deliver. Pure."""

from dataclasses import dataclass

from keyferry.contracts.notification_channels import DeliveryTest
from keyferry.contracts.text import clean

MAX_ANSWER = 500
"""Characters of an answer that are kept."""
_HTTP_GONE = 410
_HTTP_OK = range(200, 300)
_HTTP_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STATUSES = range(1000)


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """Whether the target took it, and what it answered."""

    delivered: bool
    answer: str
    """Cleaned, at most MAX_ANSWER characters."""
    latency_ms: int
    status: int | None = None
    gone: bool = False
    """Whether the target says that it is there no more."""
    refused: bool = False
    """Whether the target will never take this, so that it is not tried again."""
    uncertain: bool = False
    """Whether it may have been delivered although there is no answer."""


def of_http(status: int, body: bytes, latency_ms: int, *, whole: bool = True) -> DeliveryOutcome:
    """Return the outcome of an answered HTTP request. `whole` says whether the body was read to its end."""
    note = "" if whole else " (the rest was not read)"
    text = body.decode("utf-8", "replace")
    if status in _HTTP_REDIRECTS:
        text = f"it answered {status}, a redirect, which is not followed: save the address that it leads to. {text}"
    answer = clean(text, MAX_ANSWER - len(note)) + note
    return DeliveryOutcome(
        delivered=status in _HTTP_OK,
        status=status,
        answer=answer.strip() or f"status {status}, no text",
        latency_ms=latency_ms,
        gone=status == _HTTP_GONE,
    )


def failed(
    reason: str, latency_ms: int, *, refused: bool = False, status: int | None = None, uncertain: bool = False
) -> DeliveryOutcome:
    """Return the outcome of an attempt without a usable answer. A `status` that no protocol has is left out."""
    return DeliveryOutcome(
        delivered=False,
        status=status if status in _STATUSES else None,
        answer=clean(reason, MAX_ANSWER),
        latency_ms=latency_ms,
        refused=refused,
        uncertain=uncertain,
    )


def shown_test(outcome: DeliveryOutcome) -> DeliveryTest:
    """Return the outcome of a test for people."""
    return DeliveryTest(
        delivered=outcome.delivered, status=outcome.status, latency_ms=outcome.latency_ms, answer=outcome.answer
    )
