"""Credits through the whole running system: requests on the platform's keys spend exactly what they are charged, and no more."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from tests.support.vault.keyed_system import KeyedSystem, TenantAccount
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", autouse=True)
def platform(keyed_system: KeyedSystem) -> str:
    """Store a key of the platform."""
    key_id: str = keyed_system.add("platform", keyed_system.provider.issue(), "--priority", "400")["key_id"]
    return key_id


def credits_of(keyed_system: KeyedSystem, tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(keyed_system.cli("credits", "show", tenant, "--json"))
    return found


def grant(keyed_system: KeyedSystem, tenant: str, amount: str) -> None:
    keyed_system.cli("credits", "grant", tenant, amount, "--reason", "test")


def settled(keyed_system: KeyedSystem, tenant: str) -> dict[str, Any]:
    """Return the credits of a tenant once nothing of them is held any more."""

    def nothing_held() -> dict[str, Any] | None:
        found = credits_of(keyed_system, tenant)
        return found if Decimal(found["held"]) == 0 else None

    return until(f"nothing of {tenant}'s credits is held", nothing_held)


def charges(account: TenantAccount, keyed_system: KeyedSystem) -> int:
    """Return the sum of what a tenant's attempts were charged, in micro-dollars, from the exported rows."""
    exported = keyed_system.cli("requests", "export", "--tenant", account.tenant, "--format", "jsonl")
    rows = [json.loads(line) for line in exported.splitlines()]
    return sum(row.get("charge_micro_usd") or 0 for row in rows)


def expect_charges(account: TenantAccount, keyed_system: KeyedSystem, spent_micro_usd: Decimal) -> None:
    """Wait until the export, which leaves out the last seconds, has attempts that were charged exactly what was spent."""
    until(
        f"{account.tenant} was charged {spent_micro_usd}",
        lambda: charges(account, keyed_system) == spent_micro_usd,
    )


def test_a_tenant_without_credits_learns_what_to_do_and_pays_after_a_grant(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("paying", tier="starter")
    refused = account.wait_for_status(402)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("billing_error", "insufficient_credits")
    assert "keyferry credits grant paying" in error["message"]

    grant(keyed_system, "paying", "100000")
    answer = account.wait_for_status(200)
    (attempt,) = account.attempts(answer.headers["x-request-id"])
    assert (attempt["key_source"], attempt["tier"], attempt["charged_level"]) == ("platform", "starter", "balanced")
    assert [hold["account"] for hold in attempt["reservation"]["holds"]] == ["credits/paying"]
    found = settled(keyed_system, "paying")
    expect_charges(account, keyed_system, 100_000_000 - Decimal(found["balance"]) * 1000)
    assert Decimal(found["balance"]) < 100_000


def test_many_clients_at_the_last_credits_never_overspend(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("racing", tier="starter")
    account.wait_for_status(402)
    grant(keyed_system, "racing", "30")
    account.wait_for_status(200)
    with ThreadPoolExecutor(16) as clients:
        statuses = list(clients.map(lambda _: account.ask(max_tokens=16_000).status_code, range(120)))
    assert set(statuses) <= {200, 402}
    assert statuses.count(402) > 0
    found = settled(keyed_system, "racing")
    assert Decimal(found["balance"]) >= 0
    expect_charges(account, keyed_system, 30_000 - Decimal(found["balance"]) * 1000)


def test_own_keys_go_on_without_credits(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("keyed", tier="professional", keys="own")
    key = keyed_system.provider.issue()
    keyed_system.add("keyed", key)
    account.wait_until_paid_with(key)
