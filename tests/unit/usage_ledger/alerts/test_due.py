"""When time alone changes what rules find."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.key import KeyFacts, KeyStatus
from services.usage_ledger.alerts.defaults import default_rules
from services.usage_ledger.alerts.due import DueTenants, next_change
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.findings import key_days

NOW = datetime(2026, 11, 30, 12, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FACTS = TenantFacts(zone=ZoneInfo("UTC"))


def key(**changes: object) -> KeyFacts:
    given = {"key_id": "key_1", "tenant": "acme", "provider": "openai", "label": "x", "status": KeyStatus.VALID}
    return KeyFacts.model_validate(given | {"version": 1, "origin": "https://a.b", "base_url": "https://a.b"} | changes)


@given(st.integers(1, 60 * 24 * 3600))
def test_the_days_of_a_key_do_not_change_before_they_are_looked_at(left_seconds: int) -> None:
    ends = NOW + timedelta(seconds=left_seconds)
    with_key = TenantFacts(zone=FACTS.zone, keys=[key(expires_at=ends)])
    at = next_change(default_rules("acme"), with_key, {}, NOW)
    assert at is not None
    days = [key_days(AlertMetric.KEY_EXPIRES_DAYS, key(expires_at=ends), when) for when in (NOW, at - 2 * SECOND, at)]
    assert at - 2 * SECOND < NOW or days[0] == days[1]
    assert days[2] != days[0]


def test_nothing_is_due_without_anything_that_time_changes() -> None:
    assert next_change(default_rules("acme"), FACTS, {}, NOW) is None


def test_the_earliest_moment_counts_and_the_last_word() -> None:
    due = DueTenants()
    due.add("acme", NOW)
    due.add("acme", NOW + SECOND)
    due.add("globex", NOW + SECOND)
    due.set("globex", NOW + 5 * SECOND)
    due.add("gone", NOW)
    due.set("gone", None)
    assert due.pop(NOW + SECOND, 10) == ["acme"]
    assert due.pop(NOW + 5 * SECOND, 10) == ["globex"]
    assert due.pop(NOW + timedelta(days=9), 10) == []
