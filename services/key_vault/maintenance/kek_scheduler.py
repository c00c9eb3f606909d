"""Rotates a KEK that is due, where its KEK provider lets the vault create another.

No state is kept about a rotation in progress: an interrupted one leaves a former KEK that is due and still encrypts data keys,
and the next sweep continues from there.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.vault import KekAgeReport
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.transaction import VAULT, Act, Database
from services.key_vault.encryption.kek_providers.protocol import CannotRenew, KekProvider, KekUnavailable, Renewal
from services.key_vault.keys.lifecycle import age_days
from services.key_vault.maintenance import kek_age
from services.key_vault.maintenance.kek_age import KekAge, KekAgePolicy
from services.key_vault.maintenance.kek_age_store import KekAgeStore
from services.key_vault.maintenance.kek_rotator import ROTATE, WHOLE_VAULT, KekRotator

_log = logging.getLogger(__name__)

LOCK = "rotate the KEK"
OVERDUE = "kek.rotation_overdue"
_INTERVAL_SECONDS = 300.0
_INTERVAL_AFTER_ERROR_SECONDS = 30.0


class KekRotationScheduler:
    """Rotates KEKs that are due, in one process of the vault. `clock` returns the time in UTC."""

    def __init__(
        self,
        database: Database,
        keks: KekProvider,
        rotator: KekRotator,
        policy: KekAgePolicy,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._ages = KekAgeStore(database)
        self._keks = keks
        self._rotator = rotator
        self._policy = policy
        self._clock = clock
        self._on_commit: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def start(self, on_commit: Callable[[], None]) -> None:
        """Start the task; `on_commit` is called after each sweep."""
        self._on_commit = on_commit
        self._task = asyncio.create_task(self._run(), name="schedule KEK rotations")

    async def stop(self) -> None:
        """Stop; the next sweep completes a rotation in progress."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def sweep(self, now: datetime) -> None:
        """Rotate a KEK that is due at `now`, or warn. Raises SettingsError, KekUnavailable, DatabaseUnavailable."""
        await self._keks.refresh()
        async with self._database.try_lock(LOCK) as locked:
            if not locked:
                return
            age, primary = await self._find_oldest(now)
            if not kek_age.is_due(age, self._policy, now):
                return
            renewal = await self._keks.check_renewal()
            if kek_age.provider_rotates(age, primary, self._policy, renewal):
                return
            if (obstacle := kek_age.find_obstacle(age, primary, self._policy, renewal)) is not None:
                await self._warn(age, now, obstacle)
            elif not kek_age.warned_recently(age, now):
                await self._rotate(age, primary, now)

    async def report(self) -> KekAgeReport:
        """Return the age of the oldest KEK in use. Raises DatabaseUnavailable."""
        now = self._clock()
        age, primary = await self._find_oldest(now)
        try:
            renewal = await self._keks.check_renewal()
        except KekUnavailable as error:
            renewal = Renewal(obstacle=str(error))
        return kek_age.report_age(age, primary, self._policy, renewal, now)

    async def renew(self, actor: str) -> None:
        """Have a new primary KEK created, whatever the age of the current one.

        Raises RequestRejected where the KEK provider creates none, SettingsError, KekUnavailable, DatabaseUnavailable.
        """
        async with self._database.try_lock(LOCK) as locked:
            if not locked:
                raise RequestRejected(ErrorCode.CONFLICT, "the KEK is being rotated at this moment: ask again later")
            await self._keks.refresh()
            former = self._keks.describe().primary
            renewal = await self._keks.check_renewal()
            try:
                if renewal.obstacle is not None:
                    raise CannotRenew(renewal.obstacle)
                await self._create(actor, former, self._clock(), "requested")
            except CannotRenew as error:
                reason = {"reason": str(error)}
                await self._database.audit(Act(actor, ROTATE, WHOLE_VAULT, former, AuditOutcome.REFUSED, reason))
                raise RequestRejected(ErrorCode.CONFLICT, f"no new KEK was made: {error}") from None

    async def _find_oldest(self, now: datetime) -> tuple[KekAge, str]:
        primary = self._keks.describe().primary
        return kek_age.find_oldest(await self._ages.track(primary, now)), primary

    async def _rotate(self, age: KekAge, primary: str, now: datetime) -> None:
        try:
            if age.kek == primary:
                await self._create(VAULT, primary, now, f"{age_days(age.since, now)} days old")
        except CannotRenew as error:
            await self._warn(age, now, str(error))
            return
        failed = await self._rotator.run_to_end(VAULT)
        if failed:
            why = f"{failed} data keys cannot be decrypted: `keyferry vault verify` shows whose keys those are"
            await self._warn(age, now, why)

    async def _create(self, actor: str, former: str, now: datetime, why: str) -> None:
        """Create a new primary KEK, audited beforehand. Raises CannotRenew."""
        details = {"step": "renewing", "why": why}
        await self._database.audit(Act(actor, ROTATE, WHOLE_VAULT, former, details=details))
        self._on_commit()
        await self._keks.renew(now)
        primary = self._keks.describe().primary
        await self._ages.track(primary, now)
        _log.info("a new KEK was created", extra={"former": former, "primary": primary})

    async def _warn(self, age: KekAge, now: datetime, why: str) -> None:
        """Warn that a KEK is overdue, at most once a day over all processes."""
        days = age_days(age.since, now)
        details = {"age_days": str(days), "why": why}
        act = Act(VAULT, OVERDUE, WHOLE_VAULT, age.kek, details=details)
        if await self._ages.record_warning(age.kek, now, act):
            extra = {"kek": age.kek, "age_days": days, "why": why}
            _log.warning("the KEK is overdue for rotation", extra=extra)

    async def _run(self) -> None:
        while True:
            interval = _INTERVAL_SECONDS
            try:
                await self.sweep(self._clock())
                self._on_commit()
            except (SettingsError, KekUnavailable, DatabaseUnavailable) as error:
                interval = _INTERVAL_AFTER_ERROR_SECONDS
                _log.warning("the check of the KEK's age is delayed", extra={"why": str(error)})
            except Exception:  # what is due stays due, so the next sweep tries again
                interval = _INTERVAL_AFTER_ERROR_SECONDS
                _log.exception("the check of the KEK's age failed")
            await asyncio.sleep(interval)
