"""What the operator does with the vault as a whole: rotate, seal anew, verify, shred."""

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import (
    KekRotation,
    RotateDataKeys,
    RotateKek,
    Shredded,
    ShredTenant,
    VaultReport,
    VerifyVault,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.key_vault.database.errors import RequestRejected
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys.store import Act, KeyStore
from services.key_vault.maintenance.integrity_check import IntegrityCheck
from services.key_vault.maintenance.kek_rotator import KekRotator, rotate_tenant_data_key
from services.key_vault.maintenance.kek_scheduler import KekRotationScheduler

_SHRED = "vault.shred"


class VaultAdmin:
    """Carries out what the operator asks. Every method raises DatabaseUnavailable and KekUnavailable."""

    def __init__(
        self,
        *,
        store: KeyStore,
        encryption: EnvelopeEncryption,
        data_keys: DataKeys,
        rotation: KekRotator,
        verification: IntegrityCheck,
        terms: KekRotationScheduler,
    ) -> None:
        self._store = store
        self._custody = encryption
        self._data_keys = data_keys
        self._rotation = rotation
        self._verification = verification
        self._terms = terms

    async def rotate(self, command: RotateKek) -> KekRotation:
        """Begin to rewrap every data key, or tell how far that is.

        Raises SettingsError for KEKs that make no sense, Rejected where no new one can be made.
        """
        if command.start and command.renew:
            await self._terms.renew(command.actor)
        far = await (self._rotation.start(command.actor) if command.start else self._rotation.progress())
        return far.model_copy(update={"term": await self._terms.told()})

    async def re_encrypt(self, command: RotateDataKeys) -> VaultReport:
        """Seal a tenant's keys under a fresh data key. Raises Rejected where there is nothing to seal."""
        if not await self._store.of_tenant(command.tenant):
            raise RequestRejected(
                ErrorCode.NOT_FOUND, f"{command.tenant} has no provider keys, so there is nothing to seal anew"
            )
        try:
            return await rotate_tenant_data_key(
                command.tenant,
                command.actor,
                store=self._store,
                data_keys=self._data_keys,
                encryption=self._custody,
                verification=self._verification,
            )
        except Undecryptable as error:
            raise RequestRejected(ErrorCode.CONFLICT, f"the fresh data key cannot be used: {error}") from None

    async def verify(self, command: VerifyVault) -> VaultReport:
        """Open every record, or a tenant's."""
        return await self._verification.every_record(command.tenant)

    async def shred(self, command: ShredTenant) -> Shredded:
        """Destroy a tenant's data keys, and with them its provider keys. Raises Rejected unless the tenant is named twice."""
        if command.confirm != command.tenant:
            reason = (
                f"to destroy every key of {command.tenant} for good, confirm with the same name: nothing was destroyed"
            )
            await self._store.act(
                Act(command.actor, _SHRED, command.tenant, command.tenant, AuditOutcome.REFUSED, {"reason": reason})
            )
            raise RequestRejected(ErrorCode.INVALID, reason)
        shredded = await self._store.shred(command.tenant, Act(command.actor, _SHRED, command.tenant, command.tenant))
        self._custody.forget(command.tenant)
        if command.tenant == PLATFORM_TENANT:
            await self._store.forget_fingerprints()
        return shredded
