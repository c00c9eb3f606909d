"""What response headers say about the rate limits of a key."""

import pytest

from keyferry.contracts.usage import KeyRate
from services.provider_worker.adapters.response.rate_headers import read_key_rate
from tests.support.providers.recorded_traffic import recorded_cases

DATE = {"date": "Sat, 01 Nov 2025 12:00:00 GMT"}


def openai(limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-tokens": limit,
        "x-ratelimit-remaining-tokens": remaining,
        "x-ratelimit-reset-tokens": reset,
    }


@pytest.mark.parametrize(
    ("headers", "rate"),
    [
        ({}, None),
        (openai("3000", "3000", "0s"), KeyRate(used_percent=0, reset_ms=0)),
        (openai("8000", "1600", "23.97s"), KeyRate(used_percent=80, reset_ms=23_970)),
        (openai("8000", "0", "15m50.4s"), KeyRate(used_percent=100, reset_ms=950_400)),
        (openai("1000", "1", "42ms"), KeyRate(used_percent=99, reset_ms=42)),
        (openai("1000", "5000", "1h2m3s"), KeyRate(used_percent=0, reset_ms=3_723_000)),
        (openai("1000", "100", "2146"), KeyRate(used_percent=90, reset_ms=2_146_000)),
        (openai("1000", "100", "1761998430000") | DATE, KeyRate(used_percent=90, reset_ms=30_000)),
        (openai("1000", "100", "1761998430000"), KeyRate(used_percent=90, reset_ms=0)),
        (openai("1000", "100", "soon"), KeyRate(used_percent=90, reset_ms=0)),
        (openai("1000", "100", "9" * 5000), KeyRate(used_percent=90, reset_ms=0)),
        (openai("0", "0", "1s"), None),
        (openai("X-RATELIMIT-LIMIT-TOKENS-XXX", "X", "X"), None),
        (openai("-5", "3", "1s"), None),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2025-11-01T12:00:01Z",
                "anthropic-ratelimit-input-tokens-limit": "30000",
                "anthropic-ratelimit-input-tokens-remaining": "3000",
                "anthropic-ratelimit-input-tokens-reset": "2025-11-01T12:00:54Z",
            }
            | DATE,
            KeyRate(used_percent=90, reset_ms=54_000),
        ),
        (
            {"x-ratelimit-limit-tokens-minute": "100000", "x-ratelimit-remaining-tokens-minute": "20000"},
            KeyRate(used_percent=80, reset_ms=60_000),
        ),
        (
            {
                f"x-ratelimit-{what}-requests": text
                for what, text in (("limit", "9"), ("remaining", "0"), ("reset", "1s"))
            }
            | {
                f"x-ratelimit-{what}-tokens": text
                for what, text in (("limit", "9"), ("remaining", "0"), ("reset", "8s"))
            },
            KeyRate(used_percent=100, reset_ms=8000),
        ),
        (
            {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "2", "x-ratelimit-reset": "2"},
            KeyRate(used_percent=80, reset_ms=2000),
        ),
    ],
)
def test_the_limit_of_which_the_most_is_used_is_reported(headers: dict[str, str], rate: KeyRate | None) -> None:
    assert read_key_rate(headers) == rate


@pytest.mark.parametrize(
    ("provider", "at_least"), [("openai", 7), ("anthropic", 11), ("groq", 4), ("mistral", 3), ("together", 5)]
)
def test_recorded_answers_report_rates(provider: str, at_least: int) -> None:
    rates = [rate for case in recorded_cases(provider) if (rate := read_key_rate(case.headers)) is not None]
    assert len(rates) >= at_least
    assert all(0 <= rate.used_percent <= 100 for rate in rates)
