"""When a rule would have fired, by the evaluation of what is recorded."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from keyferry.contracts.alert_rules import AlertRule
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.figures import WatchedUsage
from services.usage_ledger.alerts.replay import replay_balances, replay_usage, replay_uses
from services.usage_ledger.alerts.tenant_usage import TenantUsage, UsageCell
from services.usage_ledger.analytics.periods import floor_quarter

ZONE = ZoneInfo("UTC")
FIRST = floor_quarter(datetime(2026, 11, 2, tzinfo=UTC))
DAY, WEEK = 96, 7 * 96


def rule(**changes: object) -> AlertRule:
    given = {"tenant": "acme", "name": "x", "rule_id": "alr_1", "revision": 0, "metric": "requests"}
    return AlertRule.model_validate(given | {"cooldown_seconds": 0} | changes)


def used(quarter: int, requests: int, **values: str) -> UsageCell:
    return UsageCell(quarter, values, WatchedUsage(requests=requests, attempts=requests))


def test_a_day_that_is_too_busy_fires_once_and_ends_with_the_day() -> None:
    cells = [used(FIRST + 10, 60), used(FIRST + 20, 50), used(FIRST + 30, 50), used(FIRST + 2 * DAY + 5, 100)]
    found = replay_usage(rule(window="day", condition={"threshold": "100"}), cells, FIRST, FIRST + 4 * DAY, FIRST, ZONE)
    assert [(alert.value, alert.highest) for alert in found.alerts] == [
        (Decimal(110), Decimal(160)),
        (Decimal(100), Decimal(100)),
    ]
    assert [alert.resolved_at is not None for alert in found.alerts] == [True, True]
    first = found.alerts[0]
    assert first.fired_at == datetime(2026, 11, 2, 5, 14, 59, tzinfo=UTC)
    assert first.resolved_at == datetime(2026, 11, 3, 0, 14, 59, tzinfo=UTC)
    assert max(point.value or 0 for point in found.points) == 160


def test_an_hour_is_compared_with_the_same_hour_of_weeks_before() -> None:
    usual = [used(FIRST + week * WEEK + hour * 4, 100) for week in range(-8, 1) for hour in range(24)]
    spike = used(FIRST + 9 * 4 + 2, 300)
    found = replay_usage(
        rule(window="hour", condition={"unusual": "medium"}),
        [*usual, spike],
        FIRST,
        FIRST + DAY,
        FIRST - 8 * WEEK,
        ZONE,
    )
    (alert,) = found.alerts
    assert alert.fired_at.hour == 9
    assert alert.value == 400
    assert alert.threshold == 150, "the median of 100, and five times a tenth of it"


def test_without_four_weeks_of_history_nothing_is_unusual() -> None:
    usual = [used(FIRST - week * WEEK, 10) for week in range(1, 4)]
    found = replay_usage(
        rule(window="hour", condition={"unusual": "high"}),
        [*usual, used(FIRST, 9000)],
        FIRST,
        FIRST + 8,
        FIRST - 3 * WEEK,
        ZONE,
    )
    assert not found.alerts


def test_balances_fall_and_rise() -> None:
    at = [datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 6)]
    balances = list(zip(at, map(Decimal, (5000, 900, 800, 6000, 1000)), strict=True))
    found = replay_balances(rule(metric="credit_balance"), balances, Decimal(1000), ZONE)
    first, second = found.alerts
    assert (first.value, first.highest, first.resolved_at) == (Decimal(900), Decimal(800), at[3])
    assert (second.value, second.highest, second.resolved_at) == (Decimal(1000), Decimal(1000), None)


def test_a_key_that_is_used_with_another_model() -> None:
    uses = [
        ("key_1", "model", "echo", FIRST - 20 * DAY),
        ("key_1", "model", "gpt-4o", FIRST + 8),
        ("key_2", "model", "a", FIRST),
    ]
    facts = TenantFacts(zone=ZONE, usage=TenantUsage())
    found = replay_uses(rule(metric="key_new_model"), uses, FIRST, FIRST + 3 * DAY, facts)
    assert [alert.subject for alert in found.alerts] == ["key_1:gpt-4o"], (
        "nothing is new about a key that is new itself"
    )
    assert found.alerts[0].resolved_at is not None
