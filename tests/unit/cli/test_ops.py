"""What `keyferry ops` prints."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.cli.main import run
from keyferry.cli.ops import format_analytics, format_wait
from keyferry.contracts.operator_analytics import InstallationAnalytics

SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)
ABOUT: dict[str, Any] = {"as_of": UNTIL, "tz": "UTC", "bucket": "15m", "since": SINCE, "until": UNTIL}


def analytics(**changes: Any) -> InstallationAnalytics:
    values = {
        **ABOUT,
        "tenants": 3,
        "requests": 10,
        "attempts": 12,
        "key_sources": [
            {"key_source": "byok", "tenants": 2, "requests": 4, "attempts": 5, "requests_permille": 400},
            {"key_source": "platform", "tenants": 3, "requests": 6, "attempts": 7, "requests_permille": 600},
        ],
        "tiers": [
            {
                "tier": "free",
                "tenants": 2,
                "tenants_with_own_keys": 1,
                "adoption_permille": 500,
                "requests": 10,
                "own_key_requests": 4,
            }
        ],
        "openrouter": {"tenants": 1, "requests": 1, "attempts": 1, "requests_permille": 100},
        "onboarding": {"tenants_created": 2, "with_own_key": 1, "with_request": 2, "median_seconds_to_request": 5400},
        "models": {"models": 4, "effective_models_permille": 2718, "attempts": 9},
        "own_keys": {"attempts": 5, "failed": 1, "classes": [{"error_class": "auth", "failed": 1}]},
        "margin": {
            "attempts": 7,
            "cost_usd": "2",
            "unpriced": 1,
            "charge_micro_usd": 3_000_000,
            "absorbed_micro_usd": 0,
            "margin_usd": "1",
            "own_key_fee_micro_usd": 0,
        },
        "savings": {**ABOUT, "own_key_attempts": 5, "own_fee_micro_usd": 0, "uncounted": 5},
    }
    return InstallationAnalytics.model_validate(values | changes)


def test_figures_of_all_tenants() -> None:
    text = "\n".join(format_analytics(analytics()))
    for part in (
        "all tenants, 2026-11-01 00:00 to 2026-11-29 00:00 (UTC)",
        "3 tenants, 10 requests, 12 attempts",
        "40.0 %",
        "OpenRouter",
        "added a key (median unknown), 2 sent a request (median 1.5 h)",
        "4 models answered, as diverse as 2.7 used equally",
        "1 of 5 attempts failed (20.0 %): auth 1",
        "own keys saved unknown",
        "margin $1.00; without 1 attempt of unknown cost",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "unknown"), (0, "0 s"), (59, "59 s"), (90, "1.5 min"), (86_400 * 3, "3.0 days")]
)
def test_waits(seconds: int | None, shown: str) -> None:
    assert format_wait(seconds) == shown


@pytest.mark.parametrize("arguments", [["usage", "--by", "day"], ["usage", "--by", "x"], ["analytics", "--since", "x"]])
def test_wrong_options_are_problems(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ops", *arguments]) == 1
    assert "->" in capsys.readouterr().err
