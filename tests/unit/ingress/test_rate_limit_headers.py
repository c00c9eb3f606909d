"""The headers that report what is left of the limits."""

import pytest

from keyferry.contracts.limits import LimitStatus, RateLimits
from keyferry.runtime.http.cors import EXPOSED_HEADERS
from services.ingress.rate_limit_headers import format_duration, rate_limit_headers


def test_each_limit_that_applies_has_three_headers() -> None:
    limits = RateLimits(requests=LimitStatus(limit=100, remaining=99, reset_ms=59_123))
    assert rate_limit_headers(limits) == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-requests": "59.123s",
    }
    assert rate_limit_headers(None) == {}


def test_pages_of_other_origins_may_read_them() -> None:
    status = LimitStatus(limit=100, remaining=99, reset_ms=1)
    assert rate_limit_headers(RateLimits(requests=status, tokens=status)).keys() <= set(EXPOSED_HEADERS)


def test_a_late_answer_names_the_time_that_is_left_by_then() -> None:
    limits = RateLimits(tokens=LimitStatus(limit=100, remaining=9, reset_ms=5000))
    assert limits.after(1800) == RateLimits(tokens=LimitStatus(limit=100, remaining=9, reset_ms=3200))
    assert rate_limit_headers(limits.after(61_000))["x-ratelimit-reset-tokens"] == "0ms"


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0ms"), (12, "12ms"), (1000, "1s"), (1500, "1.5s"), (60_000, "1m0s"), (360_000, "6m0s")]
)
def test_durations_have_openais_form(ms: int, text: str) -> None:
    assert format_duration(ms) == text
