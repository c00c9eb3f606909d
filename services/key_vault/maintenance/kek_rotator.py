"""Rotation of the KEK: re-encrypts all data keys under the primary KEK while the vault keeps serving.

A data key can be decrypted at every moment, under the old KEK or the new one, and a batch is committed whole or not at all; so a
rotation may be killed anywhere, started again, and run by several processes at once.
"""

import asyncio
import logging
from dataclasses import replace

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.topology import Role
from keyferry.contracts.vault import KekRotation
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.tables import DataKeyRow
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.kek_providers.protocol import KekProvider, KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable

_log = logging.getLogger(__name__)

ROTATE = "kek.rotate"
WHOLE_VAULT = Role.KEY_VAULT.value
"""The tenant of audit events that concern the whole vault."""
_BATCH_SIZE = 100
"""Data keys per transaction. Their rows are locked while they are re-encrypted, with at most one remote call each."""
_RETRY_SECONDS = 1.0


class KekRotator:
    """Re-encrypts every data key under the primary KEK, in the background of one process."""

    def __init__(
        self, database: Database, keks: KekProvider, data_keys: DataKeys, *, batch_size: int = _BATCH_SIZE
    ) -> None:
        self._database = database
        self._store = DataKeyStore(database)
        self._keks = keks
        self._data_keys = data_keys
        self._batch_size = batch_size
        self._failed: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self, actor: str) -> KekRotation:
        """Start a rotation, or continue an interrupted one, and return its progress. A running one is left alone.

        Raises SettingsError and KekUnavailable when the KEKs cannot be reloaded, and DatabaseUnavailable.
        """
        if not self._running:
            await self._begin(actor)
            self._task = asyncio.create_task(self._run_with_retries(actor), name="rotation of the KEK")
        return await self.progress()

    async def run_to_end(self, actor: str) -> int:
        """Start a rotation, wait for its end, and return how many data keys failed; 0 where one is already running.

        Raises SettingsError, KekUnavailable and DatabaseUnavailable; what was committed stays.
        """
        if self._running:
            return 0
        await self._begin(actor)
        self._task = asyncio.create_task(self.run(actor), name="rotation of the KEK")
        await self._task
        return len(self._failed)

    async def progress(self) -> KekRotation:
        """Return the progress over all processes. Raises DatabaseUnavailable."""
        running = self._running  # before the count: what ended is never reported with what was left before its end
        by_kek = dict(await self._store.count_by_kek())
        primary = self._keks.describe().primary
        total = sum(by_kek.values())
        return KekRotation(
            primary=primary,
            total=total,
            left=total - by_kek.get(primary, 0),
            running=running,
            by_kek=by_kek,
            failed=sorted(self._failed),
        )

    async def run(self, actor: str) -> None:
        """Re-encrypt until nothing is left but what cannot be decrypted; `progress` reports those.

        Raises SettingsError, KekUnavailable and DatabaseUnavailable; what was committed stays.
        """
        self._failed.clear()
        re_encrypted = 0
        while True:
            # Reloaded for each batch: at the end everything has to be under the newest primary.
            await self._keks.refresh()
            primary = self._keks.describe().primary
            done, failed = await self._store.re_encrypt_batch(
                primary, self._batch_size, self._re_encrypt, without=self._failed
            )
            self._failed.update(failed)
            re_encrypted += done
            if not done and not failed:
                break
        details = {"step": "ended", "re_encrypted": str(re_encrypted), "failed": str(len(self._failed))}
        outcome = AuditOutcome.REFUSED if self._failed else AuditOutcome.DONE
        await self._database.audit(Act(actor, ROTATE, WHOLE_VAULT, primary, outcome, details))

    async def stop(self) -> None:
        """Stop; the next rotation continues with what is not committed."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def _begin(self, actor: str) -> None:
        await self._keks.refresh()
        primary = self._keks.describe().primary
        await self._database.audit(Act(actor, ROTATE, WHOLE_VAULT, primary, details={"step": "begun"}))

    @property
    def _running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _run_with_retries(self, actor: str) -> None:
        while True:
            try:
                await self.run(actor)
            except (SettingsError, KekUnavailable, DatabaseUnavailable) as error:
                _log.warning("the rotation of the KEK is interrupted (%s): retrying", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # nobody awaits the task, and a defect must not be silent
                _log.exception("the rotation of the KEK failed because of a defect: start it again")
                return
            else:
                return

    async def _re_encrypt(self, row: DataKeyRow) -> DataKeyRow | None:
        context = self._data_keys.context(row.tenant, row.data_key_id)
        try:
            encrypted_key = await self._keks.re_encrypt(row.encrypted_key, context)
        except Undecryptable as error:
            _log.error("a data key cannot be re-encrypted", extra={"data_key_id": row.data_key_id, "why": str(error)})
            return None
        return replace(row, encrypted_key=encrypted_key, kek=self._keks.name_of(encrypted_key))
