"""Rows that record since when each KEK is in use."""

from datetime import UTC, datetime

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.key_vault.database.tables import data_keys, kek_ages
from services.key_vault.database.transaction import Act, Database
from services.key_vault.maintenance.kek_age import WARN_EVERY, KekAge

_ages = kek_ages.c


class KekAgeStore:
    """The table `kek_ages`. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def track(self, primary: str, now: datetime) -> list[KekAge]:
        """Return the ages of the KEKs in use: `primary`, and those that encrypt a data key; new ones start `now`.

        Guard: the first time recorded for a name stays.
        """
        in_use = select(data_keys.c.kek).distinct()
        async with self._database.transaction() as connection:
            names = sorted({primary, *(await connection.scalars(in_use))})
            seen = upsert(kek_ages).values([{"kek": name, "since": now} for name in names])
            await connection.execute(seen.on_conflict_do_nothing())
            rows = await connection.execute(select(kek_ages).where(_ages.kek.in_(names)))
            return [
                KekAge(row.kek, row.since.astimezone(UTC), row.warned_at and row.warned_at.astimezone(UTC))
                for row in rows
            ]

    async def record_warning(self, kek: str, now: datetime, act: Act) -> bool:
        """Record and audit a warning of an overdue KEK; False where the last one is less than a day old.

        Guard: the row's last warning, so that one of several processes warns.
        """
        warning_due = or_(_ages.warned_at.is_(None), _ages.warned_at <= now - WARN_EVERY)
        chosen = update(kek_ages).where(_ages.kek == kek, warning_due).values(warned_at=now)
        async with self._database.transaction() as connection:
            if await connection.scalar(chosen.returning(_ages.kek)) is None:
                return False
            await self._database.write_audit(connection, act)
            return True
