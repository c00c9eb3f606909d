"""How long a provider asks to wait, in milliseconds.

Sources: RFC 9110, section 10.2.3 (`Retry-After`: seconds or a date); `retry-after-ms` as the official OpenAI SDK reads
it; OpenRouter's `X-RateLimit-Reset` (Unix time in milliseconds) inside `error.metadata.headers`. Dates are relative to
the response's own `date` header, so that the clocks of two machines need not agree; without it a date is ignored.
OpenAI, Groq, Azure and Google also write the wait into their messages, and some of them only there.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from services.provider_worker.adapters.response.json_text import JsonObject

MAX_RETRY_AFTER_MS = 7 * 24 * 3600 * 1000
"""Longer waits are capped to this."""

_AMOUNT = r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|milliseconds?|s|seconds?|m|minutes?|h|hours?)(?![a-z])"
_AMOUNTS = re.compile(_AMOUNT, re.IGNORECASE)
_WAIT_PHRASE = re.compile(
    rf"\b(?:retry|retrying|try again|wait)(?: (?:in|after|for))? (?P<wait>(?:{_AMOUNT} ?)+)", re.IGNORECASE
)
_MS_OF_UNIT = {"m": 60_000, "h": 3_600_000, "s": 1000}
_DELAY = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)s\s*")
_MAX_CHARACTERS = 4000
_MAX_NUMBER = 1e15
"""A larger number is an absurd wait all the same, and none that may be ignored."""


def wait_ms_from_message(text: str) -> int | None:
    """Return the wait in a message such as "try again in 1m2.5s" or "retry after 6 seconds"; null if it names none."""
    found = _WAIT_PHRASE.search(text[:_MAX_CHARACTERS])
    if found is None:
        return None
    return _clamp_ms(
        round(sum(float(amount) * _unit_ms(unit.lower()) for amount, unit in _AMOUNTS.findall(found["wait"])))
    )


def wait_ms_from_details(details: list[JsonObject]) -> int | None:
    """Return the wait in Google's error `details`: `retryDelay` of a `RetryInfo`, "55s" or "0.5s"; null if absent."""
    waits = (_DELAY.fullmatch(str(detail.get("retryDelay"))[:40]) for detail in details)
    found = next((wait for wait in waits if wait), None)
    return None if found is None else _clamp_ms(round(float(found[1]) * 1000))


def _unit_ms(unit: str) -> int:
    return 1 if unit in ("ms", "millisecond", "milliseconds") else _MS_OF_UNIT[unit[0]]


def wait_ms_from_headers(headers: Mapping[str, str]) -> int | None:
    """Return the wait that response headers (names in lower case) ask for, or null."""
    exact = _parse_number(headers.get("retry-after-ms"))
    if exact is not None:
        return _clamp_ms(exact)
    text = headers.get("retry-after")
    seconds = _parse_number(text)
    if seconds is not None:
        return _clamp_ms(seconds * 1000)
    until, now = parse_date(text), parse_date(headers.get("date"))
    return None if until is None or now is None else _clamp_ms((until - now).total_seconds() * 1000)


def wait_ms_from_error_headers(inner: JsonObject, headers: Mapping[str, str]) -> int | None:
    """Return the wait that the headers quoted in an error body ask for, or null.

    `headers` are those of the response itself.
    """
    quoted = {str(name).lower(): str(value) for name, value in inner.items()}
    wait_ms = wait_ms_from_headers(quoted)
    if wait_ms is not None:
        return wait_ms
    reset_unix_ms, now = _parse_number(quoted.get("x-ratelimit-reset")), parse_date(headers.get("date"))
    if reset_unix_ms is None or now is None:
        return None
    return _clamp_ms(reset_unix_ms - now.timestamp() * 1000)


def _parse_number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    if number is None or math.isnan(number):
        return None
    return max(-_MAX_NUMBER, min(number, _MAX_NUMBER))


def parse_date(text: str | None) -> datetime | None:
    """Return the point in time that a header `date` names; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _clamp_ms(wait_ms: float) -> int:
    return int(min(max(wait_ms, 0), MAX_RETRY_AFTER_MS))
