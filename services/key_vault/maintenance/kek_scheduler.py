"""Watches how old the KEKs are, and replaces the one that is due where the vault can make another.

Nothing is remembered of a replacement that is under way: a former KEK that is due and still wraps data keys is what one
leaves behind that died in between, and the next look goes on from there.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import KekAgeReport
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.transaction import VAULT
from services.key_vault.encryption.kek_providers.protocol import CannotRenew, KekProvider, KekUnavailable, Renewal
from services.key_vault.keys.store import Act, KeyStore
from services.key_vault.maintenance import kek_age as terms
from services.key_vault.maintenance.kek_age import KekAge, KekAgePolicy
from services.key_vault.maintenance.kek_rotator import NOT_A_TENANTS, ROTATE, KekRotator

_log = logging.getLogger(__name__)

LOCK = "replacing the KEK"
OVERDUE = "kek.rotation_overdue"
_EVERY_SECONDS = 300.0
_AFTER_TROUBLE_SECONDS = 30.0


class KekRotationScheduler:
    """Replaces KEKs in their time, in one process of the vault. `clock` gives the time in UTC."""

    def __init__(
        self,
        store: KeyStore,
        keks: KekProvider,
        rotation: KekRotator,
        rule: KekAgePolicy,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keks = keks
        self._rotation = rotation
        self._rule = rule
        self._clock = clock
        self._committed: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def start(self, committed: Callable[[], None]) -> None:
        """Begin, in a task of its own; `committed` is called after each look."""
        self._committed = committed
        self._task = asyncio.create_task(self._run(), name="watch the KEK's age")

    async def stop(self) -> None:
        """Stop; a replacement that is under way is finished by whoever looks next."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def passing(self, now: datetime) -> None:
        """One look. Raises SettingsError, KekUnavailable, DatabaseUnavailable, having lost nothing of what was done."""
        await self._keks.refresh()
        async with self._store.alone(LOCK) as mine:
            if not mine:
                return
            term, primary = await self._oldest(now)
            if not terms.is_due(term, self._rule, now):
                return
            renewal = await self._keks.renewal()
            if terms.holder_renews(term, primary, self._rule, renewal):
                return
            if (because := terms.obstacle(term, primary, self._rule, renewal)) is not None:
                await self._warn(term, now, because)
            elif not terms.warned_recently(term, now):
                await self._replace(term, primary, now)

    async def told(self) -> KekAgeReport:
        """How old the oldest KEK in use is. Raises DatabaseUnavailable."""
        now = self._clock()
        term, primary = await self._oldest(now)
        try:
            renewal = await self._keks.renewal()
        except KekUnavailable as error:
            renewal = Renewal(obstacle=str(error))
        return terms.told(term, primary, self._rule, renewal, now)

    async def renew(self, actor: str) -> None:
        """Have a new primary KEK made, whatever the age of the present one.

        Raises Rejected where whoever holds them makes none for the vault, SettingsError, KekUnavailable, DatabaseUnavailable.
        """
        async with self._store.alone(LOCK) as mine:
            if not mine:
                raise RequestRejected(ErrorCode.CONFLICT, "the KEK is being replaced in this moment: ask again later")
            await self._keks.refresh()
            former = self._keks.describe().primary
            renewal = await self._keks.renewal()
            try:
                if renewal.obstacle is not None:
                    raise CannotRenew(renewal.obstacle)
                await self._make(actor, former, self._clock(), "asked")
            except CannotRenew as error:
                reason = {"reason": str(error)}
                await self._store.act(Act(actor, ROTATE, NOT_A_TENANTS, former, AuditOutcome.REFUSED, reason))
                raise RequestRejected(ErrorCode.CONFLICT, f"no new KEK was made: {error}") from None

    async def _oldest(self, now: datetime) -> tuple[KekAge, str]:
        primary = self._keks.describe().primary
        return terms.oldest(await self._store.terms_in_use(primary, now)), primary

    async def _replace(self, term: KekAge, primary: str, now: datetime) -> None:
        try:
            if term.kek == primary:
                await self._make(VAULT, primary, now, f"{terms.age_days(term.since, now)} days old")
        except CannotRenew as error:
            await self._warn(term, now, str(error))
            return
        left = await self._rotation.through(VAULT)
        if left:
            why = f"{left} data keys cannot be unwrapped: `keyferry vault verify` says whose keys those are"
            await self._warn(term, now, why)

    async def _make(self, actor: str, former: str, now: datetime, why: str) -> None:
        """A new primary KEK, written down before it is made. Raises CannotRenew."""
        details = {"step": "renewing", "why": why}
        await self._store.act(Act(actor, ROTATE, NOT_A_TENANTS, former, details=details))
        self._committed()
        await self._keks.renew(now)
        primary = self._keks.describe().primary
        await self._store.terms_in_use(primary, now)
        _log.info("a new KEK was made", extra={"former": former, "primary": primary})

    async def _warn(self, term: KekAge, now: datetime, why: str) -> None:
        """Say that a KEK is overdue, at most once a day over all processes."""
        days = terms.age_days(term.since, now)
        details = {"age_days": str(days), "why": why}
        if await self._store.warn_of_term(term.kek, now, Act(VAULT, OVERDUE, NOT_A_TENANTS, term.kek, details=details)):
            extra = {"kek": term.kek, "age_days": days, "why": why}
            _log.warning("the KEK is overdue for rotation", extra=extra)

    async def _run(self) -> None:
        while True:
            pause = _EVERY_SECONDS
            try:
                await self.passing(self._clock())
                self._committed()
            except (SettingsError, KekUnavailable, DatabaseUnavailable) as trouble:
                pause = _AFTER_TROUBLE_SECONDS
                _log.warning("the KEK's age is not looked at now", extra={"why": str(trouble)})
            except Exception:  # the edge of the loop: what is due is due still, and the next look tries again
                pause = _AFTER_TROUBLE_SECONDS
                _log.exception("looking at the KEK's age failed")
            await asyncio.sleep(pause)
