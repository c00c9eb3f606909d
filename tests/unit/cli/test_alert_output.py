"""Alert rules as a terminal shows them."""

from keyferry.cli.alert_output import format_rule, format_rules
from keyferry.contracts.alert_rules import AlertRule, AlertRules, AlertRuleState, AlertRuleStatus

RULE = AlertRule.model_validate(
    {
        "tenant": "acme",
        "rule_id": "alr_1",
        "revision": 1,
        "name": "Research",
        "metric": "requests",
        "scope": {"team": "research"},
        "condition": {"threshold": "5"},
        "window": "month",
    }
)
GONE = "there is no team research (any more): change the rule's scope, or remove the rule"
UNREADABLE = "this build cannot read it: metric; save it anew, or remove it"


def status(rule: AlertRule | None, state: AlertRuleState, reason: str | None, number: int) -> AlertRuleStatus:
    return AlertRuleStatus(
        rule_id=f"alr_{number}",
        tenant="acme",
        name=f"name {number}",
        rule=rule,
        is_default=False,
        state=state,
        reason=reason,
        revision=1,
    )


def test_each_broken_rule_says_why_below_the_table() -> None:
    rules = [
        status(RULE, AlertRuleState.ACTIVE, None, 1),
        status(RULE, AlertRuleState.BROKEN, GONE, 2),
        status(None, AlertRuleState.BROKEN, UNREADABLE, 3),
    ]
    lines = format_rules(AlertRules(tenant="acme", rules=rules)).splitlines()
    assert len(lines) == 6
    assert "requests >= 5 requests per month team=research" in lines[2]
    assert lines[3].split()[:4] == ["alr_3", "broken", "0", "-"]
    assert lines[4:] == [f"alr_2: {GONE}", f"alr_3: {UNREADABLE}"]
    assert GONE in format_rule(rules[1])
    assert format_rules(AlertRules(tenant="acme", rules=[])) == "there are no rules"
