"""What the router's tables have of a tenant, and what becomes of it when the tenant is deleted. Pure.

Every table with a column `tenant` has a row here: a test compares the list with the schema.
"""

from collections.abc import Mapping
from typing import Any

from keyferry.contracts.erasure import Treatment
from keyferry.contracts.routing_management import PREFERENCES_VIEW, ROUTING_RULES_VIEW
from keyferry.contracts.topology import ENDPOINTS_VIEW
from keyferry.runtime.database.erasure import TenantTable, ViewKeys
from services.router.preferences.index import scope_key


def _preferences_key(row: Mapping[str, Any]) -> str:
    return scope_key(row["tenant"], row["scope"], row["scope_id"])


TENANT_TABLES = (
    TenantTable(
        name="endpoints",
        treatment=Treatment.REMOVED,
        reason="its own model servers",
        view=ViewKeys(ENDPOINTS_VIEW, lambda row: f"{row['tenant']}.{row['name']}"),
    ),
    TenantTable(
        name="preferences",
        treatment=Treatment.REMOVED,
        reason="preferences of the tenant, its teams, members and client tokens",
        view=ViewKeys(PREFERENCES_VIEW, _preferences_key),
    ),
    TenantTable(
        name="rules_published",
        treatment=Treatment.REMOVED,
        reason="which version of its routing rules is in force",
        view=ViewKeys(ROUTING_RULES_VIEW, lambda row: str(row["tenant"])),
    ),
    TenantTable(
        name="rule_versions",
        treatment=Treatment.REMOVED,
        reason="its routing rules, all versions",
        order="version DESC",
        settings=("keyferry.erasing",),
    ),
    TenantTable(name="rule_drafts", treatment=Treatment.REMOVED, reason="the draft of its routing rules"),
    TenantTable(
        name="rule_draft_revisions", treatment=Treatment.REMOVED, reason="the number of its last draft of routing rules"
    ),
)
