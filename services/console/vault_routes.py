"""Routes for the vault as a whole: KEKs, data keys, verification and shredding; and for every tenant's keys and audit."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.audit import AuditVerification, VerifyAudit
from keyferry.contracts.topology import AUDIT_VERIFY, DATA_KEY_ROTATE, KEK_ROTATE, VAULT_SHRED, VAULT_VERIFY
from keyferry.contracts.vault import (
    KekRotation,
    RotateDataKeys,
    RotateKek,
    Shredded,
    ShredTenant,
    VaultReport,
    VerifyVault,
)
from services.console.access import RouteSpec
from services.console.bodies import VerifyQuery
from services.console.service_client import ALL_RECORDS_SECONDS, WHOLE_AUDIT_SECONDS, ServiceClient
from services.console.tenant_bodies import RotateKekBody, ShredBody
from services.console.tenant_context import CurrentTenant


class VaultRoutes:
    """The routes under `/vault` and `/ops/vault`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about one tenant's keys."""
        return (
            RouteSpec("GET", "/vault/verify", "verify_keys", self.verify),
            RouteSpec("POST", "/vault/rotate-data-keys", "rotate_data_keys", self.rotate_data_keys),
            RouteSpec("POST", "/vault/shred", "shred_keys", self.shred),
        )

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about the whole vault and every audit chain, which only an operator may call."""
        return (
            RouteSpec("GET", "/vault", "get_kek_rotation", self.status),
            RouteSpec("POST", "/vault/rotate-kek", "rotate_kek", self.rotate_kek, status=202),
            RouteSpec("GET", "/vault/verify", "verify_vault", self.verify_all),
            RouteSpec("GET", "/audit/verify", "verify_all_audit", self.verify_all_audit),
        )

    async def status(self, context: CurrentTenant) -> KekRotation:
        """Return how many data keys each KEK encrypts, the KEKs' age, and the progress of a rotation."""
        return await self._services.read(KEK_ROTATE, RotateKek(start=False, actor=context.actor))

    async def rotate_kek(self, context: CurrentTenant, body: RotateKekBody) -> KekRotation:
        """Start to re-encrypt every data key under the primary KEK; `GET /ops/vault` shows the progress.

        The vault keeps serving meanwhile. Start it again to continue an interrupted rotation.
        """
        return await self._services.change(KEK_ROTATE, RotateKek(renew=body.new_key, actor=context.actor))

    async def verify_all(self, context: CurrentTenant) -> VaultReport:
        """Decrypt every record of the vault as a check; `undecryptable` is empty if all is well."""
        return await self._services.read(VAULT_VERIFY, VerifyVault(), timeout_seconds=ALL_RECORDS_SECONDS)

    async def verify(self, context: CurrentTenant) -> VaultReport:
        """Decrypt a tenant's records as a check; `undecryptable` is empty if all is well."""
        command = VerifyVault(tenant=context.tenant)
        return await self._services.read(VAULT_VERIFY, command, timeout_seconds=ALL_RECORDS_SECONDS)

    async def rotate_data_keys(self, context: CurrentTenant) -> VaultReport:
        """Re-encrypt a tenant's provider keys under a new data key, and destroy the former one."""
        command = RotateDataKeys(tenant=context.tenant, actor=context.actor)
        return await self._services.change(DATA_KEY_ROTATE, command, timeout_seconds=ALL_RECORDS_SECONDS)

    async def shred(self, context: CurrentTenant, body: ShredBody) -> Shredded:
        """Destroy a tenant's data keys, and with them all its provider keys. This cannot be undone."""
        command = ShredTenant(tenant=context.tenant, confirm=body.confirm, actor=context.actor)
        return await self._services.change(VAULT_SHRED, command)

    async def verify_all_audit(
        self, context: CurrentTenant, query: Annotated[VerifyQuery, Query()]
    ) -> AuditVerification:
        """Verify every tenant's audit chain: `faults` is empty if no entry was changed, removed, reordered or cut off."""
        command = VerifyAudit(incremental=not query.full)
        return await self._services.read(AUDIT_VERIFY, command, timeout_seconds=WHOLE_AUDIT_SECONDS)
