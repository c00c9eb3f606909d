"""What is said of alert rules over what does not exist."""

from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference, CheckReferences, MissingReference, MissingReferences
from keyferry.contracts.alert_rules import AlertRule, AlertRuleState
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import BusError, Refused
from services.usage_ledger.alerts.alert_store import status_of
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.findings import find_all, find_missing
from services.usage_ledger.alerts.reference_check import ReferenceCheck
from services.usage_ledger.alerts.references import (
    OF_DIRECTORY,
    OF_ROUTER,
    describe_missing,
    describe_refusal,
    references_of,
)
from tests.support.vault.vault_double import key_facts

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TEAM = MissingReference(field=ScopeField.TEAM, value="research", reason="there is no team research (any more)")


def rule(number: int = 1, **changes: Any) -> AlertRule:
    usual = {"tenant": "acme", "name": "x", "metric": "spend", "condition": {"threshold": "5"}, "window": "month"}
    return AlertRule.model_validate(usual | {"rule_id": f"alr_{number}", "revision": 1} | changes)


def facts(*keys: KeyFacts, **changes: Any) -> TenantFacts:
    return TenantFacts(zone=ZoneInfo("UTC"), keys=keys, **changes)


def test_each_name_is_asked_for_once_and_of_its_owner() -> None:
    rules = [
        rule(1, scope={"team": "research", "model": "gpt-4o"}),
        rule(2, scope={"team": "research", "model": "gpt-4o", "provider": "openai"}),
        rule(3, scope={"client_token": "tok_1", "operation": "summarize", "key_source": "byok"}),
        rule(4),
    ]
    assert references_of(rules, OF_DIRECTORY) == [
        AlertReference(field=ScopeField.TEAM, value="research"),
        AlertReference(field=ScopeField.CLIENT_TOKEN, value="tok_1"),
    ]
    assert references_of(rules, OF_ROUTER) == [
        AlertReference(field=ScopeField.MODEL, value="gpt-4o"),
        AlertReference(field=ScopeField.MODEL, value="gpt-4o", provider="openai"),
        AlertReference(field=ScopeField.PROVIDER, value="openai"),
    ]


def test_only_rules_that_name_it_are_broken() -> None:
    known = facts(missing=[TEAM])
    broken = status_of(rule(scope={"team": "research"}), known)
    assert (broken.state, broken.missing) == (AlertRuleState.BROKEN, [TEAM])
    assert broken.reason == "there is no team research (any more): change the rule's scope, or remove the rule"
    off = status_of(rule(scope={"team": "research"}, enabled=False), known)
    assert (off.state, off.missing) == (AlertRuleState.OFF, [TEAM])
    for scope in ({"team": "sales"}, {"member": "research"}, {}):
        other = status_of(rule(scope=scope), known)
        assert (other.state, other.missing, other.reason) == (AlertRuleState.ACTIVE, [], None)


def test_a_model_is_missing_at_the_provider_that_the_rule_names() -> None:
    at_openai = MissingReference(field=ScopeField.MODEL, value="gpt-x", provider="openai", reason="no")
    known = facts(missing=[at_openai])
    assert find_missing(rule(scope={"model": "gpt-x", "provider": "openai"}), known) == [at_openai]
    assert find_missing(rule(scope={"model": "gpt-x"}), known) == []


def test_keys_and_budgets_are_looked_up_in_the_ledger() -> None:
    key = key_facts("key_0001")
    assert find_missing(rule(scope={"key": "key_0001"}), facts(key)) == []
    (missing,) = find_missing(rule(scope={"key": "key_gone"}), facts(key))
    assert (missing.field, missing.value) == (ScopeField.KEY, "key_gone")
    of_budget = rule(metric="budget_used_percent", window=None, scope={"budget": "bud_1"})
    assert [each.field for each in find_missing(of_budget, facts())] == [ScopeField.BUDGET]


@pytest.mark.parametrize("metric", ["spend", "key_invalid"])
def test_a_key_that_cannot_be_read_is_not_lost(metric: str) -> None:
    terms: dict[str, Any] = {} if metric == "spend" else {"condition": {}, "window": None}
    of_key = rule(metric=metric, scope={"key": "key_0001"}, **terms)
    unsure = facts(keys_are_all=False)
    assert find_missing(of_key, unsure) == []
    assert find_all(of_key, unsure, NOW) is None, "its open alerts stay"
    assert find_all(of_key, facts(), NOW) == [], "its open alerts are resolved"


def test_a_refusal_names_the_fields() -> None:
    model = MissingReference(field=ScopeField.MODEL, value="gpt-x", reason="no attempt has used it")
    assert describe_refusal([TEAM, model]) == (
        "`scope.team`, `scope.model`: there is no team research (any more); no attempt has used it; name what there is"
    )
    assert describe_missing([]) is None


@pytest.mark.parametrize("error", [BusError("nobody answers"), Refused(ErrorCode.UNAVAILABLE, "try again")])
async def test_an_owner_that_does_not_answer_says_nothing(error: Exception) -> None:
    async def ask(*_: object) -> MissingReferences:
        raise error

    check = ReferenceCheck(cast(Any, None), ask)
    assert await check.find_missing("acme", [rule(scope={"team": "research", "model": "gpt-4o"})]) == []


async def test_nobody_is_asked_about_rules_without_names() -> None:
    asked: list[CheckReferences] = []

    async def ask(_: object, command: CheckReferences) -> MissingReferences:
        asked.append(command)
        return MissingReferences(missing=[])

    check = ReferenceCheck(cast(Any, None), ask)
    assert await check.find_missing("acme", [rule(), rule(2, scope={"key": "key_1", "operation": "x"})]) == []
    assert asked == []
    await check.find_missing("acme", [rule(scope={"member": "mem_1"})])
    assert [command.references for command in asked] == [[AlertReference(field=ScopeField.MEMBER, value="mem_1")]]
