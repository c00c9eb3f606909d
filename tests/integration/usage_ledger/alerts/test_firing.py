"""Alerts of a running ledger: from their cause to the stream, once, in order, and over when their cause is."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from keyferry.contracts.alert_events import ReportAlert
from keyferry.contracts.alert_management import ALERT_ACKNOWLEDGE, ALERT_REPORT, ALERT_RULE_REMOVE, ALERT_RULE_SAVE
from keyferry.contracts.alert_rules import RemoveAlertRule, SaveAlertRule
from keyferry.contracts.alerts import AcknowledgeAlert, AlertState
from keyferry.contracts.budget import SaveBudget
from keyferry.contracts.credit_management import GrantCredits, SetCreditThreshold
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import KeyStatus
from keyferry.contracts.ledger_management import BUDGET_SAVE, CREDIT_GRANT, CREDIT_THRESHOLD
from keyferry.contracts.topology import Role
from keyferry.contracts.usage import Outcome
from tests.integration.usage_ledger.alerts.alert_ledger import KEY, AlertLedger
from tests.support.ledger.attempt_records import attempt_record

FIRED, SEEN, OVER = AlertState.FIRED, AlertState.ACKNOWLEDGED, AlertState.RESOLVED
FAILURE = Failure(failure_class=FailureClass.OVERLOADED, where=Where.HTTP_STATUS, message="it failed")


async def test_a_threshold_of_usage_fires_once_and_counts_its_scope_alone(ledger: AlertLedger) -> None:
    rule = await ledger.save_rule(
        metric="requests", scope={"team": "blue"}, condition={"threshold": "3"}, window="last_24h"
    )
    await ledger.use(5, team="red")
    await ledger.use(2, team="blue")
    other = await ledger.save_rule(metric="tokens", condition={"threshold": "105"}, window="month")
    await ledger.until(other.rule_id, FIRED)
    assert ledger.states(rule.rule_id) == [], "two requests are less than three"
    await ledger.use(2, team="blue")
    await ledger.until(rule.rule_id, FIRED)
    await ledger.use(2, team="blue")
    marker = await ledger.save_rule(metric="requests", condition={"threshold": "11"}, window="last_60m")
    await ledger.until(marker.rule_id, FIRED)
    (alert,) = await ledger.alerts(rule_id=rule.rule_id)
    assert (alert.value, alert.threshold) == (Decimal(4), Decimal(3))
    assert alert.state is FIRED
    assert ledger.states(rule.rule_id) == [FIRED], "what is open does not fire again"
    assert await ledger.alerts("globex") == []


async def test_late_attempts_count_where_they_began(ledger: AlertLedger) -> None:
    rule = await ledger.save_rule(metric="requests", condition={"threshold": "2"}, window="last_24h")
    now = datetime.now(UTC)
    await ledger.record(attempt_record(started_at=now), attempt_record(started_at=now - timedelta(days=3)))
    await ledger.record(attempt_record(started_at=now - timedelta(days=2)))
    week = await ledger.save_rule(metric="requests", condition={"threshold": "1"}, window="last_24h")
    await ledger.until(week.rule_id, FIRED)
    assert ledger.states(rule.rule_id) == []
    await ledger.record(attempt_record(started_at=now - timedelta(hours=20)))
    await ledger.until(rule.rule_id, FIRED)


async def test_failures_are_a_share_of_enough_attempts(ledger: AlertLedger) -> None:
    terms = {"metric": "failed_percent", "condition": {"threshold": "50"}, "window": "last_60m", "least_attempts": 4}
    rule = await ledger.save_rule(**terms)
    await ledger.use(3, outcome=Outcome.FAILED, failure=FAILURE)
    slow = await ledger.save_rule(
        metric="latency_p95", condition={"threshold": "100"}, window="last_60m", least_attempts=1
    )
    await ledger.use(2, latency_ms=120)
    await ledger.until(rule.rule_id, FIRED)
    await ledger.until(slow.rule_id, FIRED)
    (alert,) = await ledger.alerts(rule_id=rule.rule_id)
    assert alert.value in (75, 60)


async def test_low_credits_fire_and_are_over_after_a_grant(ledger: AlertLedger) -> None:
    await ledger.ask(CREDIT_GRANT, grant("900", "1"))
    await ledger.until("alr_default_credit_balance", FIRED)
    await ledger.ask(CREDIT_GRANT, grant("5000", "2"))
    await ledger.until("alr_default_credit_balance", FIRED, OVER)
    await ledger.ask(CREDIT_THRESHOLD, SetCreditThreshold(tenant="acme", credits="6000"))
    alerts = await ledger.alerts(rule_id="alr_default_credit_balance")
    assert [alert.state for alert in alerts] == [OVER], "it waits for the end of the cooldown"
    assert [step.sequence for step in alerts[0].steps] == [1, 2]


def grant(amount: str, key: str) -> GrantCredits:
    return GrantCredits(tenant="acme", credits=amount, idempotency_key=key, reason="test")


async def test_each_threshold_of_a_budget_has_an_alert(ledger: AlertLedger) -> None:
    now = datetime.now(UTC)
    command = SaveBudget.model_validate(
        {
            "tenant": "acme",
            "scope": "tenant",
            "window": {"calendar": "month"},
            "limit_micro_usd": 90,
            "thresholds": [50, 80],
        }
    )
    state = await ledger.ask(BUDGET_SAVE, command)
    await ledger.record(
        attempt_record(started_at=now, provider="openai", model="gpt-4o", key_source="byok", key_id="key_x")
    )
    await ledger.until("alr_default_budget_used_percent", FIRED, FIRED)
    budget = state.budget.budget_id
    assert {alert.subject for alert in await ledger.alerts()} == {f"{budget}:50", f"{budget}:80"}


async def test_keys_that_do_not_work_or_expire_soon(ledger: AlertLedger) -> None:
    soon = datetime.now(UTC) + timedelta(days=3)
    await ledger.put_keys(KEY, KEY.model_copy(update={"key_id": "key_old", "expires_at": soon}))
    await ledger.until("alr_default_key_expires_days", FIRED)
    await ledger.put_keys(KEY.model_copy(update={"status": KeyStatus.INVALID}))
    await ledger.until("alr_default_key_invalid", FIRED)
    await ledger.until("alr_default_key_expires_days", FIRED, OVER)
    await ledger.put_keys(KEY)
    await ledger.until("alr_default_key_invalid", FIRED, OVER)


async def test_what_others_report_is_raised_and_taken_back(ledger: AlertLedger) -> None:
    report = ReportAlert(
        tenant="platform", metric="stripe_webhook_failing", raised=True, text="three webhooks of Stripe were refused"
    )
    over = report.model_copy(update={"raised": False})
    async with ledger.servers.installation.connected(Role.BILLING) as billing:
        for each in (report, report):
            await billing.ask(ALERT_REPORT, each, timeout_seconds=10)
        await ledger.until("alr_default_stripe_webhook_failing", FIRED, tenant="platform")
        await billing.ask(ALERT_REPORT, over, timeout_seconds=10)
    await ledger.until("alr_default_stripe_webhook_failing", FIRED, OVER, tenant="platform")


async def test_acknowledging_and_removing(ledger: AlertLedger) -> None:
    rule = await ledger.save_rule(metric="requests", condition={"threshold": "1"}, window="day")
    await ledger.use()
    await ledger.until(rule.rule_id, FIRED)
    (alert,) = await ledger.alerts(rule_id=rule.rule_id)
    command = AcknowledgeAlert(tenant="acme", alert_id=alert.alert_id, actor="member:ann")
    for _ in range(2):
        seen = await ledger.ask(ALERT_ACKNOWLEDGE, command)
        assert (seen.state, seen.acknowledged_by) == (SEEN, "member:ann")
    await ledger.ask(ALERT_RULE_REMOVE, RemoveAlertRule(tenant="acme", rule_id=rule.rule_id))
    await ledger.until(rule.rule_id, FIRED, SEEN, OVER)
    assert [event.sequence for event in ledger.events if event.rule_id == rule.rule_id] == [1, 2, 3]


async def test_a_default_rule_can_be_switched_off(ledger: AlertLedger) -> None:
    off = {
        "tenant": "acme",
        "name": "off",
        "metric": "key_invalid",
        "rule_id": "alr_default_key_invalid",
        "enabled": False,
    }
    await ledger.ask(ALERT_RULE_SAVE, SaveAlertRule.model_validate(off))
    invalid = KEY.model_copy(update={"status": KeyStatus.INVALID})
    await ledger.put_keys(invalid, invalid.model_copy(update={"tenant": "globex", "key_id": "key_g"}))
    await ledger.until("alr_default_key_invalid", FIRED, tenant="globex")
    assert ledger.states("alr_default_key_invalid") == []
