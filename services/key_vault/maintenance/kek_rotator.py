"""New keys for old: all data keys under the primary KEK, and a tenant's records under a fresh data key.

Both run beside everything else. A data key opens at every moment, wrapped by the old KEK or the new one, and a batch
is committed whole or not at all; so a rotation may be killed anywhere, begun again, and run by several processes at once.
"""

import asyncio
import logging
from dataclasses import replace

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import KekRotation, VaultReport
from keyferry.contracts.topology import Role
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.tables import DataKeyRow
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekProvider, KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys.store import Act, KeyStore
from services.key_vault.maintenance.integrity_check import IntegrityCheck

_log = logging.getLogger(__name__)

ROTATE, RESEAL = "kek.rotate", "data_key.rotate"
NOT_A_TENANTS = Role.KEY_VAULT.value
"""Whose an act in the audit is that concerns the whole vault."""
_BATCH_SIZE = 100
"""Data keys a transaction: their rows are locked for as long as it takes to rewrap them, which is a remote call each at most."""
_PAGE_SIZE = 100
_RETRY_SECONDS = 1.0


class KekRotator:
    """Rewraps every data key under the primary KEK, in the background of one process."""

    def __init__(
        self, store: KeyStore, keks: KekProvider, data_keys: DataKeys, *, batch_size: int = _BATCH_SIZE
    ) -> None:
        self._store = store
        self._keks = keks
        self._data_keys = data_keys
        self._batch_size = batch_size
        self._failed: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self, actor: str) -> KekRotation:
        """Begin, or go on where an earlier one ended; how far it is. One that runs here is left to run.

        Raises SettingsError and KekUnavailable when the KEKs cannot be read anew, and DatabaseUnavailable.
        """
        if not self._running:
            await self._begin(actor)
            self._task = asyncio.create_task(self._persist(actor), name="rotation of the KEK")
        return await self.progress()

    async def through(self, actor: str) -> int:
        """Begin as `start` does and wait for the end; how many data keys could not be unwrapped. Nothing where one runs here.

        Raises SettingsError, KekUnavailable and DatabaseUnavailable, having lost nothing of what was done.
        """
        if self._running:
            return 0
        await self._begin(actor)
        self._task = asyncio.create_task(self.run(actor), name="rotation of the KEK")
        await self._task
        return len(self._failed)

    async def progress(self) -> KekRotation:
        """How far it is, over all processes. Raises DatabaseUnavailable."""
        wrapped = dict(await self._store.data_keys_by_kek())
        primary = self._keks.describe().primary
        total = sum(wrapped.values())
        return KekRotation(
            primary=primary,
            total=total,
            left=total - wrapped.get(primary, 0),
            running=self._running,
            by_kek=wrapped,
            failed=sorted(self._failed),
        )

    async def run(self, actor: str) -> None:
        """Rewrap until nothing is left but what cannot be unwrapped; that is told by `progress`.

        Raises SettingsError, KekUnavailable and DatabaseUnavailable, having lost nothing of what was done.
        """
        self._failed.clear()
        rewrapped = 0
        while True:
            # Read anew each time: it is the newest primary key that has to wrap everything at the end.
            await self._keks.refresh()
            primary = self._keks.describe().primary
            done, failed = await self._store.rewrap_data_keys(
                primary, self._batch_size, self._rewrapped, without=self._failed
            )
            self._failed.update(failed)
            rewrapped += done
            if not done and not failed:
                break
        details = {"step": "ended", "rewrapped": str(rewrapped), "failed": str(len(self._failed))}
        outcome = AuditOutcome.REFUSED if self._failed else AuditOutcome.DONE
        await self._store.act(Act(actor, ROTATE, NOT_A_TENANTS, primary, outcome, details))

    async def stop(self) -> None:
        """Stop; what is not committed is done by the next one."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def _begin(self, actor: str) -> None:
        await self._keks.refresh()
        primary = self._keks.describe().primary
        await self._store.act(Act(actor, ROTATE, NOT_A_TENANTS, primary, details={"step": "begun"}))

    @property
    def _running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _persist(self, actor: str) -> None:
        while True:
            try:
                await self.run(actor)
            except (SettingsError, KekUnavailable, DatabaseUnavailable) as error:
                _log.warning("the rotation of the KEK waits (%s): trying on", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # the edge of the task: nobody waits for it, and a defect must not be silent
                _log.exception("the rotation of the KEK ended by a defect: start it again")
                return
            else:
                return

    async def _rewrapped(self, row: DataKeyRow) -> DataKeyRow | None:
        context = self._data_keys.context(row.tenant, row.data_key_id)
        try:
            wrapped = await self._keks.re_encrypt(row.wrapped, context)
        except Undecryptable as error:
            _log.error("a data key cannot be rewrapped", extra={"data_key_id": row.data_key_id, "why": str(error)})
            return None
        return replace(row, wrapped=wrapped, kek=self._keks.name_of(wrapped))


async def rotate_tenant_data_key(
    tenant: str,
    actor: str,
    *,
    store: KeyStore,
    data_keys: DataKeys,
    encryption: EnvelopeEncryption,
    verification: IntegrityCheck,
) -> VaultReport:
    """Seal all of a tenant's records under a fresh data key and destroy the former ones; what is there afterwards.

    New records use the fresh data key at once. Killed in between, the rest stays readable, and doing it again finishes it.
    A record that cannot be opened stays as it is, with its data key, and is named in the report. Raises
    KekUnavailable, DatabaseUnavailable.
    """
    fresh = await data_keys.replace(tenant)
    last = ("", 0)
    resealed = 0
    while page := await store.records_after(last, _PAGE_SIZE, tenant=tenant):
        for key, sealed in page:
            last = (key.key_id, key.version)
            if sealed.data_key_id == fresh.data_key_id:
                continue
            try:
                resealed += await store.re_encrypt(key, sealed, await encryption.re_encrypt(key, sealed))
            except Undecryptable as error:
                _log.error("a record cannot be sealed anew", extra={"key_id": key.key_id, "why": str(error)})
    dropped = await store.drop_unused_data_keys(tenant)
    details = {"resealed": str(resealed), "data_keys_destroyed": str(dropped)}
    await store.act(Act(actor, RESEAL, tenant, fresh.data_key_id, details=details))
    return await verification.every_record(tenant)
