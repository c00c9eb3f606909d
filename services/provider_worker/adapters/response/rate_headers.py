"""What the headers of a response say about the rate limits of the key that was used.

Sources: OpenAI, "Rate limits in headers" (`x-ratelimit-*`, durations like `6m0s`), which Groq, Azure, xAI and others follow;
Anthropic, "Rate limits: response headers" (`anthropic-ratelimit-*`, RFC 3339 times); Mistral and Together's own forms; and
recorded answers of all of them. Points in time are relative to the response's own `date`, so that no two clocks need agree. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keyferry.contracts.text import parse_digits
from keyferry.contracts.usage import KeyRate
from services.provider_worker.adapters.response.retry_after import MAX_RETRY_AFTER_MS, parse_date

_MINUTE_MS = 60_000
_DURATION = re.compile(
    r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?", re.ASCII
)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_UNIX_SECONDS, _UNIX_MS = 1e9, 1e12
"""From these numbers on a reset is a point in time, not a number of seconds."""


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The headers of one limit. Without a header for the reset the limit is per minute."""

    limit: str
    remaining: str
    reset: str | None = None


RATE_HEADERS = (
    RateHeaders("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    RateHeaders("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    RateHeaders("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    RateHeaders("x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute"),
    RateHeaders("x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute"),
    *(
        RateHeaders(
            f"anthropic-ratelimit-{what}-limit",
            f"anthropic-ratelimit-{what}-remaining",
            f"anthropic-ratelimit-{what}-reset",
        )
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
"""One row for each limit that some provider reports; a provider that reports others needs another row."""


def read_key_rate(headers: Mapping[str, str]) -> KeyRate | None:
    """Return the limit of which the most is used, of two alike the one that resets later; None if none is reported.

    The names of the headers are in lower case.
    """
    scarcest: KeyRate | None = None
    for row in RATE_HEADERS:
        limit, remaining = _count(headers.get(row.limit)), _count(headers.get(row.remaining))
        if not limit or remaining is None:
            continue
        used_percent = 100 * max(0, limit - remaining) // limit
        if scarcest is not None and used_percent < scarcest.used_percent:
            continue
        reset_ms = _MINUTE_MS if row.reset is None else _reset_ms(headers.get(row.reset), headers)
        if scarcest is None or (used_percent, reset_ms) > (scarcest.used_percent, scarcest.reset_ms):
            scarcest = KeyRate(used_percent=used_percent, reset_ms=reset_ms)
    return scarcest


def _count(text: str | None) -> int | None:
    return None if text is None else parse_digits(text.strip(), 19)


def _reset_ms(text: str | None, headers: Mapping[str, str]) -> int:
    """Return the time until a limit is whole again; 0 if it is unknown."""
    text = (text or "").strip()[:100]
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number < _UNIX_SECONDS:
            return _clamp(number * 1000)
        return _until(number * (1 if number >= _UNIX_MS else 1000), headers)
    found = _DURATION.fullmatch(text)
    if found is not None and any(found.groups()):
        hours, minutes, seconds, rest_ms = (float(part or 0) for part in found.groups())
        return _clamp((hours * 3600 + minutes * 60 + seconds) * 1000 + rest_ms)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return _until((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000, headers)


def _until(unix_ms: float, headers: Mapping[str, str]) -> int:
    now = parse_date(headers.get("date"))
    return 0 if now is None else _clamp(unix_ms - now.timestamp() * 1000)


def _clamp(ms: float) -> int:
    return int(min(max(ms, 0), MAX_RETRY_AFTER_MS))
