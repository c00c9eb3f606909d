"""A team's preferences, budget and provider key apply to the requests of its client tokens, and to no others."""

import json
from typing import Any

import pytest

from tests.support.vault.keyed_system import KeyedSystem, TenantAccount
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)


def account_of_team(keyed_system: KeyedSystem, tenant: str, team: str) -> TenantAccount:
    keyed_system.cli("teams", "create", team, "--tenant", tenant)
    made = json.loads(keyed_system.cli("tokens", "create", "--tenant", tenant, "--team", team, "--json"))
    assert made["team"] == team
    account = TenantAccount(keyed_system, tenant, made["token"])
    keyed_system.accounts.append(account)
    return account


def test_a_teams_preference_key_and_budget_apply_to_its_tokens_requests(keyed_system: KeyedSystem) -> None:
    tenant, provider = "teamed", keyed_system.provider
    keyed_system.new_tenant(tenant, keys="own")
    research, sales = (account_of_team(keyed_system, tenant, team) for team in ("research", "sales"))

    wide, narrow = provider.issue(), provider.issue()
    keyed_system.add(tenant, wide, "--label", "everybody")
    added = keyed_system.add(tenant, narrow, "--label", "research", "--team", "research", "--priority", "900")
    assert added["team"] == "research"
    research.wait_until_paid_with(narrow)
    answer = sales.wait_until_paid_with(wide)
    explained = json.loads(keyed_system.cli("explain", answer.headers["x-request-id"], "--tenant", tenant, "--json"))
    reasons = {each.get("key_id"): each.get("reason") for each in _candidates(explained)}
    assert reasons[added["key_id"]] == "key_other_scope"

    # Its scope is changed without the key itself.
    assert keyed_system.do("edit", added["key_id"], tenant, "--clear", "team")["team"] is None
    assert keyed_system.do("edit", added["key_id"], tenant, "--team", "sales")["team"] == "sales"
    sales.wait_until_paid_with(narrow)
    research.wait_until_paid_with(wide)

    keyed_system.cli("preferences", "set", "--tenant", tenant, "--team", "research", "max_tokens_per_request=100")
    until("research may ask for 100 tokens", lambda: research.ask(max_tokens=101).status_code == 400)
    assert sales.ask(max_tokens=101).status_code == 200

    keyed_system.cli(
        "budgets", "set", "--tenant", tenant, "--team", "research", "--limit", "0.000001", "--window", "month"
    )
    refused = until(
        "research has spent its budget",
        lambda: found if (found := research.ask(max_tokens=50)).status_code not in (200, 503) else None,
    )
    assert "budget" in refused.json()["error"]["message"]
    assert sales.ask(max_tokens=50).status_code == 200

    left = keyed_system.cli("teams", "delete", "research", "--tenant", tenant, status=1)
    assert "its preferences" in left
    assert "bud_" in left
    assert "1 client tokens" in keyed_system.cli("teams", "delete", "research", "--tenant", tenant, "--force")


def _candidates(explained: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = explained["decision"]["candidates"]
    return found
