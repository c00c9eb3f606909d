"""The vault as a whole while tenants chat: a new KEK, a shredded tenant, a vault that is killed or replaced."""

import base64
import json
import os
import secrets
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.clients.steady_load import SteadyLoad, client_outcomes
from tests.support.vault.keyed_system import KeyedSystem, TenantAccount, under_load
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

RATE_PER_SECOND = 20.0
SOME = 20


def create_paying_tenant(keyed_system: KeyedSystem, tenant: str) -> tuple[TenantAccount, str]:
    """Create a tenant whose own key pays. Return it and the key's id."""
    account, key = keyed_system.new_tenant(tenant, keys="own"), keyed_system.provider.issue()
    key_id = keyed_system.add(tenant, key)["key_id"]
    account.wait_until_paid_with(key)
    return account, key_id


def answered(load: SteadyLoad, more: int = SOME) -> None:
    """Wait until so many more answers have come."""
    so_far = load.whole
    until("more answers", lambda: load.whole >= so_far + more, 60)


def actions(audit: list[dict[str, Any]]) -> list[str]:
    return [event["action"] for event in audit]


def none_failed(load: SteadyLoad) -> None:
    outcomes = client_outcomes(load)
    assert outcomes == Counter(whole=len(load.sent)), [e.error for e in load.endings().values() if not e.whole][:5]


def test_a_new_kek_is_taken_up_while_tenants_chat(keyed_system: KeyedSystem) -> None:
    account, _ = create_paying_tenant(keyed_system, "rotated")
    others = [create_paying_tenant(keyed_system, f"rotated-{number}") for number in range(3)]
    keyring = keyed_system.system.home / "secrets" / "vault" / "keks"
    former = keyring.read_text()
    with under_load(account, RATE_PER_SECOND) as load:
        answered(load)
        fresh = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        keyring.write_text(f"k2 {fresh}\n{former}")
        far = json.loads(keyed_system.cli("vault", "rotate-kek", "--json"))
        assert (far["primary"], far["left"], far["failed"]) == ("k2", 0, [])
        assert far["total"] >= 4
        report = json.loads(keyed_system.cli("vault", "verify", "--json"))
        assert report["undecryptable"] == []
        assert set(report["keks"]) == {"k2"}, "no data key is left under the former one"
        keyring.write_text(f"k2 {fresh}\n")
        keyed_system.system.restart("key_vault")
        create_paying_tenant(keyed_system, "new-tenant")
        assert json.loads(keyed_system.cli("vault", "verify", "--json"))["undecryptable"] == []
        answered(load)
    none_failed(load)
    assert all(other.ask().status_code == 200 for other, _ in others)
    assert "all of them can be decrypted" in keyed_system.system.cli("vault", "verify")


def test_shredding_a_tenant_leaves_nothing_and_affects_no_other(keyed_system: KeyedSystem) -> None:
    (gone, _), (stays, _) = create_paying_tenant(keyed_system, "shredded"), create_paying_tenant(keyed_system, "beside")
    assert "nothing was destroyed" in keyed_system.cli(
        "vault", "shred", "--tenant", "shredded", "--confirm", "beside", status=1
    )
    with under_load(stays, RATE_PER_SECOND) as load:
        answered(load)
        assert gone.ask().status_code == 200
        keyed_system.cli("vault", "shred", "--tenant", "shredded", "--confirm", "shredded")
        refused = gone.wait_for_status(403)
        assert "keyferry keys add" in refused.json()["error"]["message"]
        answered(load)
    none_failed(load)
    assert keyed_system.keys("shredded") == []
    # The vault publishes its audit after the commit, and the ledger reads it in batches.
    until("the shredding is audited", lambda: "vault.shred" in actions(keyed_system.audit("shredded")))
    audit = keyed_system.audit("shredded")
    later = audit[actions(audit).index("vault.shred") + 1 :]
    # A router that does not know yet may still choose a key: its worker is refused, and the refusal is audited.
    assert [(event["action"], event["outcome"]) for event in later] == [("key.lease", "refused")] * len(later)
    assert "the audit log is complete and unchanged" in keyed_system.cli("audit", "verify")


def test_leases_go_on_while_the_vault_is_frozen_and_killed(keyed_system: KeyedSystem) -> None:
    account, _ = create_paying_tenant(keyed_system, "patient")
    late, key = keyed_system.new_tenant("late", keys="own"), keyed_system.provider.issue()
    with under_load(account, RATE_PER_SECOND) as load:
        answered(load)
        keyed_system.add("late", key)
        frozen = keyed_system.system.pid("key_vault")
        os.kill(frozen, signal.SIGSTOP)
        answered(load)
        keyed_system.system.kill("key_vault", wait=False)
        answered(load)
    none_failed(load)
    until("the vault is back", lambda: keyed_system.system.pid("key_vault") != frozen)
    account.wait_for_status(200)
    late.wait_until_paid_with(key)
    assert "the audit log is complete and unchanged" in keyed_system.cli("audit", "verify")
