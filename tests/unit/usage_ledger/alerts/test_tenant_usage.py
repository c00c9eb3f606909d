"""Usage that is taken piece by piece gives what all of it gives."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.alert_rules import AlertRule
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.figures import WatchedUsage
from services.usage_ledger.alerts.findings import find_all
from services.usage_ledger.alerts.tenant_usage import TenantUsage, UsageCell
from services.usage_ledger.analytics.periods import floor_quarter

NOW = datetime(2026, 11, 30, 12, 50, tzinfo=UTC)
CURRENT = floor_quarter(NOW)
UTC_ZONE = ZoneInfo("UTC")


def rule(number: int, **changes: object) -> AlertRule:
    given = {"tenant": "acme", "name": "x", "rule_id": f"alr_{number}", "revision": 1, "window": "last_60m"}
    terms = {"metric": "requests", "condition": {"threshold": "3"}, "least_attempts": 1}
    return AlertRule.model_validate(given | terms | changes)


RULES = [
    rule(1),
    rule(2, scope={"team": "blue"}, window="month"),
    rule(3, scope={"model": "gpt-4o", "team": "red"}, window="day"),
    rule(4, metric="failed_percent", condition={"threshold": "50"}),
    rule(5, metric="latency_p95", condition={"threshold": "100"}),
    rule(6, metric="spend", condition={"threshold": "0.0001"}, window="hour"),
]
CELL = st.builds(
    lambda quarter, team, model, number, failed: UsageCell(
        CURRENT - quarter,
        {"team": team, "model": model},
        WatchedUsage(number, number * 10, number * 100, number, min(failed, number), {number % 7: number}),
    ),
    st.integers(0, 6),
    st.sampled_from(["blue", "red", None]),
    st.sampled_from(["gpt-4o", "echo"]),
    st.integers(1, 5),
    st.integers(0, 5),
)


@given(st.lists(st.lists(CELL, max_size=4), max_size=6))
def test_evaluation_by_increments_is_evaluation_from_scratch(batches: Sequence[Sequence[UsageCell]]) -> None:
    grown, everything = TenantUsage(rules=RULES), list[UsageCell]()
    for batch in batches:
        everything += batch
        since = min((cell.quarter for cell in batch), default=CURRENT)
        grown.take(since, [cell for cell in everything if cell.quarter >= since])
        fresh = TenantUsage(rules=RULES)
        fresh.take(0, everything)
        for each in RULES:
            found = [find_all(each, TenantFacts(zone=UTC_ZONE, usage=usage), NOW) for usage in (grown, fresh)]
            assert [f for f in found[0] or () if f.holds] == [f for f in found[1] or () if f.holds], each.rule_id
