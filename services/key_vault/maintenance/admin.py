"""The operator's requests about the whole vault: rotate, verify, shred."""

from dataclasses import dataclass

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.vault import (
    KekRotation,
    RotateDataKeys,
    RotateKek,
    Shredded,
    ShredTenant,
    VaultReport,
    VerifyVault,
)
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.integration_secrets.store import IntegrationSecretStore
from services.key_vault.keys.fingerprint_store import FingerprintStore
from services.key_vault.keys.store import KeyStore
from services.key_vault.maintenance.data_key_rotator import DataKeyRotator
from services.key_vault.maintenance.integrity_check import IntegrityCheck
from services.key_vault.maintenance.kek_rotator import KekRotator
from services.key_vault.maintenance.kek_scheduler import KekRotationScheduler
from services.key_vault.maintenance.shredding import shred_tenant

_SHRED = "vault.shred"


@dataclass(frozen=True, slots=True)
class VaultAdmin:
    """Carries out the operator's requests. Every method raises DatabaseUnavailable and KekUnavailable."""

    database: Database
    keys: KeyStore
    integrations: IntegrationSecretStore
    fingerprints: FingerprintStore
    encryption: EnvelopeEncryption
    kek_rotator: KekRotator
    kek_scheduler: KekRotationScheduler
    data_key_rotator: DataKeyRotator
    integrity: IntegrityCheck

    async def rotate_kek(self, command: RotateKek) -> KekRotation:
        """Start to re-encrypt every data key, or report the progress.

        Raises SettingsError for a malformed keyring, RequestRejected where no new KEK can be created.
        """
        if command.start and command.renew:
            await self.kek_scheduler.renew(command.actor)
        progress = await (self.kek_rotator.start(command.actor) if command.start else self.kek_rotator.progress())
        return progress.model_copy(update={"oldest_kek": await self.kek_scheduler.report()})

    async def rotate_data_keys(self, command: RotateDataKeys) -> VaultReport:
        """Re-encrypt a tenant's keys and integration secrets under a new data key. Raises RequestRejected where it has none."""
        keys = await self.keys.list_for_tenant(command.tenant)
        if not keys and not await self.integrations.list_for_tenant(command.tenant):
            raise RequestRejected(
                ErrorCode.NOT_FOUND,
                f"{command.tenant} has no provider keys and no integration secrets, so there is nothing to re-encrypt",
            )
        try:
            return await self.data_key_rotator.rotate(command.tenant, command.actor)
        except Undecryptable as error:
            raise RequestRejected(ErrorCode.CONFLICT, f"the new data key cannot be used: {error}") from None

    async def verify(self, command: VerifyVault) -> VaultReport:
        """Decrypt every record, or a tenant's."""
        return await self.integrity.check_all(command.tenant)

    async def shred(self, command: ShredTenant) -> Shredded:
        """Destroy a tenant's data keys and all that they encrypt. Raises RequestRejected unless the tenant is named twice."""
        if command.confirm != command.tenant:
            reason = (
                f"to destroy every key of {command.tenant} for good, confirm with the same name: nothing was destroyed"
            )
            await self.database.audit(
                Act(command.actor, _SHRED, command.tenant, command.tenant, AuditOutcome.REFUSED, {"reason": reason})
            )
            raise RequestRejected(ErrorCode.INVALID, reason)
        act = Act(command.actor, _SHRED, command.tenant, command.tenant)
        shredded = await shred_tenant(self.database, command.tenant, act)
        self.encryption.evict(command.tenant)
        if command.tenant == PLATFORM_TENANT:
            await self.fingerprints.clear()
        return shredded
