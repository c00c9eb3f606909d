"""Every table with rows of tenants says what becomes of them when their tenant is deleted."""

from pathlib import Path

import psycopg
import pytest

from deploy.embedded.postgres import driver_url
from keyferry.runtime.database.erasure import TenantTable
from services.billing import tenant_data as billing
from services.key_vault import tenant_data as vault
from services.notifier import tenant_data as notifier
from services.router import tenant_data as router
from services.tenant_directory import tenant_data as directory
from services.usage_ledger import tenant_data as ledger
from tests.support.servers.migrated_database import migrated_database

REGISTRIES = {
    "tenant_directory": directory.TENANT_TABLES,
    "router": router.TENANT_TABLES,
    "key_vault": vault.TENANT_TABLES,
    "usage_ledger": ledger.TENANT_TABLES,
    "billing": billing.TENANT_TABLES,
    "notifier": notifier.TENANT_TABLES,
}
WITH_TENANT = """
SELECT DISTINCT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attname ~ '(^|_)tenant(_id)?$'
"""
EXISTING = "SELECT relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = %s"


@pytest.mark.parametrize("service", REGISTRIES)
def test_every_table_with_a_tenant_is_listed(service: str, tmp_path: Path) -> None:
    database = migrated_database(tmp_path, *REGISTRIES)
    listed = [table.name for table in REGISTRIES[service]]
    with psycopg.connect(driver_url(database.admin_url)) as connection:
        found = {name for (name,) in connection.execute(WITH_TENANT, (service,))}
        existing = {name for (name,) in connection.execute(EXISTING, (service,))}
    assert found, "the query finds nothing"
    assert len(set(listed)) == len(listed)
    assert set(listed) <= existing
    missing = found - set(listed)
    assert not missing, f"say in services/{service}/tenant_data.py what becomes of a deleted tenant's rows in {missing}"


def test_every_table_says_what_its_rows_are() -> None:
    tables: list[TenantTable] = [table for tables in REGISTRIES.values() for table in tables]
    assert all(len(table.reason) > 5 for table in tables)
