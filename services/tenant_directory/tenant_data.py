"""What the directory's tables have of a tenant, and what becomes of it when the tenant is deleted. Pure.

Every table with a column `tenant` has a row here: a test compares the list with the schema, so that a new table needs one:
its rows are removed, unless a law asks for them.
"""

from keyferry.contracts.erasure import Treatment
from keyferry.contracts.internal_services import INTERNAL_SERVICES_VIEW
from keyferry.contracts.internal_services import view_key as internal_service_key
from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW
from keyferry.runtime.database.erasure import TenantTable, ViewKeys

_REPORT = "the report of the deletion"
TENANT_TABLES = (
    TenantTable(
        name="client_token_secrets",
        treatment=Treatment.REMOVED,
        reason="digests of the secrets that client tokens have or had",
        view=ViewKeys(CLIENT_TOKENS_VIEW, lambda row: str(row["fingerprint"])),
    ),
    TenantTable(
        name="client_tokens",
        treatment=Treatment.REMOVED,
        reason="client tokens: what they were called, and their digests",
        view=ViewKeys(CLIENT_TOKENS_VIEW, lambda row: str(row["fingerprint"])),
    ),
    TenantTable(
        name="team_members", treatment=Treatment.REMOVED, reason="which of its members were in which of its teams"
    ),
    TenantTable(name="teams", treatment=Treatment.REMOVED, reason="its teams"),
    TenantTable(name="invitations", treatment=Treatment.REMOVED, reason="invitations, with e-mail addresses"),
    TenantTable(
        name="members",
        treatment=Treatment.REMOVED,
        reason="its members, with their names and e-mail addresses",
        view=ViewKeys(MEMBERS_VIEW, lambda row: f"{row['tenant']}.{row['member_id']}"),
    ),
    TenantTable(
        name="sessions",
        treatment=Treatment.REDUCED,
        reason="in which sessions people had chosen it; a session is of a person, who may be a member of others",
        owner="chosen_tenant = :tenant",
        reduce="chosen_tenant = NULL",
    ),
    TenantTable(
        name="internal_services",
        treatment=Treatment.REMOVED,
        reason="programs that were at the bus, by their public keys",
        view=ViewKeys(INTERNAL_SERVICES_VIEW, lambda row: internal_service_key(row["tenant"], row["name"])),
    ),
    TenantTable(
        name="tenants",
        treatment=Treatment.KEPT,
        reason="its id, tier and the time, so that the id is never given again; its name and settings are removed",
    ),
    TenantTable(name="deletions", treatment=Treatment.KEPT, reason=_REPORT),
    TenantTable(name="deletion_parts", treatment=Treatment.KEPT, reason=_REPORT),
)
