"""The rows that say since when each KEK is in use."""

from datetime import UTC, datetime

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.key_vault.database.tables import data_keys, kek_ages
from services.key_vault.database.transaction import Act, Transactions
from services.key_vault.maintenance.kek_age import WARN_EVERY, KekAge

_terms = kek_ages.c


class KekAgeStore(Transactions):
    """The table `kek_ages`. Every method raises DatabaseUnavailable."""

    async def terms_in_use(self, primary: str, now: datetime) -> list[KekAge]:
        """Since when each KEK is in use: `primary`, and every one that wraps a data key; seen first `now` if new.

        Guard: the first moment that was written down for a name stays.
        """
        in_use = select(data_keys.c.kek).distinct()
        async with self._transaction() as connection:
            names = sorted({primary, *(await connection.scalars(in_use))})
            seen = upsert(kek_ages).values([{"kek": name, "since": now} for name in names])
            await connection.execute(seen.on_conflict_do_nothing())
            rows = await connection.execute(select(kek_ages).where(_terms.kek.in_(names)))
            return [
                KekAge(row.kek, row.since.astimezone(UTC), row.warned_at and row.warned_at.astimezone(UTC))
                for row in rows
            ]

    async def warn_of_term(self, kek: str, now: datetime, act: Act) -> bool:
        """Write down that somebody is told of a KEK that is overdue; False where that was done less than a day ago.

        Guard: the row's last warning, so that of several processes one warns.
        """
        lately = or_(_terms.warned_at.is_(None), _terms.warned_at <= now - WARN_EVERY)
        chosen = update(kek_ages).where(_terms.kek == kek, lately).values(warned_at=now)
        async with self._transaction() as connection:
            if await connection.scalar(chosen.returning(_terms.kek)) is None:
                return False
            await self._audit(connection, act)
            return True
