"""The end of a tenant through the whole running system: no request passes, no key is left, and the report says what is kept."""

import json
from typing import Any

import pytest

from tests.support.vault.keyed_system import KeyedSystem
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)


def test_a_deleted_tenant_has_no_request_no_key_and_no_row_but_those_that_are_kept(keyed_system: KeyedSystem) -> None:
    tenant = "leaving"
    account = keyed_system.new_tenant(tenant, keys="own")
    staying = keyed_system.new_tenant("staying", keys="own")
    for name in (tenant, "staying"):
        keyed_system.add(name, keyed_system.provider.issue())
    answered = account.wait_for_status(200)
    staying.wait_for_status(200)
    account.attempts(answered.headers["x-request-id"])

    keyed_system.cli("tenants", "delete", tenant, "--confirm", tenant)
    account.wait_for_status(401)
    calls = keyed_system.provider.mark()

    def finished() -> dict[str, Any] | None:
        report: dict[str, Any] = json.loads(keyed_system.cli("tenants", "deletion-report", tenant, "--json"))
        return report if report["finished_at"] is not None else None

    report = until("the deletion is finished", finished)
    tables = {(part["service"], table["table"]): table for part in report["parts"] for table in part["tables"]}
    assert tables["key-vault", "key_records"]["found"] == 1
    assert tables["usage-ledger", "attempts"]["found"] >= 1
    assert all(not table["left"] for table in tables.values() if table["treatment"] != "kept")
    kept = {name for name, table in tables.items() if table["left"]}
    assert ("usage-ledger", "audit_entries") in kept
    assert ("usage-ledger", "erased_attempts") in kept
    assert keyed_system.keys(tenant) == []
    assert account.ask().status_code == 401
    assert not [call for call in keyed_system.provider.calls[calls:] if tenant in str(call.request.body)]
    assert staying.ask().status_code == 200, "nothing of another tenant is touched"
