"""What rules may say, and what they may not."""

import pytest
from pydantic import ValidationError

from keyferry.contracts.alert_events import ReportAlert
from keyferry.contracts.alert_metrics import METRICS, AlertMetric
from keyferry.contracts.alert_rules import SaveAlertRule
from services.usage_ledger.alerts.conditions import AlertFinding
from services.usage_ledger.alerts.defaults import default_rule, default_rules
from services.usage_ledger.alerts.texts import describe_alert, describe_title

KEY = "sk-proj-" + "Ab3" * 16
USUAL = {"tenant": "acme", "name": "x", "metric": "spend", "condition": {"threshold": "5"}, "window": "month"}


def test_every_metric_is_described() -> None:
    assert set(METRICS) == set(AlertMetric)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"window": None}, "needs a window"),
        ({"condition": {}}, "needs a `threshold` or `unusual`"),
        ({"condition": {"threshold": "-1"}}, "0 or more"),
        ({"condition": {"threshold": "NaN"}}, "finite"),
        ({"condition": {"threshold": 0.5}}, "decimal string"),
        ({"condition": {"unusual": "high"}}, "window `hour`"),
        ({"scope": {"budget": "bud_1"}}, "not by budget"),
        ({"scope": {"tag": {"name": "a", "value": "b"}, "team": "x"}}, "nothing else"),
        ({"scope": {"model": "a b"}}, "printable ASCII"),
        ({"scope": {"modle": "a"}}, "not permitted"),
        ({"disable_key": True}, "unusual use of keys"),
        ({"tenant": "platform"}, "name a tenant"),
        ({"metric": "lago_backlog", "condition": {}, "window": None}, "only the platform"),
        ({"metric": "key_invalid", "window": None}, "has no threshold"),
        ({"metric": "key_burst", "window": None}, "needs `unusual`"),
        ({"metric": "latency_p95"}, "needs a window: last_15m"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": KEY}, "name"),
        ({"scope": {"team": KEY}}, "team"),
        ({"scope": {"operation": KEY}}, "operation"),
        ({"scope": {"tag": {"name": "a", "value": KEY}}}, "tag"),
        ({"channels": ["not a channel"]}, "channels"),
        ({"channels": ["chn_1"] * 21}, "channels"),
        ({"cooldown_seconds": -1}, "cooldown_seconds"),
        ({"cooldown_seconds": 10**9}, "cooldown_seconds"),
        ({"margin_percent": 51}, "margin_percent"),
        ({"surprise": 1}, "not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SaveAlertRule.model_validate(USUAL | changes)
    assert says in str(refused.value)


@pytest.mark.parametrize("tenant", ["acme", "platform"])
def test_default_rules_are_rules(tenant: str) -> None:
    rules = default_rules(tenant)
    assert len({rule.rule_id for rule in rules}) == len(rules) > 8
    for rule in rules:
        SaveAlertRule.model_validate({**rule.model_dump(exclude={"revision", "created_at"})})
        assert default_rule(tenant, rule.rule_id) == rule
    assert default_rule(tenant, "alr_other") is None


def test_only_what_others_see_is_reported() -> None:
    with pytest.raises(ValidationError, match="by itself"):
        ReportAlert(tenant="acme", metric=AlertMetric.SPEND, raised=True, text="x")


@pytest.mark.parametrize("metric", list(AlertMetric))
def test_every_alert_says_what_was_found(metric: AlertMetric) -> None:
    everything = {rule.metric: rule for tenant in ("acme", "platform") for rule in default_rules(tenant)}
    rule = next(iter(everything.values())).model_copy(update={"metric": metric, "name": "watch"})
    found = AlertFinding("key_1:x", None, None, holds=True, is_clear=False, detail="something")
    assert describe_title(rule, found).startswith("watch: ")
    assert "{" not in describe_alert(rule, found)
