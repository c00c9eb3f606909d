"""What a deletion removes from real tables: all of one tenant, in small steps, and nothing of another."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.embedded.postgres import driver_url
from keyferry.contracts import ids
from keyferry.contracts.erasure import ErasedTenant, EraseTenant, Treatment
from keyferry.contracts.secret import Secret
from keyferry.runtime.database import erasure
from keyferry.runtime.database.erasure import TenantEraser
from services.router import tenant_data as router
from services.router.database import OUTBOX as ROUTER_OUTBOX
from services.usage_ledger import tenant_data as ledger
from services.usage_ledger.database import OUTBOX as LEDGER_OUTBOX
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database

GONE, STAYS = "acme", "globex"


@pytest.fixture
def database(tmp_path: Path) -> MigratedDatabase:
    return migrated_database(tmp_path, "router", "usage_ledger")


@pytest.fixture
async def engines(database: MigratedDatabase) -> AsyncIterator[dict[str, AsyncEngine]]:
    found = {name: create_async_engine(file.read_text().strip()) for name, file in database.url_files.items()}
    yield found
    for engine in found.values():
        await engine.dispose()


def execute(admin_url: Secret, *statements: str) -> None:
    with psycopg.connect(driver_url(admin_url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def count(admin_url: Secret, table: str, condition: str = "true") -> int:
    with psycopg.connect(driver_url(admin_url)) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def rows(step: ErasedTenant) -> dict[str, int]:
    return {table.table: table.rows for table in step.tables}


def routing_rows(tenant: str) -> list[str]:
    versions = [
        f"INSERT INTO router.rule_versions (tenant, version, document, note, actor, published_at, restored_from)"
        f" VALUES ('{tenant}', {n}, '{{\"rules\": []}}', '', 'operator', now(), {n - 1 or 'NULL'})"
        for n in range(1, 8)
    ]
    return [
        *(
            f"INSERT INTO router.endpoints (tenant, name, base_url, models, priority, enabled)"
            f" VALUES ('{tenant}', 'lab-{n}', 'http://127.0.0.1/v1', '[]', 100, true)"
            for n in range(5)
        ),
        *(
            "INSERT INTO router.preferences (tenant, scope, scope_id, revision, preferences)"
            f" VALUES ('{tenant}', 'member', 'member {n}', 1, '{{}}')"
            for n in range(3)
        ),
        *versions,
        f"INSERT INTO router.rules_published VALUES ('{tenant}', 7)",
        (
            "INSERT INTO router.rule_drafts (tenant, revision, document, actor, saved_at, based_on)"
            f" VALUES ('{tenant}', 3, '{{\"rules\": []}}', 'operator', now(), 7)"
        ),
        f"INSERT INTO router.rule_draft_revisions VALUES ('{tenant}', 3)",
    ]


async def test_all_of_one_tenants_routing_goes_and_nothing_of_another(
    database: MigratedDatabase, engines: dict[str, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_BATCH_ROWS", 2)
    execute(database.admin_url, *routing_rows(GONE), *routing_rows(STAYS))
    eraser = TenantEraser(engines["router"], "router", router.TENANT_TABLES, ROUTER_OUTBOX)
    before = await eraser.erase(EraseTenant(tenant=GONE, count_only=True))
    assert not before.done
    assert rows(before)["endpoints"] == 5
    assert rows(before)["rule_versions"] == 7
    after = await eraser.erase(EraseTenant(tenant=GONE))
    assert after.done
    assert set(rows(after).values()) == {0}
    others = await eraser.erase(EraseTenant(tenant=STAYS, count_only=True))
    assert rows(others) == rows(before)
    # Each entry of the views is deleted once, and none of the other tenant.
    keys = f"key LIKE '{GONE}%' AND value IS NULL"
    assert count(database.admin_url, "router.outbox", keys) == 5 + 3 + 1
    assert count(database.admin_url, "router.outbox") == 5 + 3 + 1


async def test_versions_of_rules_stay_immutable_outside_of_a_deletion(database: MigratedDatabase) -> None:
    execute(database.admin_url, *routing_rows(GONE))
    for statement in (
        f"DELETE FROM router.rule_versions WHERE tenant = '{GONE}'",
        f"SELECT set_config('keyferry.erasing', 'on', true); UPDATE router.rule_versions SET note = 'x' WHERE tenant = '{GONE}'",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
            execute(database.admin_url, statement)


def attempt(tenant: str, cost: str, charge: int) -> str:
    return (
        "INSERT INTO usage_ledger.attempts (attempt_id, request_id, decision_id, tenant, kind, provider, model_asked, model,"
        " key_source, outcome, usage_source, pricing, price_version, cost_usd, charge_micro_usd, absorbed_micro_usd, started_at,"
        " recorded_at, input_tokens, output_tokens, latency_ms, spool_seq, attempt_number, stream, tags, worker_id, team)"
        f" VALUES ('{ids.new(ids.ATTEMPT)}', '{ids.new(ids.REQUEST)}', '{ids.new(ids.DECISION)}', '{tenant}', 'chat', 'openai',"
        f" 'gpt-4o-mini', 'gpt-4o-mini', 'platform', 'completed', 'reported', 'priced', 'v1', {cost}, {charge}, 0,"
        " '2026-11-20Z', now(), 1, 1, 1, 1, 1, false, '{\"person\": \"kim\"}', 'provider-worker-1', 'red')"
    )


def ledger_rows(tenant: str) -> list[str]:
    decision = (
        "INSERT INTO usage_ledger.decisions (decision_id, request_id, tenant, decided_at, recorded_at, record) VALUES"
        f" ('{ids.new(ids.DECISION)}', '{ids.new(ids.REQUEST)}', '{tenant}', now(), now(), '{{}}')"
    )
    return [
        *(attempt(tenant, "0.25", 300_000) for _ in range(5)),
        decision,
        (
            "INSERT INTO usage_ledger.budgets (budget_id, tenant, scope, time_window, limit_micro_usd, hard, thresholds, enabled,"
            f" revision, created_at) VALUES ('bud_{tenant}', '{tenant}', 'tenant', '{{}}', 1000000, true, '[]', true, 1, now())"
        ),
        (
            "INSERT INTO usage_ledger.budget_spending (budget_id, window_start, hour, spent_micro_usd, attempts, unpriced)"
            f" VALUES ('bud_{tenant}', now(), now(), 5, 1, 0)"
        ),
        f"INSERT INTO usage_ledger.credit_settings VALUES ('{tenant}', 1000)",
        (
            "INSERT INTO usage_ledger.ratings (tenant, request_id, rater, rating, provider, model, comment, rated_at) VALUES"
            f" ('{tenant}', 'req_1', 'kim', 1, 'openai', 'gpt-4o-mini', 'kim was here', now())"
        ),
        f"INSERT INTO usage_ledger.audit_chain_heads (tenant, position, digest) VALUES ('{tenant}', 1, 'd')",
    ]


DETACH = (
    "ALTER TABLE usage_ledger.attempts DETACH PARTITION usage_ledger.attempts_other",
    "INSERT INTO usage_ledger.detached_partitions VALUES ('attempts_other', 'attempts', 'a', 'b', now(), NULL)",
)


async def test_single_calls_go_and_their_sums_and_the_audit_stay(
    database: MigratedDatabase, engines: dict[str, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_BATCH_ROWS", 2)
    execute(database.admin_url, *ledger_rows(GONE), *ledger_rows(STAYS))
    eraser = TenantEraser(engines["usage_ledger"], "usage_ledger", ledger.TENANT_TABLES, LEDGER_OUTBOX)
    others = rows(await eraser.erase(EraseTenant(tenant=STAYS, count_only=True)))
    assert (others["attempts"], others["decisions"], others["budgets"], others["ratings"]) == (5, 1, 1, 1)
    after = await eraser.erase(EraseTenant(tenant=GONE))
    assert after.done
    left = {table.table: table.rows for table in after.tables if table.rows}
    assert left == {"erased_attempts": 1, "audit_chain_heads": 1}
    assert {table.treatment for table in after.tables if table.rows} == {Treatment.KEPT}
    sums = "attempts = 5 AND cost_usd = 1.25 AND charge_micro_usd = 1500000 AND month = '2026-11'"
    assert count(database.admin_url, "usage_ledger.erased_attempts", sums) == 1
    assert rows(await eraser.erase(EraseTenant(tenant=STAYS, count_only=True))) == others
    # Once more changes nothing: the sums are not added again.
    assert rows(await eraser.erase(EraseTenant(tenant=GONE))) == rows(after)
    assert count(database.admin_url, "usage_ledger.erased_attempts", sums) == 1


async def test_months_that_have_left_their_table_are_emptied_too(
    database: MigratedDatabase, engines: dict[str, AsyncEngine]
) -> None:
    execute(database.admin_url, attempt(GONE, "1", 1).replace("'att_", "'zzz_"), *DETACH, attempt(GONE, "1", 1))
    eraser = TenantEraser(engines["usage_ledger"], "usage_ledger", ledger.TENANT_TABLES, LEDGER_OUTBOX)
    assert rows(await eraser.erase(EraseTenant(tenant=GONE, count_only=True)))["attempts"] == 2
    assert (await eraser.erase(EraseTenant(tenant=GONE))).done
    assert count(database.admin_url, "usage_ledger.attempts_other") == 0
    assert count(database.admin_url, "usage_ledger.erased_attempts", "attempts = 2") == 1


async def test_a_step_that_has_no_time_left_removes_nothing_and_says_that_there_is_more(
    database: MigratedDatabase, engines: dict[str, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_STEP_SECONDS", 0.0)
    execute(database.admin_url, *routing_rows(GONE))
    eraser = TenantEraser(engines["router"], "router", router.TENANT_TABLES, ROUTER_OUTBOX)
    step = await eraser.erase(EraseTenant(tenant=GONE))
    assert not step.done
    assert rows(step)["endpoints"] == 5
