"""What the notifier's tables have of a tenant, and what becomes of it when the tenant is deleted. Pure.

Every table with a column `tenant` has a row here: a test compares the list with the schema.
"""

from keyferry.runtime.database.erasure import TenantTable

TENANT_TABLES: tuple[TenantTable, ...] = ()
