"""The routes about alerts: what they ask the ledger."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.alert_management import (
    ALERT_ACKNOWLEDGE,
    ALERT_LIST,
    ALERT_RULE_LIST,
    ALERT_RULE_PREVIEW,
    ALERT_RULE_REMOVE,
    ALERT_RULE_SAVE,
)
from keyferry.contracts.alert_metrics import AlertMetric, AlertUnit
from keyferry.contracts.alert_rules import (
    AlertPreview,
    AlertRuleRemoved,
    AlertRules,
    AlertRuleState,
    AlertRuleStatus,
    RemoveAlertRule,
    SaveAlertRule,
)
from keyferry.contracts.alerts import AcknowledgeAlert, Alert, Alerts, ListAlerts
from tests.unit.console.surface import Surface

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
PATH = "/api/v1/ops/tenants/acme/alerts"
TERMS = {"name": "watch", "metric": "spend", "condition": {"threshold": "250"}, "window": "month"}
STATUS = AlertRuleStatus(
    rule_id="alr_1", tenant="acme", name="watch", is_default=False, state=AlertRuleState.ACTIVE, revision=1
)
ALERT = Alert.model_validate(
    {
        "alert_id": "alt_1",
        "tenant": "acme",
        "rule_id": "alr_1",
        "rule_name": "watch",
        "metric": "spend",
        "subject": "",
        "severity": "warning",
        "state": "fired",
        "title": "x",
        "text": "y",
        "fired_at": AT,
    }
)


async def test_rules_are_added_changed_tried_and_removed() -> None:
    surface = Surface()
    surface.bus.answers(ALERT_RULE_SAVE, STATUS)
    surface.bus.answers(ALERT_RULE_LIST, AlertRules(tenant="acme", rules=[STATUS]))
    surface.bus.answers(ALERT_RULE_REMOVE, AlertRuleRemoved(rule_id="alr_1", resolved=2))
    preview = AlertPreview(since=AT, until=AT, can_be_previewed=True, unit=AlertUnit.USD, fired=2)
    surface.bus.answers(ALERT_RULE_PREVIEW, preview)
    assert (await surface.ask("POST", f"{PATH}/rules", TERMS)).status_code == 201
    assert (await surface.ask("PUT", f"{PATH}/rules/alr_1", TERMS | {"revision": 3})).status_code == 200
    assert (await surface.ask("POST", f"{PATH}/rules/preview", TERMS | {"days": 7})).json()["fired"] == 2
    assert (await surface.ask("GET", f"{PATH}/rules/alr_1")).json()["state"] == "active"
    assert (await surface.ask("DELETE", f"{PATH}/rules/alr_1")).json()["resolved"] == 2
    asked = [question for _, question in surface.bus.asked]
    assert isinstance(asked[0], SaveAlertRule)
    assert (asked[0].rule_id, asked[0].expected_revision) == (None, None)
    assert isinstance(asked[1], SaveAlertRule)
    assert (asked[1].rule_id, asked[1].expected_revision) == ("alr_1", 3)
    assert isinstance(asked[-1], RemoveAlertRule)


async def test_alerts_are_listed_and_acknowledged() -> None:
    surface = Surface()
    surface.bus.answers(ALERT_LIST, Alerts(tenant="acme", alerts=[ALERT], open=1))
    surface.bus.answers(ALERT_ACKNOWLEDGE, ALERT)
    assert (await surface.ask("GET", f"{PATH}?state=open&limit=5")).json()["open"] == 1
    assert (await surface.ask("GET", f"{PATH}/alt_1")).json()["title"] == "x"
    assert (await surface.ask("POST", f"{PATH}/alt_1/acknowledge")).status_code == 200
    asked = [question for _, question in surface.bus.asked]
    assert asked[0] == ListAlerts(tenant="acme", state="open", limit=5)
    assert isinstance(asked[-1], AcknowledgeAlert)
    assert asked[-1].alert_id == "alt_1"


async def test_forms_learn_what_each_metric_takes() -> None:
    found = (await Surface().ask("GET", f"{PATH}/metrics")).json()["metrics"]
    assert {each["metric"] for each in found} == {metric.value for metric in AlertMetric}


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "nothing"},
        {"window": "year"},
        {"condition": {"threshold": 5.5}},
        {"condition": {"threshold": "many"}},
        {"scope": {"colour": "red"}},
        {"severity": "loud"},
        {"window": "last_60m", "condition": {"unusual": "high"}},
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_before_the_ledger_is_asked(changes: dict[str, object]) -> None:
    surface = Surface()
    answer = await surface.ask("POST", f"{PATH}/rules", TERMS | changes)
    assert answer.status_code in (400, 422), answer.text
    assert surface.bus.asked == []
