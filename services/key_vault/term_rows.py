"""The rows that say since when each sealing key is in use."""

from datetime import UTC, datetime

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.key_vault.tables import data_keys, sealing_key_terms
from services.key_vault.terms import WARN_EVERY, Term
from services.key_vault.transactions import Act, Transactions

_terms = sealing_key_terms.c


class TermRows(Transactions):
    """The table `sealing_key_terms`. Every method raises DatabaseAway."""

    async def terms_in_use(self, primary: str, now: datetime) -> list[Term]:
        """Since when each sealing key is in use: `primary`, and every one that wraps a data key; seen first `now` if new.

        Guard: the first moment that was written down for a name stays.
        """
        in_use = select(data_keys.c.sealing_key).distinct()
        async with self._transaction() as connection:
            names = sorted({primary, *(await connection.scalars(in_use))})
            seen = upsert(sealing_key_terms).values([{"sealing_key": name, "since": now} for name in names])
            await connection.execute(seen.on_conflict_do_nothing())
            rows = await connection.execute(select(sealing_key_terms).where(_terms.sealing_key.in_(names)))
            return [
                Term(row.sealing_key, row.since.astimezone(UTC), row.warned_at and row.warned_at.astimezone(UTC))
                for row in rows
            ]

    async def warn_of_term(self, sealing_key: str, now: datetime, act: Act) -> bool:
        """Write down that somebody is told of a sealing key that is overdue; False where that was done less than a day ago.

        Guard: the row's last warning, so that of several processes one warns.
        """
        lately = or_(_terms.warned_at.is_(None), _terms.warned_at <= now - WARN_EVERY)
        chosen = update(sealing_key_terms).where(_terms.sealing_key == sealing_key, lately).values(warned_at=now)
        async with self._transaction() as connection:
            if await connection.scalar(chosen.returning(_terms.sealing_key)) is None:
                return False
            await self._audit(connection, act)
            return True
