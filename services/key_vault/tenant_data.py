"""What the vault's tables have of a tenant. All of it is destroyed with the tenant's data keys.

Every table with a column `tenant` has a row here: a test compares the list with the schema.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.erasure import ErasedTenant, EraseTenant, Treatment
from keyferry.runtime.database.erasure import TenantEraser, TenantTable
from services.key_vault.database.tables import SCHEMA, outbox
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.maintenance.shredding import shred_tenant

_KEYS = f"key_id IN (SELECT key_id FROM {SCHEMA}.provider_keys WHERE tenant = :tenant)"  # noqa: S608 - our own name
_SECRETS = f"secret_id IN (SELECT secret_id FROM {SCHEMA}.integration_secrets WHERE tenant = :tenant)"  # noqa: S608 - our own name
TENANT_TABLES = (
    TenantTable(name="data_keys", treatment=Treatment.REMOVED, reason="the keys without which no record can be read"),
    TenantTable(name="provider_keys", treatment=Treatment.REMOVED, reason="what is known of its provider keys"),
    TenantTable(
        name="key_records",
        treatment=Treatment.REMOVED,
        reason="its provider keys, encrypted, all versions",
        owner=_KEYS,
    ),
    TenantTable(name="spend", treatment=Treatment.REMOVED, reason="what was spent with its provider keys", owner=_KEYS),
    TenantTable(
        name="integration_secrets",
        treatment=Treatment.REMOVED,
        reason="what is known of the secrets that it signs in with elsewhere",
    ),
    TenantTable(
        name="integration_secret_versions",
        treatment=Treatment.REMOVED,
        reason="these secrets, encrypted, all versions",
        owner=_SECRETS,
    ),
    TenantTable(
        name="integration_secret_leases",
        treatment=Treatment.REMOVED,
        reason="which processes have read them",
        owner=_SECRETS,
    ),
)


class TenantShredder:
    """Destroys the keys of a tenant that is being deleted."""

    def __init__(self, engine: AsyncEngine, database: Database, encryption: EnvelopeEncryption) -> None:
        self._database = database
        self._encryption = encryption
        self._eraser = TenantEraser(engine, SCHEMA, TENANT_TABLES, outbox)

    async def erase(self, command: EraseTenant) -> ErasedTenant:
        """Destroy what there is, in one transaction with its audit event, and return what is left. Raises DatabaseUnavailable."""
        counting = command.model_copy(update={"count_only": True})
        found = await self._eraser.erase(counting)
        if command.count_only or found.done:
            return found
        act = Act(
            command.actor, "vault.shred", command.tenant, command.tenant, details={"reason": "the tenant is deleted"}
        )
        await shred_tenant(self._database, command.tenant, act)
        self._encryption.evict(command.tenant)
        return await self._eraser.erase(counting)
