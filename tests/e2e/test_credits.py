"""Credits through the whole running system: requests on the platform's keys spend exactly what they are charged, and no more."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.providers.openai_double import CHAT_MODEL
from tests.support.system.process_tree import descendants
from tests.support.system.second_router import second_router
from tests.support.vault.keyed_system import KeyedSystem, TenantAccount
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module", autouse=True)
def platform(keyed_system: KeyedSystem) -> str:
    """Store a key of the platform."""
    key_id: str = keyed_system.add("platform", keyed_system.provider.issue(), "--priority", "600")["key_id"]
    return key_id


def credits_of(keyed_system: KeyedSystem, tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(keyed_system.cli("credits", "show", tenant, "--json"))
    return found


def grant(keyed_system: KeyedSystem, tenant: str, amount: str) -> None:
    keyed_system.cli("credits", "grant", tenant, amount, "--reason", "test")


def lease_holders(keyed_system: KeyedSystem, tenant: str) -> int:
    """Return how many router processes have leased of a tenant's credits."""
    file = keyed_system.system.home / "secrets" / "database" / "usage_ledger.url"
    with psycopg.connect(file.read_text().replace("+psycopg", ""), connect_timeout=5) as connection:
        query = "SELECT count(DISTINCT epoch) FROM usage_ledger.credit_leases WHERE tenant = %s"
        row = connection.execute(query, [tenant]).fetchone()
    assert row is not None
    return int(row[0])


def spend_through_two_routers(keyed_system: KeyedSystem, account: TenantAccount) -> None:
    """Let both routers lease of a tenant's credits, and assert that neither refuses anything then."""

    def both_lease() -> bool:
        account.ask(max_tokens=1000)
        return lease_holders(keyed_system, account.tenant) == 2

    until("both routers have leased", both_lease)
    with ThreadPoolExecutor(4) as clients:
        statuses = list(clients.map(lambda _: account.ask(max_tokens=16_000).status_code, range(60)))
    assert set(statuses) == {200}


AFTER_A_FREEZE_SECONDS = 150.0
"""What the bus had delivered to a frozen process is delivered again after a minute, and leases that it granted end in another."""


def settled(keyed_system: KeyedSystem, tenant: str, timeout_seconds: float = 30.0) -> dict[str, Any]:
    """Return the credits of a tenant once nothing of them is held any more."""

    def nothing_held() -> dict[str, Any] | None:
        found = credits_of(keyed_system, tenant)
        return found if Decimal(found["held"]) == 0 else None

    return until(f"nothing of {tenant}'s credits is held", nothing_held, timeout_seconds)


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


def test_two_routers_spend_the_credits_of_one_tenant(keyed_system: KeyedSystem, tmp_path: Path) -> None:
    account = keyed_system.new_tenant("doubled", tier="starter")
    account.wait_for_status(402)
    grant(keyed_system, "doubled", "100000")
    with second_router(keyed_system.system, tmp_path / "router.log"):
        spend_through_two_routers(keyed_system, account)
    assert account.ask(max_tokens=1000).status_code == 200
    found = settled(keyed_system, "doubled")
    expect_charges(account, keyed_system, 100_000_000 - Decimal(found["balance"]) * 1000)


def test_an_answer_to_a_free_request_says_how_many_are_used(keyed_system: KeyedSystem) -> None:
    keyed_system.cli("models", "edit", CHAT_MODEL, "--tier", "free")
    account = keyed_system.new_tenant("gratis", tier="free")
    first = account.wait_for_status(200)
    used, requests = map(int, first.headers["x-keyferry-allowance"].split("/"))
    assert (used, requests) == (1, 50)
    answers = [account.ask(), account.ask(), account.ask()]
    assert [answer.headers["x-keyferry-allowance"] for answer in answers] == ["2/50", "3/50", "4/50"]

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(keyed_system.cli("allowance", "--tenant", "gratis", "--json"))
        return found

    until("the free requests are settled", lambda: (shown()["used"], shown()["held"]) == (4, 0))
    keyed_system.cli("tenants", "update", "gratis", "--tier", "starter")
    until("the new tier has no free requests", lambda: shown()["requests"] == 0)
    grant(keyed_system, "gratis", "1000")
    paid = account.wait_for_status(200)
    assert "x-keyferry-allowance" not in paid.headers


def test_own_keys_go_on_without_credits(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("keyed", tier="professional", keys="own")
    key = keyed_system.provider.issue()
    keyed_system.add("keyed", key)
    account.wait_until_paid_with(key)


@contextmanager
def frozen(keyed_system: KeyedSystem, process: str) -> Iterator[None]:
    """Stop a process and those it has started for the block, as when its machine hangs."""
    pid = keyed_system.system.pid(process)
    pids = [pid, *descendants(pid)]
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in pids:
            os.kill(each, signal.SIGCONT)


@pytest.mark.long
def test_credit_of_a_killed_router_is_free_after_its_lease(keyed_system: KeyedSystem, tmp_path: Path) -> None:
    account = keyed_system.new_tenant("bereft", tier="starter")
    account.wait_for_status(402)
    grant(keyed_system, "bereft", "100000")
    with second_router(keyed_system.system, tmp_path / "router.log") as router:
        spend_through_two_routers(keyed_system, account)
        router.kill()
        router.wait()
    assert [account.ask(max_tokens=1000).status_code for _ in range(10)] == [200] * 10
    found = settled(keyed_system, "bereft", AFTER_A_FREEZE_SECONDS)
    expect_charges(account, keyed_system, 100_000_000 - Decimal(found["balance"]) * 1000)


@pytest.mark.long
def test_without_the_ledger_nothing_is_free_and_nothing_is_lost(keyed_system: KeyedSystem) -> None:
    """So little is left that each attempt needs a lease of its own: without the ledger there is none."""
    account = keyed_system.new_tenant("stranded", tier="starter")
    account.wait_for_status(402)
    grant(keyed_system, "stranded", "20")
    account.wait_for_status(200)
    with frozen(keyed_system, "usage_ledger"):
        refused = account.wait_for_status(503)
        assert refused.headers["retry-after"]
        assert "the usage ledger grants no credit now" in refused.json()["error"]["message"]
        mark = keyed_system.provider.mark()
        assert [account.ask().status_code for _ in range(3)] == [503] * 3
        assert keyed_system.provider.mark() == mark, "no provider was called"
    account.wait_for_status(200)
    found = settled(keyed_system, "stranded", AFTER_A_FREEZE_SECONDS)
    expect_charges(account, keyed_system, 20_000 - Decimal(found["balance"]) * 1000)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("process", ["usage_ledger", "postgres"])
def test_a_minute_without_the_ledger_spends_leases_and_then_nothing(keyed_system: KeyedSystem, process: str) -> None:
    """Requests go on while leases last, then they are refused; afterwards everything is accounted for."""
    tenant = f"outage-{process.replace('_', '-')}"
    account = keyed_system.new_tenant(tenant, tier="starter")
    account.wait_for_status(402)
    grant(keyed_system, tenant, "100000")
    account.wait_for_status(200)
    for _ in range(20):
        assert account.ask(max_tokens=1000).status_code == 200
    statuses: list[int] = []
    with frozen(keyed_system, process):
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            statuses.append(account.ask(max_tokens=1000).status_code)
    assert set(statuses) == {200, 503}
    assert statuses[0] == 200
    assert statuses[-1] == 503
    account.wait_for_status(200)
    found = settled(keyed_system, tenant, AFTER_A_FREEZE_SECONDS)
    expect_charges(account, keyed_system, 100_000_000 - Decimal(found["balance"]) * 1000)
